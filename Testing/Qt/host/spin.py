"""Turns the event loop as Slicer does: the interpreter lock is held while nothing happens. Measures how long a turn blocks the window.

A turn's time is what passed less what this thread spent waiting for a processor, so that a busy test machine is not taken for a panel that
blocks.
"""

import ctypes
import time
from pathlib import Path

NAP_US = 2000
SCHEDSTAT = Path("/proc/thread-self/schedstat")
_with_lock_held = ctypes.PyDLL(None)


class Loop:
    """The event loop of an application."""

    def __init__(self, application):
        self.application = application
        self.longest_s = 0.0
        """The longest turn so far."""

    def turn(self):
        """Everything that is due now."""
        began, waited = time.monotonic(), _waited_s()
        self.application.processEvents()
        self.longest_s = max(self.longest_s, time.monotonic() - began - (_waited_s() - waited))

    def until(self, is_so, *, limit_s=20.0):
        """Turns until something is so.

        Raises:
            AssertionError: It never is, within the limit.
        """
        end = time.monotonic() + limit_s
        while not is_so():
            assert time.monotonic() < end, "it never happens"
            self.turn()
            _with_lock_held.usleep(NAP_US)
        self.turn()


def _waited_s():
    """Seconds that this thread was ready to run and had no processor."""
    return int(SCHEDSTAT.read_text().split()[1]) / 1e9 if SCHEDSTAT.exists() else 0.0
