"""Starts the app: for `neurosam2 app`, or as `python -m NeuroSAM2Web.main`, which takes the same arguments."""

import argparse
import os
import sys
from collections.abc import Callable

from NeuroSAM2Web.options import AppOptions


def serve(options: AppOptions, announce: Callable[[str], None]) -> None:
    """Serves the app until it is stopped.

    Args:
        options: How it is started.
        announce: Is told the address, once pages are answered.
    """
    os.environ["TRAME_ARGS"] = "--no-ws-compress"  # pictures are compressed; what our command line says is not trame's
    from NeuroSAM2Web.app import run

    run(options, announce)


if __name__ == "__main__":
    from NeuroSAM2Web import command

    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    said = parser.parse_args(["app", *sys.argv[1:]])
    sys.exit(said.run(said))
