"""A thread that watches a socket for data, as asyncio's event loop on Windows cannot."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable

from NeuroSAM2Lib.engine.watchable import NOTHING


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
