"""When a run is asked to stop: by a signal, or because its time is up. It ends after the step that is running."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def leave_stopping_to_the_trainer(worker: int) -> None:
    """For processes that prepare batches: a signal to the whole group must not end them under the step that is running."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def asked_to_stop(max_seconds: float) -> Iterator[Callable[[], bool]]:
    """Yields the question whether to stop: after SIGTERM or SIGINT, or this long after now.

    Outside the main thread there are no signals, only the time.
    """
    signals: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, lambda number, frame: signals.append(number)) for s in SIGNALS if is_main}
    deadline = time.monotonic() + max_seconds
    try:
        yield lambda: bool(signals) or time.monotonic() > deadline
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
