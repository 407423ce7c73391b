"""Turns the event loop as Slicer does: the interpreter lock is held while nothing happens. Measures how long a turn blocks the window.

What counts is what the panel does, not how busy the test machine is: a turn in which this thread never waited for anything counts with its
processor time; one in which it did counts with all that passed, less the time it stood in line for a processor.
"""

import ctypes
import resource
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
        began = ThreadClocks()
        self.application.processEvents()
        self.longest_s = max(self.longest_s, ThreadClocks().blocked_since(began))

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


class ThreadClocks:
    """The clocks of this thread."""

    def __init__(self):
        self.wall_s, self.processor_s = time.monotonic(), time.thread_time()
        self.num_waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        self.in_line_s = int(SCHEDSTAT.read_text(encoding="utf-8").split()[1]) / 1e9 if SCHEDSTAT.exists() else 0.0

    def blocked_since(self, before):
        """Seconds that nobody could click."""
        if self.num_waits == before.num_waits:
            return self.processor_s - before.processor_s
        return self.wall_s - before.wall_s - (self.in_line_s - before.in_line_s)
