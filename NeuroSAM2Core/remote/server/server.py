"""The network thread: accepts connections, verifies tokens, turns frames into jobs and sends events.

It never computes, so that the worker says that it is alive, answers `Status` and takes a `Cancel` whatever the other thread is doing.
"""

import hmac
import logging
import os
import selectors
import socket
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from NeuroSAM2Core.errors import NeuroSAM2Error, ProtocolError, WorkerError
from NeuroSAM2Core.log_rate_limit import LogRateLimiter
from NeuroSAM2Core.remote.codec import decode_request, encode_event, request_number
from NeuroSAM2Core.remote.framing import PREAUTH_LIMITS, Frame, FrameStream, StreamEndedError
from NeuroSAM2Core.remote.messages import (
    UNSOLICITED,
    Failed,
    FinalEvent,
    Heartbeat,
    Hello,
    Refused,
    Welcome,
    WorkerMessage,
)
from NeuroSAM2Core.remote.server.counters import Counters, Gauges
from NeuroSAM2Core.remote.server.job_queue import ForgetClient, Job, JobQueue
from NeuroSAM2Core.remote.server.options import WorkerLimits
from NeuroSAM2Core.remote.server.request_handler import Connection, RequestHandler
from NeuroSAM2Core.remote.server.volume_store import VolumeStore
from NeuroSAM2Core.version import __version__

logger = logging.getLogger(__name__)

MAX_UNAUTHENTICATED = 16
CLOSE_TIMEOUT_S = 2.0
"""How long a client that was refused has to read why."""


class Listener(Protocol):
    """Where connections come from: a listening socket, or what stands for one in a worker of several."""

    def fileno(self) -> int:
        """Readable where a connection waits."""

    def setblocking(self, flag: bool, /) -> None:
        """Whether `accept` waits."""

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, and where it comes from.

        Raises:
            OSError: There is none.
        """

    def close(self) -> None:
        """Nobody can come any more."""


class Server:
    """Serves clients until `stop`.

    Args:
        listener: Bound and listening.
        token: What clients must show.
        queue: Where jobs are put.
        store: Holds the voxels.
        limits: The worker's bounds.
        counters: Counts connections, and is told how the worker is.
        voxel_folder: Where clients on this machine may put files of voxels; None to take none.
    """

    def __init__(
        self,
        listener: Listener,
        token: str,
        queue: JobQueue,
        store: VolumeStore,
        limits: WorkerLimits,
        counters: Counters,
        *,
        voxel_folder: Path | None = None,
    ) -> None:
        self._listener, self._token, self._queue = listener, token, queue
        self._wrong_tokens = LogRateLimiter()
        self._limits, self._voxel_folder = limits, voxel_folder
        self._store, self._counters = store, counters
        self._request_handler = RequestHandler(queue, store, limits, voxel_folder, counters)
        self._connections: dict[int, Connection] = {}
        self._num_came = self._num_refused = 0
        self._posted: deque[tuple[int, int, bytes]] = deque()
        self._is_stopped = False
        self._wakeup_send, self._wakeup_receive = socket.socketpair()
        self._wakeup_send.setblocking(False)
        self._wakeup_receive.setblocking(False)
        self._selector = selectors.DefaultSelector()

    def send_event(self, client: int, event: WorkerMessage) -> None:
        """Sends an event to a client if it is still there. May be called from any thread."""
        ended = event.request_id if isinstance(event, FinalEvent) else UNSOLICITED
        self._posted.append((client, ended, encode_event(event)))
        self._wake_up()

    def stop(self) -> None:
        """Ends `run` at once. May be called from any thread, and from a signal handler."""
        self._is_stopped = True
        self._wake_up()

    def run(self) -> None:
        """Serves."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wakeup_receive, selectors.EVENT_READ)
        self._count()
        next_beat = time.monotonic() + self._limits.heartbeat_s
        try:
            while not self._is_stopped:
                self._wait(max(0.0, next_beat - time.monotonic()))
                self._deliver()
                if time.monotonic() >= next_beat:
                    self._send_heartbeats()
                    self._count()
                    next_beat = time.monotonic() + self._limits.heartbeat_s
                self._send_all()
        finally:
            for connection in list(self._connections.values()):
                self._drop(connection, "the worker ends")
            self._selector.close()
            for sock in (self._listener, self._wakeup_send, self._wakeup_receive):
                sock.close()

    def _wake_up(self) -> None:
        try:
            self._wakeup_send.send(b"!")
        except OSError:  # it rings already, or nobody listens any more
            return

    def _wait(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wakeup_receive:
                self._wakeup_receive.recv(4096)
            elif events & selectors.EVENT_READ and key.data.number in self._connections:
                self._read(key.data)

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError:  # it has gone again
            return
        self._num_came += 1
        connection = Connection(self._num_came, FrameStream(sock, PREAUTH_LIMITS), str(address[0]))
        self._connections[connection.number] = connection
        self._selector.register(sock, selectors.EVENT_READ, connection)
        unauthenticated = [one for one in self._connections.values() if not one.is_authenticated and not one.is_leaving]
        if len(unauthenticated) > MAX_UNAUTHENTICATED:
            self._refuse(unauthenticated[0], WorkerError("too many others came and showed no token", hint="try again"))

    def _read(self, connection: Connection) -> None:
        if connection.is_leaving:
            self._read_nothing(connection)
            return
        try:
            for frame in connection.stream.receive():
                self._take(connection, frame)
                if connection.is_leaving:
                    return
        except StreamEndedError as ended:
            self._drop(connection, str(ended))
        except NeuroSAM2Error as error:  # where the next frame begins is not known any more
            self._refuse(connection, error)
        except Exception as error:  # the edge: a defect of ours must not take the other clients down
            logger.exception("a message could not be taken")
            self._refuse(connection, WorkerError(f"the worker met a defect of its own: {type(error).__name__}"))

    def _read_nothing(self, connection: Connection) -> None:
        """Discards what a client sends while it is being closed, so that it can read its last message."""
        try:
            if not connection.stream.sock.recv(1 << 16):
                self._drop(connection, "it has left")
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(connection, str(error))

    def _take(self, connection: Connection, frame: Frame) -> None:
        if not connection.is_authenticated:
            self._authenticate(connection, frame)
            return
        connection.last_request = time.monotonic()
        try:
            request = decode_request(frame)
            answers = self._request_handler.take(
                connection, request, [one for one in self._connections.values() if one.is_served]
            )
        except NeuroSAM2Error as error:
            answers = [Failed.of(error, request_number(frame))]
        self._deliver()  # what ended before this was taken is sent before its answer
        for answer in answers:
            self._answer(connection, answer)

    def _authenticate(self, connection: Connection, frame: Frame) -> None:
        """The first message must be a `Hello` with the token."""
        message = decode_request(frame).message
        if not isinstance(message, Hello):
            raise ProtocolError(f"the first message must be a Hello; got {type(message).__name__}")
        if not hmac.compare_digest(message.token.encode(), self._token.encode()):
            if (left_out := self._wrong_tokens.take()) is not None:
                logger.warning("a client at %s came with a wrong token%s", connection.address, left_out)
            raise ProtocolError(
                "the token is not the one of this worker", hint="a worker that starts anew has a new token"
            )
        if sum(one.is_served for one in self._connections.values()) >= self._limits.max_clients:
            self._refuse(connection, WorkerError(f"the worker serves {self._limits.max_clients} clients already"))
            return
        connection.is_authenticated = True
        connection.stream.set_limits()
        logger.debug("client %d at %s: %s", connection.number, connection.address, message.client)
        connection.send(
            Welcome(
                version=__version__,
                pid=os.getpid(),
                voxel_folder="" if self._voxel_folder is None else str(self._voxel_folder),
                heartbeat_s=self._limits.heartbeat_s,
            )
        )

    def _refuse(self, connection: Connection, error: NeuroSAM2Error) -> None:
        """Sends the reason and closes the connection."""
        if connection.is_authenticated:
            connection.send(Failed.of(error, UNSOLICITED))
        else:
            self._num_refused += 1
            connection.send(Refused(message=error.message, hint=error.hint))
        connection.leave()

    def _answer(self, connection: Connection, event: WorkerMessage) -> None:
        if isinstance(event, FinalEvent):
            self._end_request(connection, event.request_id)
        connection.send(event)

    def _end_request(self, connection: Connection, number: int) -> None:
        connection.open_requests.discard(number)
        self._store.end_request(connection.number, number)

    def _deliver(self) -> None:
        """Sends the events that other threads have posted."""
        while self._posted:
            client, ended, frame = self._posted.popleft()
            connection = self._connections.get(client)
            if connection is not None:
                self._end_request(connection, ended)
                connection.stream.send(frame)

    def _send_all(self) -> None:
        for connection in list(self._connections.values()):
            try:
                connection.stream.flush()
            except StreamEndedError as ended:
                self._drop(connection, str(ended))
                continue
            waiting = connection.stream.outgoing_bytes
            self._hold_while_unread(connection, waiting)
            if waiting > self._limits.max_outgoing_bytes:
                self._drop(connection, "it does not read what it is sent")
            elif connection.is_leaving and not waiting:
                self._shut_down_connection(connection)
            else:
                interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
                self._selector.modify(connection.stream.sock, interest, connection)

    def _hold_while_unread(self, connection: Connection, waiting: int) -> None:
        """Nothing is computed for a client that is far behind with reading, until it has caught up by half."""
        limit = self._limits.hold_above_bytes
        is_held = waiting > (limit // 2 if connection.is_held else limit)
        if is_held != connection.is_held:
            connection.is_held = is_held
            self._queue.hold(connection.number, is_held=is_held)

    def _shut_down_connection(self, connection: Connection) -> None:
        try:
            connection.stream.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection, "it has left")

    def _send_heartbeats(self) -> None:
        """Sends heartbeats, and drops clients that are silent."""
        now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.is_leaving:
                if now - connection.since > CLOSE_TIMEOUT_S:
                    self._drop(connection, "it was refused")
            elif not connection.is_authenticated:
                if now - connection.since > self._limits.handshake_s:
                    self._refuse(connection, ProtocolError("no token came in time"))
            else:
                number, busy_s = self._queue.busy_with(connection.number)
                connection.send(Heartbeat(busy_with=number, busy_s=busy_s))
                for answer in self._request_handler.drop_stalled_uploads(connection, now):
                    self._answer(connection, answer)
                self._reap_if_idle(connection, now)
                if connection.stream.unread_s(now) > self._limits.unread_s:
                    self._drop(connection, "it does not read what it is sent")

    def _count(self) -> None:
        """Tells the counters how the worker is."""
        served = [one for one in self._connections.values() if one.is_served]
        gauges = Gauges(
            num_accepted=self._num_came,
            num_refused=self._num_refused,
            num_open=sum(not one.is_leaving for one in self._connections.values()),
            num_clients=len(served),
            num_open_requests=sum(len(one.open_requests) for one in served),
            memory_bytes=self._store.nbytes + self._store.others,
            max_memory_bytes=self._store.max_bytes,
        )
        self._counters.beat(gauges)

    def _reap_if_idle(self, connection: Connection, now: float) -> None:
        if now - connection.last_request > self._limits.idle_s and not self._queue.has_jobs(connection.number):
            connection.last_request = now
            reason = f"nothing was asked for {self._limits.idle_s / 60:.0f} minutes"
            self._queue.put(Job(connection.number, UNSOLICITED, ForgetClient(reason=reason)))

    def _drop(self, connection: Connection, why: str) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        logger.debug("client %d has left: %s", connection.number, why)
        self._selector.unregister(connection.stream.sock)
        connection.stream.close()
        if connection.is_authenticated:
            self._queue.forget(connection.number)
