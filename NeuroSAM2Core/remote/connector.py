"""A connection in the making: its host's name is looked up in a thread, its addresses are tried in turn, and nothing ever waits."""

import contextlib
import errno
import os
import selectors
import socket
import threading
import time

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.remote.endpoint import Endpoint

NEXT_AFTER_S = 2.5
"""After this long without an answer the next address is tried; the last one has no limit here."""
Address = tuple[int, int, int, str, tuple[object, ...]]
"""What `getaddrinfo` gives: family, type, protocol, name, address."""


class Connector:
    """Connects to an endpoint.

    Args:
        endpoint: Where to.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._addresses: list[Address] = []
        self._sock: socket.socket | None = None
        self._tried_s = 0.0
        self._failure = 0
        self._looked_up: list[Address] | OSError | None = None
        self._wakeup_send, self._wakeup_receive = socket.socketpair()
        try:
            self._looked_up = _addresses(endpoint, socket.AI_NUMERICHOST)
        except OSError:  # a name
            threading.Thread(target=self._look_up, name="look-up", daemon=True).start()
        else:
            with contextlib.suppress(WorkerError):  # `poll` says it again
                self._take_addresses()

    def fileno(self) -> int:
        """What to watch: for reading while a name is looked up, for writing afterwards."""
        return (self._sock or self._wakeup_receive).fileno()

    @property
    def wants_write(self) -> bool:
        """An address is being tried: it counts as writable once that has come to something."""
        return self._sock is not None

    def poll(self) -> socket.socket | None:
        """The connected socket, which is the caller's from then on; None while there is none.

        Raises:
            WorkerError: There is no such host, or nobody listens at any of its addresses.
        """
        if self._sock is None and self._looked_up is not None:
            self._take_addresses()
        while self._sock is not None:
            code = _result(self._sock)
            if code == 0:
                connected, self._sock = self._sock, None
                self.close()
                return connected
            is_late = bool(self._addresses) and time.monotonic() - self._tried_s > NEXT_AFTER_S
            if code is None and not is_late:
                return None
            self._failure = errno.ETIMEDOUT if code is None else code
            self._try_next()
        return None

    def close(self) -> None:
        """Gives up. Safe to call again."""
        for sock in (self._sock, self._wakeup_send, self._wakeup_receive):
            if sock is not None:
                sock.close()
        self._sock = None

    def _look_up(self) -> None:
        try:
            self._looked_up = _addresses(self._endpoint, 0)
        except OSError as error:
            self._looked_up = error
        except UnicodeError as error:  # no name at all
            self._looked_up = OSError(str(error))
        try:
            self._wakeup_send.send(b"!")
        except OSError:  # nobody wants to know any more
            return

    def _take_addresses(self) -> None:
        if isinstance(self._looked_up, OSError):
            error = self._looked_up
            raise WorkerError(f"there is no host {self._endpoint.host!r}: {error.strerror or error}") from error
        self._addresses = list(self._looked_up or [])
        self._try_next()

    def _try_next(self) -> None:
        """Begins with the next address that can be begun with.

        Raises:
            WorkerError: There is none.
        """
        before = self._sock
        while self._addresses:
            family, kind, protocol, _, address = self._addresses.pop(0)
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a kind of address that this machine does not have
                self._failure = error.errno or 0
                continue
            sock.setblocking(False)
            sock.connect_ex(address)  # what goes wrong shows when it is looked at
            self._sock, self._tried_s = sock, time.monotonic()
            if before is not None:
                before.close()  # after the new one was made: who watches tells them apart by their numbers
            return
        self.close()
        if self._failure == errno.ECONNREFUSED:
            raise WorkerError("nobody listens at that address", hint="is the address right, and the tunnel open?")
        raise WorkerError(f"the connection broke: {os.strerror(self._failure)}", hint="is the address right?")


def _addresses(endpoint: Endpoint, flags: int) -> list[Address]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags)
    return [(int(family), int(kind), protocol, name, address) for family, kind, protocol, name, address in found]


def _result(sock: socket.socket) -> int | None:
    """What came of a try: 0 for a connection, else the system's number of what went wrong; None while it is not known."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        is_known = bool(selector.select(0))
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if is_known else None
