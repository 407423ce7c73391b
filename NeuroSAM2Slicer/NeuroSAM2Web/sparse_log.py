"""Log records of what strangers send: few, and without what was sent."""

import logging
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

MOST, PERIOD_S = 10, 60.0


class SparseLog(logging.Filter):
    """Lets so many records pass in a period; the first of the next one says how many were left out.

    Args:
        most: Records that pass.
        period_s: In how much time.
        clock: Seconds.
    """

    def __init__(
        self, *, most: int = MOST, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most, self._period_s, self._clock = most, period_s, clock
        self._begin, self._count = clock(), 0

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        _without_what_was_sent(record)
        if self._clock() - self._begin >= self._period_s:
            if (left_out := self._count - self._most) > 0:
                record.msg, record.args = f"{record.getMessage()} ({left_out} such records were left out before)", ()
            self._begin, self._count = self._clock(), 0
        self._count += 1
        return self._count <= self._most


def _without_what_was_sent(record: logging.LogRecord) -> None:
    """A request that is no HTTP may be one with the token in a damaged line: only its kind of damage is kept."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args = f"a request could not be understood: {type(error).__name__}", ()
        record.exc_info = record.exc_text = None
