"""Calls a function whenever the engine may have something to say: its socket wakes us, and so does a timer. The twin of Slicer's.

No thread: MRML is touched by the event loop alone.
"""

import asyncio
import logging
from collections.abc import Callable

from NeuroSAM2MRML.engine.link import Engine
from NeuroSAM2MRML.engine.watchable import NOTHING, descriptor_of

logger = logging.getLogger(__name__)

BUSY_S, IDLE_S = 0.03, 0.25


class WorkerBridge:
    """Drives one poll function.

    Args:
        poll: Takes in what there is, never waits, and says whether more is expected soon.
        engine: The engine that runs now; None without one.
    """

    def __init__(self, poll: Callable[[], bool], engine: Callable[[], Engine | None]) -> None:
        self._poll, self._engine = poll, engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watched: tuple[Engine | None, int] = None, NOTHING

    def start(self) -> None:
        """Begins to listen, on the loop that runs."""
        self._loop = asyncio.get_running_loop()
        self.wake()

    def stop(self) -> None:
        """Listens no more."""
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None

    def wake(self) -> None:
        """Something may have happened: the engine spoke, a button was pressed, time has passed."""
        is_busy = False
        try:
            is_busy = self._poll()
        except Exception:  # one failure must not end the app
            logger.exception("taking in the engine's news failed")
        if self._loop is None:
            return
        self._watch(self._loop)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(BUSY_S if is_busy else IDLE_S, self.wake)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follows the engine to where it speaks now; that changes once while it starts, and with every new engine."""
        engine = self._engine()
        watched = engine, descriptor_of(engine)
        if watched == self._watched:
            return
        self._unwatch()
        self._watched = watched
        if watched[1] != NOTHING:
            loop.add_reader(watched[1], self.wake)

    def _unwatch(self) -> None:
        if self._loop is not None and self._watched[1] != NOTHING:
            self._loop.remove_reader(self._watched[1])
        self._watched = None, NOTHING
