"""Starts the app: `serve` for the command line's `neurosam2 app`, or `python -m NeuroSAM2Web.main IMAGE`."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Web.options import AppOptions


def serve(options: AppOptions, announce: Callable[[str], None] = print) -> None:
    """Serves the app until it is stopped.

    Args:
        options: How it is started.
        announce: Is told the address once the page can be opened.
    """
    os.environ["TRAME_ARGS"] = "--no-ws-compress"  # pictures are compressed; what our command line says is not trame's
    from NeuroSAM2Web.app import run

    run(options, announce)


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
