"""Calls a function whenever the engine may have something to say: its socket wakes us, and so does a timer. The twin of Slicer's.

MRML is touched by the event loop alone; a thread watches the socket, since not every event loop can.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.engine.watchable import descriptor_of

from NeuroSAM2Web.socket_watch import SocketWatch

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
        self._watch: SocketWatch | None = None

    def start(self) -> None:
        """Begins to listen, on the loop that runs."""
        loop = self._loop = asyncio.get_running_loop()

        def wake_in_loop() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.wake)

        self._watch = SocketWatch(wake_in_loop)
        self.wake()

    def stop(self) -> None:
        """Listens no more."""
        if self._watch is not None:
            self._watch.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = self._watch = None

    def wake(self) -> None:
        """Something may have happened: the engine spoke, a button was pressed, time has passed."""
        is_busy = False
        try:
            is_busy = self._poll()
        except Exception:  # one failure must not end the app
            logger.exception("taking in the engine's news failed")
        if self._loop is None or self._watch is None:
            return
        self._watch.watch(descriptor_of(self._engine()))  # where it speaks now
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(BUSY_S if is_busy else IDLE_S, self.wake)
