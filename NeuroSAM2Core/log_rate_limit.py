"""Rate limit for log messages caused by unauthenticated clients, so that nobody can fill a disk with them."""

import time
from collections.abc import Callable

MOST, PERIOD_S = 10, 60.0


class LogRateLimiter:
    """So many records in a period.

    Args:
        most: Records.
        period_s: In how much time.
        clock: Seconds.
    """

    def __init__(
        self, *, most: int = MOST, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._period_s, self._clock = most, period_s, clock
        self._begin, self._count = clock(), 0

    def take(self) -> str | None:
        """What is to be added to a record, how many were left out before it; None where this one is left out, too."""
        added = ""
        if self._clock() - self._begin >= self._period_s:
            if (left_out := self._count - self._most) > 0:
                added = f" ({left_out} such records were left out before)"
            self._begin, self._count = self._clock(), 0
        self._count += 1
        return added if self._count <= self._most else None
