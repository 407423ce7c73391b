"""Batches that processes prepare ahead: what goes wrong there is one error here, and nothing waits for what will never come.

A process hands a batch over in shared memory. It is put there while the process can still report that shared memory is full: afterwards
the batch would be lost without a word, and the run would wait for it.

The signals that ask a run to stop, and how processes that prepare batches ignore them.
"""

import math
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

from torch.utils.data import DataLoader, Dataset, get_worker_info

from NeuroSAM2Core.errors import DataError

SIGNALS = [signal.SIGTERM, signal.SIGINT]
if sys.platform == "win32":
    SIGNALS.append(signal.SIGBREAK)


def ignore_stop_signals(worker: int) -> None:
    """For processes that prepare batches: a signal to the whole group must not end them under the step that is running."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


FEWER = "give it more shared memory (docker run --shm-size=2g), or prepare batches without other processes: --workers 0 (workers = 0)"
WORKER = "DataLoader worker"
"""How PyTorch begins to say that a process is gone."""
BUS_ERROR = -getattr(signal, "SIGBUS", math.inf)
"""The exit code of a process that has touched what shared memory had no place for; on Windows none is."""
MAX_TEMPORARY_PATH_BYTES = 64
"""A socket's path may have 103 bytes, of which multiprocessing takes up to 34."""


class Shareable(Protocol):
    """What is handed over."""

    def share_memory(self) -> None:
        """Puts its tensors into shared memory."""


T = TypeVar("T", bound=Shareable)


@dataclass(frozen=True, slots=True)
class NoSpace:
    """In place of a batch: shared memory is full."""

    reason: str


class SharedItems(Dataset[T | NoSpace]):
    """Items in shared memory, where they are asked for in a process of a loader.

    Args:
        items: Where they come from.
    """

    def __init__(self, items: Dataset[T]) -> None:
        self.items = items

    def __getitem__(self, number: int) -> T | NoSpace:
        item = self.items[number]
        if get_worker_info() is not None:
            try:
                item.share_memory()
            except (RuntimeError, OSError) as error:
                return NoSpace(str(error))
        return item


def loaded(
    items: Dataset[T], numbers: Iterable[int], *, workers: int, prefetch: int = 2, pins: bool = False
) -> Generator[T, None, None]:
    """The items of these numbers, in order.

    Args:
        items: Where they come from.
        numbers: Which ones.
        workers: Processes that prepare them ahead; without any, they are made when they are asked for.
        prefetch: How many each process prepares ahead.
        pins: Puts them into memory that a GPU reads by itself.

    Raises:
        DataError: Shared memory is too small, or a process was ended from outside.
    """
    loader = DataLoader(
        SharedItems(items),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        pin_memory=pins,
        worker_init_fn=_begin_worker,
    )
    before, processes = multiprocessing.active_children(), list[BaseProcess]()
    with worker_deaths_reported(processes):
        with _sockets_possible():
            iterator = iter(loader)
        processes += [one for one in multiprocessing.active_children() if one not in before]
        try:
            for item in iterator:
                if isinstance(item, NoSpace):
                    raise DataError(
                        f"a batch does not fit into shared memory, on Linux /dev/shm: {item.reason}", hint=FEWER
                    )
                yield item
        finally:
            # The loader has no public way to end its processes; they ignore SIGTERM, and one that hangs ignores all else.
            end = getattr(iterator, "_shutdown_workers", None)
            if end is not None:
                end()
            for process in processes:
                process.kill()
                process.join()


def _begin_worker(number: int) -> None:
    """What a process does before its first item."""
    ignore_stop_signals(number)
    _shorten_temporary_folder()


def _shorten_temporary_folder() -> None:
    """Batches are handed over through sockets in the temporary folder: where its path is too long for one, the system's own is taken."""
    if os.name != "posix" or len(os.fsencode(tempfile.gettempdir())) <= MAX_TEMPORARY_PATH_BYTES:
        return
    asked = {name: os.environ.pop(name) for name in ("TMPDIR", "TEMP", "TMP") if name in os.environ}
    tempfile.tempdir = None
    tempfile.gettempdir()  # which looks anew, and keeps what it finds
    os.environ.update(asked)


@contextmanager
def _sockets_possible() -> Iterator[None]:
    """Inside, processes can be started that hand over shared memory."""
    before = tempfile.gettempdir()
    _shorten_temporary_folder()
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def worker_deaths_reported(processes: Sequence[BaseProcess] = ()) -> Iterator[None]:
    """Inside, the end of a process that prepares batches, which PyTorch may tell at any moment, is an error in a sentence.

    Args:
        processes: Those that have ended when it is left, as far as they are known: how they ended says more than PyTorch does.

    Raises:
        DataError: One was ended from outside.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not text.startswith(WORKER):
            raise
        is_bus_error = "Bus error" in f"{text} {error.__cause__}" or BUS_ERROR in [one.exitcode for one in processes]
        reason = "shared memory, on Linux /dev/shm, is full" if is_bus_error else "the memory may be full"
        raise DataError(
            f"a process that prepares batches was ended from outside: {reason}",
            hint=FEWER if is_bus_error else "use fewer of them (--workers), or 0",
        ) from error
