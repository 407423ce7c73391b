"""Calls a function whenever the engine may have something to say: its socket wakes us, and a timer does where sockets cannot be watched.

No thread: Slicer keeps the interpreter to itself while it is idle, and threads would starve.
"""

from collections.abc import Callable

import qt
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.engine.watchable import NOTHING, descriptor_of

from NeuroSAM2Qt.connections import guarded_poll

AT_ONCE_MS, BUSY_MS, IDLE_MS = 0, 30, 250


class WorkerBridge:
    """Drives one poll function.

    Args:
        poll: Takes in what there is, never waits, and says after how many milliseconds it is to be called again at the latest.
        engine: The engine that runs now; None without one.
    """

    def __init__(self, poll: Callable[[], int], engine: Callable[[], Engine | None]) -> None:
        self._poll, self._engine = poll, engine
        self._notifier: qt.QSocketNotifier | None = None
        self._watched, self._is_stopped = NOTHING, False
        self.timer = qt.QTimer()
        self.timer.setSingleShot(True)
        self._guarded_wake = guarded_poll(self.wake)
        self.timer.connect("timeout()", self._guarded_wake)

    def start(self) -> None:
        """Begins to listen."""
        self._is_stopped = False
        self.timer.start(0)

    def stop(self) -> None:
        """Listens no more, whoever calls `wake`."""
        self._is_stopped = True
        self.timer.stop()
        self._unwatch()

    def wake(self) -> None:
        """Something may have happened: the engine spoke, a button was pressed, time has passed."""
        if self._is_stopped:
            return
        after_ms = IDLE_MS
        try:
            after_ms = self._poll()
            self._watch()
        finally:  # whatever went wrong, it is tried again
            self.timer.start(after_ms)

    def _watch(self) -> None:
        """Follows the engine to where it speaks now; that changes once while it starts, and with every new engine."""
        descriptor = descriptor_of(self._engine())
        if descriptor == self._watched:
            return
        self._unwatch()
        self._watched = descriptor
        if descriptor != NOTHING:
            self._notifier = qt.QSocketNotifier(descriptor, qt.QSocketNotifier.Read)
            self._notifier.connect("activated(int)", self._guarded_wake)

    def _unwatch(self) -> None:
        if self._notifier is not None:
            self._notifier.setEnabled(False)
            self._notifier.disconnect("activated(int)", self._guarded_wake)
            self._notifier = None
        self._watched = NOTHING
