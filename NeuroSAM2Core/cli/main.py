"""`neurosam2`: parses, calls one function, prints. People's mistakes become one sentence and exit code 2."""

import argparse
import logging
import sys
from collections.abc import Sequence

from NeuroSAM2Core.cli import convert, download, evaluate, pretrain, report, segment, serve, train
from NeuroSAM2Core.errors import Cancelled, NeuroSAM2Error
from NeuroSAM2Core.version import __version__

COMMANDS = (segment, train, evaluate, report, serve, download, convert, pretrain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake, 130 where the person stopped it."""
    parser = argparse.ArgumentParser(
        prog="neurosam2", description="Interactive segmentation of brain volumes with SAM 2."
    )
    parser.add_argument("--version", action="version", version=f"neurosam2 {__version__}")
    parser.add_argument("--verbose", action="store_true", help="say what is being done")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    said = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if said.verbose else logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.INFO if said.verbose else logging.WARNING)
    try:
        code: int = said.run(said)
    except NeuroSAM2Error as error:
        print(f"neurosam2: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"           {error.hint}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt) as stop:
        print(f"neurosam2: {stop or 'stopped'}", file=sys.stderr)
        return 130
    return code
