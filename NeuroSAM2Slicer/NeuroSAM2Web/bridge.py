"""Calls a function whenever the engine may have something to say: its socket wakes us, and so does a timer. The twin of Slicer's.

MRML is touched by the event loop alone; a thread watches the socket, since not every event loop can.

A thread that watches a socket for data, as asyncio's event loop on Windows cannot.
"""

import asyncio
import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from NeuroSAM2Lib.engine.link import NOTHING, Engine, descriptor_of

logger = logging.getLogger(__name__)


class SocketWatch:
    """Watches one socket at a time.

    Args:
        on_readable: Called in the thread, once for each `watch`.
    """

    def __init__(self, on_readable: Callable[[], None]) -> None:
        self._on_readable = on_readable
        self._descriptor = NOTHING
        self._is_stopped = False
        self._wakeup_send, self._wakeup_receive = socket.socketpair()
        self._wakeup_receive.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="socket watch", daemon=True)
        self._thread.start()

    def watch(self, descriptor: int) -> None:
        """Tells when this socket is readable, instead of the one before; NOTHING for none."""
        self._descriptor = descriptor
        self._wake_up()

    def stop(self) -> None:
        """Tells no more. Safe to call again."""
        self._is_stopped = True
        self._wake_up()
        self._thread.join()
        self._wakeup_send.close()
        self._wakeup_receive.close()

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError):
            self._wakeup_send.send(b"x")

    def _run(self) -> None:
        while not self._is_stopped:
            if self._waits_until_readable(self._descriptor) and not self._is_stopped:
                self._descriptor = NOTHING
                self._on_readable()

    def _waits_until_readable(self, descriptor: int) -> bool:
        """Waits for the socket or the bell; true where it was the socket."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup_receive, selectors.EVENT_READ)
            if descriptor != NOTHING:
                with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                    selector.register(descriptor, selectors.EVENT_READ)
            try:
                ready = {key.fd for key, _ in selector.select()}
            except OSError:  # closed just now
                self._descriptor = NOTHING
                return False
        if self._wakeup_receive.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wakeup_receive.recv(4096)
            return False
        return descriptor in ready


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
