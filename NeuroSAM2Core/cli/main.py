"""`neurosam2`: parses, calls one function, prints. People's mistakes become one sentence and exit code 2."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from types import ModuleType

from NeuroSAM2Core.cli import convert, download, evaluate, pretrain, report, segment, serve, train, tune
from NeuroSAM2Core.console import take_every_character
from NeuroSAM2Core.errors import Cancelled, NeuroSAM2Error, is_out_of_memory
from NeuroSAM2Core.threads import shorten_spinning
from NeuroSAM2Core.version import __version__

COMMANDS = (segment, train, evaluate, report, tune, serve, download, convert, pretrain)
MORE_COMMANDS = "neurosam2.commands"
"""Entry points of modules that other packages add: `add_parser` declares a command, as ours do."""
NO_ROOM_HINT = (
    "choose a smaller model, image or batch size, end other programs that use the device, or use --device cpu"
)
logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake, 130 where the person stopped it."""
    take_every_character()
    parser = argparse.ArgumentParser(
        prog="neurosam2", description="Interactive segmentation of brain volumes with SAM 2."
    )
    parser.add_argument("--version", action="version", version=f"neurosam2 {__version__}")
    parser.add_argument("--verbose", action="store_true", help="say what is being done")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (*COMMANDS, *_added()):
        command.add_parser(subparsers)
    said = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if said.verbose else logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.INFO if said.verbose else logging.WARNING)
    shorten_spinning()  # before a command imports torch
    try:
        code: int = said.run(said)
    except NeuroSAM2Error as error:
        print(f"neurosam2: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"           {error.hint}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        logger.info("the allocator says: %s", error)
        print("neurosam2: the device has no room for this", file=sys.stderr)
        print(f"           {NO_ROOM_HINT}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt) as stop:
        print(f"neurosam2: {stop or 'stopped'}", file=sys.stderr)
        return 130
    return code


def _added() -> Iterator[ModuleType]:
    for entry in sorted(entry_points(group=MORE_COMMANDS), key=lambda one: one.name):
        try:
            yield entry.load()
        except ImportError as error:
            logger.warning("the command %s is left out: %s", entry.name, error)
