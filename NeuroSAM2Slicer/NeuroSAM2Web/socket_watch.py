"""A thread that tells when a socket has something to read. Event loops can be asked to, but not that of asyncio on Windows."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable

from NeuroSAM2MRML.engine.watchable import NOTHING


class SocketWatch:
    """Watches one socket at a time.

    Args:
        on_readable: Called in the thread, once for each `watch`.
    """

    def __init__(self, on_readable: Callable[[], None]) -> None:
        self._on_readable = on_readable
        self._descriptor = NOTHING
        self._is_stopped = False
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="socket watch", daemon=True)
        self._thread.start()

    def watch(self, descriptor: int) -> None:
        """Tells when this socket is readable, instead of the one before; NOTHING for none."""
        self._descriptor = descriptor
        self._ring()

    def stop(self) -> None:
        """Tells no more. Safe to call again."""
        self._is_stopped = True
        self._ring()
        self._thread.join()
        self._bell.close()
        self._ear.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._bell.send(b"x")

    def _run(self) -> None:
        while not self._is_stopped:
            if self._waits_until_readable(self._descriptor) and not self._is_stopped:
                self._descriptor = NOTHING
                self._on_readable()

    def _waits_until_readable(self, descriptor: int) -> bool:
        """Waits for the socket or the bell; true where it was the socket."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            if descriptor != NOTHING:
                with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                    selector.register(descriptor, selectors.EVENT_READ)
            try:
                ready = {key.fd for key, _ in selector.select()}
            except OSError:  # closed just now
                self._descriptor = NOTHING
                return False
        if self._ear.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._ear.recv(4096)
            return False
        return descriptor in ready
