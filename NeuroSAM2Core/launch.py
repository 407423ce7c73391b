"""Runs this very copy of NeuroSAM2 by path, as `python -m NeuroSAM2Core` would if it were installed there.

    any_python /path/to/NeuroSAM2Core/launch.py -m NeuroSAM2Core download sam2.1_hiera_tiny
    any_python /path/to/NeuroSAM2Core/launch.py -m NeuroSAM2Core.repair_task TASK.npz RESULT.npz

The second form calls the `main` of a module. The libraries are that interpreter's own. The package is made known at import, so that
processes which it starts find it, too.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def make_known() -> None:
    """`NeuroSAM2Core` means the folder that this file is in."""
    if "NeuroSAM2Core" in sys.modules:
        return
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]
    spec = importlib.util.spec_from_file_location("bootstrap", HERE / "remote" / "server" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    bootstrap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bootstrap)
    bootstrap.load_package()


make_known()

if __name__ == "__main__":
    if sys.argv[1:2] == ["-m"] and "." in sys.argv[2]:
        sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))
    from NeuroSAM2Core.cli.main import main

    sys.argv[1:] = sys.argv[3:] if sys.argv[1:3] == ["-m", "NeuroSAM2Core"] else sys.argv[1:]
    sys.exit(main())
