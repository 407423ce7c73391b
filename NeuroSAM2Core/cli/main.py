"""`neurosam2`: the options of the commands are parsed, then one function is called. What surrounds that is in `runtime`."""

from NeuroSAM2Core.cli.runtime import run_guarded, signals_reported

with signals_reported():  # Ctrl-C may come while these are imported
    import argparse
    import logging
    import re
    import sys
    from collections.abc import Iterator, Sequence
    from importlib.metadata import entry_points
    from types import ModuleType

    from NeuroSAM2Core.cli import (
        cohort,
        convert,
        download,
        evaluate,
        follow,
        measure,
        pretrain,
        report,
        segment,
        serve,
        summary,
        train,
        tune,
    )
    from NeuroSAM2Core.startup import shorten_spinning
    from NeuroSAM2Core.version import __version__

COMMANDS = (
    segment,
    follow,
    cohort,
    train,
    evaluate,
    report,
    measure,
    summary,
    tune,
    serve,
    download,
    convert,
    pretrain,
)
MORE_COMMANDS = "neurosam2.commands"
"""Entry points of modules that other packages add: `add_parser` declares a command, as ours do."""
NEGATIVE = re.compile(r"-(\d|\.\d|inf\b|nan\b)")
"""How a value begins that argparse may take for an option; no option of ours begins like this."""
logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake, 130 where the person stopped it, 143 where the system did."""
    return run_guarded(lambda: run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Raises:
        NeuroSAM2Error: The person's mistake.
        Cancelled: The person stopped it.
    """
    args = argument_parser().parse_args(with_negative_values(sys.argv[1:] if arguments is None else arguments))
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.INFO if args.verbose else logging.WARNING)
    shorten_spinning()  # before a command imports torch
    code: int = args.run(args)
    return code


def argument_parser() -> argparse.ArgumentParser:
    """The parser of all commands, those of other packages too."""
    parser = argparse.ArgumentParser(
        prog="neurosam2", description="Interactive segmentation of brain volumes with SAM 2."
    )
    parser.add_argument("--version", action="version", version=f"neurosam2 {__version__}")
    parser.add_argument("--verbose", action="store_true", help="say what is being done")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (*COMMANDS, *_added()):
        command.add_parser(subparsers)
    return parser


def with_negative_values(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--option -1:2` written as `--option=-1:2`, which argparse understands."""
    joined: list[str] = []
    for word in arguments:
        before = joined[-1] if joined else ""
        is_value = before.startswith("--") and before != "--" and "=" not in before and "--" not in joined
        if is_value and NEGATIVE.match(word) and not word[1:].isdecimal():
            joined[-1] = f"{before}={word}"
        else:
            joined.append(word)
    return joined


def _added() -> Iterator[ModuleType]:
    for entry in sorted(entry_points(group=MORE_COMMANDS), key=lambda one: one.name):
        try:
            yield entry.load()
        except ImportError as error:
            logger.warning("the command %s is left out: %s", entry.name, error)
