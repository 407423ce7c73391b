"""A non-blocking socket that carries frames. Clients and workers use the same one; neither waits in it."""

import errno
import os
import socket
import sys
import time
from collections import deque

from NeuroSAM2Core.remote.framing import AUTHENTICATED_LIMITS, Frame, FrameLimits, FrameReader

RECEIVE_BYTES = 1 << 18
PEER_TIMEOUT_MS = 60_000
"""A peer that takes nothing of what it is sent for so long is gone."""
SEND_BYTES = 1 << 20
"""At most this much in one call of `flush`, so that nobody is held up."""


class StreamEndedError(Exception):
    """The other side has ended the connection, or it broke; the text says how."""


class FrameStream:
    """Frames in and out of a socket.

    Args:
        sock: Connected, or connecting; it is made non-blocking.
        limits: What the peer may send.
    """

    def __init__(self, sock: socket.socket, limits: FrameLimits = AUTHENTICATED_LIMITS) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MS)
        self.sock = sock
        self._reader = FrameReader(limits)
        self._outgoing: deque[memoryview] = deque()
        self.outgoing_bytes = 0
        """Bytes that are not sent yet."""
        self.last_received = time.monotonic()
        """When something came last."""
        self._last_sent = time.monotonic()

    def fileno(self) -> int:
        """Of the socket."""
        return self.sock.fileno()

    def set_limits(self) -> None:
        """Sets the frame limits of an authenticated peer."""
        self._reader.limits = AUTHENTICATED_LIMITS

    def send(self, frame: bytes) -> None:
        """Puts a frame in the queue; `flush` sends."""
        if not self._outgoing:
            self._last_sent = time.monotonic()
        self._outgoing.append(memoryview(frame))
        self.outgoing_bytes += len(frame)

    def flush(self) -> None:
        """Sends what the socket takes now.

        Raises:
            StreamEndedError: The connection is gone.
        """
        budget = SEND_BYTES
        try:
            while self._outgoing and budget > 0:
                sent = self.sock.send(self._outgoing[0])
                budget -= sent
                self._last_sent = time.monotonic()
                self.outgoing_bytes -= sent
                self._outgoing[0] = self._outgoing[0][sent:]
                if not self._outgoing[0]:
                    self._outgoing.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._raise_unless_connecting(error)

    def receive(self) -> list[Frame]:
        """The frames that have come in completely.

        Raises:
            StreamEndedError: The connection is gone. What came before its end was returned by an earlier call.
            ProtocolError: What came is no frame; the stream is of no more use.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            self._raise_unless_connecting(error)
            return []
        if not data:
            if self._reader.has_partial_frame:
                raise StreamEndedError("the connection ended in the middle of a message")
            raise StreamEndedError("the other side ended the connection")
        self.last_received = time.monotonic()
        self._reader.feed(data)
        return list(self._reader.frames())

    def unread_s(self, now: float) -> float:
        """For how many seconds the other side has taken nothing of what waits for it; 0 where nothing waits."""
        return now - self._last_sent if self._outgoing else 0.0

    def close(self) -> None:
        """Ends the connection; what is not sent yet is lost."""
        self.sock.close()

    def _raise_unless_connecting(self, error: OSError) -> None:
        """Some systems say that a connection in the making is none, and keep to themselves why it failed."""
        code = error.errno
        if code == errno.ENOTCONN:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return
        if code == errno.ECONNREFUSED:
            raise StreamEndedError("nobody listens at that address") from error
        raise StreamEndedError(f"the connection broke: {os.strerror(code) if code else error}") from error
