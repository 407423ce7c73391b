"""The files of `client/`, and where the page finds them."""

from pathlib import Path

SERVED = "__neurosam2"
"""Where the page finds what is in `client/`."""
MODULE = {
    "serve": {SERVED: str(Path(__file__).parents[1] / "client")},
    "scripts": [f"{SERVED}/neurosam2.js", f"{SERVED}/files.js", f"{SERVED}/curves.js", f"{SERVED}/surfaces.js"],
    "styles": [f"{SERVED}/neurosam2.css", f"{SERVED}/shell.css"],
    "vue_use": ["NeuroSAM2", "NeuroSAM2Curves", "NeuroSAM2Surfaces"],
}
"""The files that the server provides, in trame's form."""
