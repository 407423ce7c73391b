"""Starts the app: `serve` for the command line's `neurosam2 app`, or `python -m NeuroSAM2Web.main IMAGE`."""

import argparse
import os
import sys
from pathlib import Path

from NeuroSAM2Web.options import AppOptions


def serve(options: AppOptions) -> None:
    """Serves the app until it is stopped."""
    os.environ["TRAME_ARGS"] = ""  # what is said on our command line is not trame's
    from NeuroSAM2Web.app import run

    run(options)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m NeuroSAM2Web.main")
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--port", type=int, default=0)
    said = parser.parse_args()
    serve(AppOptions(image=said.image, port=said.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
