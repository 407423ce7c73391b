"""When a run is asked to stop: by a signal, by a file, or because its time is up. It ends after the step that is running."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIGNALS = [signal.SIGTERM, signal.SIGINT]
if sys.platform == "win32":
    SIGNALS.append(signal.SIGBREAK)


def leave_stopping_to_the_trainer(worker: int) -> None:
    """For processes that prepare batches: a signal to the whole group must not end them under the step that is running."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def asked_to_stop(max_seconds: float, stop_file: Path) -> Iterator[Callable[[], bool]]:
    """Yields the question whether to stop: after SIGTERM or SIGINT, when a file is there, or this long after now.

    Outside the main thread there are no signals.

    Args:
        max_seconds: From now.
        stop_file: Removed when the run has stopped, so that the next one goes on.
    """
    signals: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, lambda number, frame: signals.append(number)) for s in SIGNALS if is_main}
    deadline = time.monotonic() + max_seconds
    try:
        yield lambda: bool(signals) or stop_file.exists() or time.monotonic() > deadline
    finally:
        with suppress(OSError):
            stop_file.unlink(missing_ok=True)
        for number, handler in before.items():
            signal.signal(number, handler)
