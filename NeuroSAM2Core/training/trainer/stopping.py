"""Requests to stop a run: by a signal, by a file, or by a time limit. It ends after the step that is running or awaited."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TypeVar

from NeuroSAM2Core.training.data.stop_signals import SIGNALS

T = TypeVar("T")


class _StopSignal(BaseException):
    """A signal has come while nothing but waiting went on; no `except Exception` may take it for an error."""


class StopRequest:
    """Whether a run is asked to stop. Made by `stop_requested`.

    Args:
        max_seconds: After so long from now.
        stop_file: Where this file is.
    """

    def __init__(self, max_seconds: float, stop_file: Path) -> None:
        self._has_signal, self._is_waiting, self._stop_file = False, False, stop_file
        self._deadline = time.monotonic() + max_seconds

    def __call__(self) -> bool:
        """Whether it is, by now."""
        return self._has_signal or self._stop_file.exists() or time.monotonic() > self._deadline

    def unless_signalled(self, wait: Callable[[], T]) -> T | None:
        """What is waited for; None where a signal has come before it.

        Args:
            wait: Gets it. May be left at any place.
        """
        try:
            try:
                self._is_waiting = True
                return None if self._has_signal else wait()
            finally:
                self._is_waiting = False
        except _StopSignal:
            return None

    def take(self, number: int, frame: FrameType | None) -> None:
        """A signal has come."""
        self._has_signal = True
        if self._is_waiting:
            raise _StopSignal


@contextmanager
def stop_requested(max_seconds: float, stop_file: Path) -> Iterator[StopRequest]:
    """Yields the question whether to stop: after SIGTERM or SIGINT, when a file is there, or this long after now.

    Outside the main thread there are no signals.

    Args:
        max_seconds: From now.
        stop_file: Removed when the run has stopped, so that the next one goes on.
    """
    request = StopRequest(max_seconds, stop_file)
    is_main = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, request.take) for s in SIGNALS if is_main}
    try:
        yield request
    finally:
        with suppress(OSError):
            stop_file.unlink(missing_ok=True)
        for number, handler in before.items():
            signal.signal(number, handler)
