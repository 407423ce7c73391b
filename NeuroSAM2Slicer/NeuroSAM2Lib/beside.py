"""Work that takes long, in short steps: a panel goes on with it at its polls, never waits for the processes in it, and may drop it."""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from NeuroSAM2Core.errors import DataError, WorkerError
from NeuroSAM2Core.processes import ProcessTree, exit_summary

T = TypeVar("T")
Work: TypeAlias = Generator[bool | None, None, T]
"""Something that stops after every few hundredths of a second; true where it waits for a process."""
Start = Callable[[Sequence[str], Path], ProcessTree]
"""Starts a program, which writes into a log."""
KILLED_S = 5.0


def running(name: str, command: Sequence[str], log: Path, start: Start) -> Work[None]:
    """Runs a program to its end; whoever drops this ends it.

    Args:
        name: Of the program, for people.
        command: Its file and arguments.
        log: What it writes.
        start: Starts it.

    Raises:
        WorkerError: It cannot be started.
        DataError: It has ended early.
    """
    program = start(command, log)
    try:
        while (code := program.poll()) is None:
            yield True
    except GeneratorExit:
        with suppress(WorkerError):
            program.kill()
            program.wait(KILLED_S)
        raise
    if code != 0:
        raise DataError(exit_summary(name, code, log))
