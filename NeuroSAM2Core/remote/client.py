"""The client: requests go out, events come in, and nothing ever waits.

Whoever owns a client watches `fileno()` for reading (and for writing while `wants_write`), calls `poll()` when something happens there
and now and then besides, and gets what has happened as a list of events. There is no thread and no callback here.
"""

import itertools
import logging
import time
from collections.abc import Mapping, Sequence

from NeuroSAM2Core.errors import NeuroSAM2Error, WorkerError
from NeuroSAM2Core.remote.codec import decode_event, encode_request
from NeuroSAM2Core.remote.connector import Connector, Endpoint, LocalWorker
from NeuroSAM2Core.remote.framing import Frame, FrameStream, StreamEndedError
from NeuroSAM2Core.remote.messages import (
    AUTOMATIC,
    ClientMessage,
    Disconnected,
    EngineSwitches,
    Event,
    FinalEvent,
    Hello,
    OpenVolume,
    Refused,
    Request,
    VoxelsWanted,
    Welcome,
)
from NeuroSAM2Core.remote.upload import Uploads, volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import IntensityWindow, Volume

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 10.0
MISSED_HEARTBEATS = 6
"""A worker that says nothing for as many times as long as it promised is taken for dead."""
RECEIVES_PER_POLL = 16
UPLOAD_AHEAD_BYTES = 2 << 20


class EngineClient:
    """One connection to a worker.

    Made by `launch` (a worker of its own on this machine) or `connect` (one that listens somewhere). Requests may be submitted at once;
    they are sent as soon as the worker has welcomed the client. After a `Disconnected` event the client is of no more use: make a new
    one and tell it again what is true (see `StateSync`).
    """

    def __init__(self, target: Endpoint | LocalWorker) -> None:
        self.worker = target if isinstance(target, LocalWorker) else None
        """The process that was started for this client, if it was."""
        self.welcome: Welcome | None = None
        """The worker's `Welcome`; None before the handshake."""
        self.unanswered: dict[int, Request] = {}
        """Requests that have not ended, by number, in the order they were submitted."""
        self._numbers = itertools.count(1)
        self._waiting: list[bytes] = []
        self._uploads = Uploads()
        self._stream: FrameStream | None = None
        self._connector: Connector | None = None
        self._token = ""
        self._is_closed = False
        self._last_received = time.monotonic()
        if isinstance(target, Endpoint):
            self._connect(target)

    @classmethod
    def connect(cls, host: str, port: int, token: str) -> "EngineClient":
        """A client of a worker that listens.

        Args:
            host: Its address; that of this machine's end where a tunnel leads there.
            port: Its port.
            token: Its token.

        Whatever is wrong with them comes as `Disconnected`.
        """
        return cls(Endpoint(host, port, token))

    @classmethod
    def launch(
        cls,
        interpreter: str | None = None,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "EngineClient":
        """A client with a worker of its own on this machine; the worker ends with it.

        Args:
            interpreter: The Python that runs the worker and has torch; this one if None.
            options: Those of `neurosam2 serve` that set limits, such as `("--threads", "2")`.
            environment: Variables to start it with; see `LocalWorker.start`.

        Raises:
            WorkerError: It cannot be started. What goes wrong later comes as `Disconnected`.
        """
        return cls(LocalWorker.start(interpreter, options=options, environment=environment))

    @property
    def is_ready(self) -> bool:
        """The worker has welcomed this client."""
        return self.welcome is not None and not self._is_closed

    @property
    def is_closed(self) -> bool:
        """The connection has ended, or `close` was called."""
        return self._is_closed

    @property
    def wants_write(self) -> bool:
        """There is something to send: call `poll` when the socket can take it, or soon."""
        if self._is_closed:
            return False
        if self._stream is None:
            return self._connector is not None and self._connector.wants_write
        return self._stream.outgoing_bytes > 0 or self._uploads.is_moving

    def fileno(self) -> int:
        """What to watch for reading: the connection, or something quiet while a worker starts. Look again after every `poll`.

        Raises:
            WorkerError: The client is closed.
        """
        if not self._is_closed:
            if self._stream is not None:
                return self._stream.fileno()
            if self._connector is not None:
                return self._connector.fileno()
            if self.worker is not None:
                return self.worker.fileno()
        raise WorkerError("the connection to the worker has ended", hint="make a new client")

    def submit(self, request: Request) -> int:
        """Sends a request and returns its number, which every event about it carries. For volumes see `open_volume`.

        Raises:
            WorkerError: The client is closed.
        """
        if self._is_closed:
            raise WorkerError("the connection to the worker has ended", hint="make a new client")
        number = next(self._numbers)
        self.unanswered[number] = request
        self._send(number, request)
        return number

    def open_volume(
        self,
        volume: Volume,
        *,
        window: IntensityWindow | None = None,
        switches: EngineSwitches = AUTOMATIC,
        key: str = "",
    ) -> int:
        """Opens a volume, and sends its voxels if the worker does not hold them. Returns the number of the request.

        The voxels are kept until then, not longer; they must not change meanwhile.

        Args:
            volume: The image.
            window: The intensities that become black and white; the 0.5 to 99.5 percentiles by default.
            switches: What the engine does for this volume.
            key: The volume's id, where it is known already. Else the voxels are hashed now, which takes a second or two per GB; who
                must not be held up so long does it beforehand with `protocol.VolumeHash`.

        Raises:
            WorkerError: The client is closed.
        """
        voxels, matrix = wire_voxels(volume), wire_matrix(volume)
        key = key or volume_id(voxels, matrix)
        self._uploads.offer(key, voxels)
        return self.submit(
            OpenVolume(
                volume_id=key,
                shape=volume.shape,
                dtype=voxels.dtype.name,
                ijk_to_ras=matrix,
                window=window,
                switches=switches,
            )
        )

    def volume_id(self, number: int) -> str:
        """The volume that a request, not ended yet, is about opening.

        Raises:
            KeyError: It is no such request.
        """
        request = self.unanswered[number]
        if not isinstance(request, OpenVolume):
            raise KeyError(number)
        return request.volume_id

    def poll(self) -> list[Event]:
        """Sends and receives what can be without waiting, and returns what has happened since the last call."""
        if self._is_closed:
            return []
        events: list[Event] = []
        try:
            if self._stream is None and self._connector is None:
                self._await_ready_line()
            if self._connector is not None:
                self._await_connection(self._connector)
            if self._stream is not None:
                self._receive(self._stream, events)
                self._move_uploads(self._stream)
                self._stream.flush()
            if self._stream is not None or self._connector is not None:
                self._check_alive()
        except StreamEndedError as error:
            events.append(self._end(str(error)))
        except NeuroSAM2Error as error:
            events.append(self._end(error.message, error.hint))
        return events

    def close(self) -> None:
        """Ends the connection, and the worker if it is this client's own. Safe to call again."""
        self._is_closed = True
        for connection in (self._stream, self._connector):
            if connection is not None:
                connection.close()
        self._uploads.end_all()
        if self.worker is not None:
            self.worker.stop()

    def _await_ready_line(self) -> None:
        assert self.worker is not None
        endpoint = self.worker.poll()
        if endpoint is not None:
            self._connect(endpoint)
        elif time.monotonic() - self._last_received > START_TIMEOUT_S:
            raise WorkerError(f"the worker was not ready after {START_TIMEOUT_S:.0f} s", hint="try again")

    def _connect(self, endpoint: Endpoint) -> None:
        self._connector, self._token = Connector(endpoint), endpoint.token
        self._last_received = time.monotonic()

    def _await_connection(self, dial: Connector) -> None:
        sock = dial.poll()
        if sock is not None:
            self._connector, self._stream = None, FrameStream(sock)
            self._stream.send(encode_request(0, Hello(token=self._token, client=f"NeuroSAM2 {__version__}")))

    def _send(self, number: int, message: ClientMessage) -> None:
        frame = encode_request(number, message)
        if self.welcome is None:
            self._waiting.append(frame)
        else:
            assert self._stream is not None
            self._stream.send(frame)

    def _receive(self, stream: FrameStream, events: list[Event]) -> None:
        for _ in range(RECEIVES_PER_POLL):
            frames = stream.receive()
            if not frames:
                return
            self._last_received = time.monotonic()
            for frame in frames:
                event = self._read(frame)
                if event is not None:
                    events.append(event)

    def _read(self, frame: Frame) -> Event | None:
        """What a frame means for whoever polls; None where it is this client's own business."""
        event = decode_event(frame)
        match event:
            case Welcome():
                self.welcome = event
                assert self._stream is not None
                for waiting in self._waiting:
                    self._stream.send(waiting)
                self._waiting.clear()
            case Refused():
                raise WorkerError(event.message, hint=event.hint)
            case VoxelsWanted():
                assert self.welcome is not None
                self._uploads.begin(event.volume_id, self.welcome.voxel_folder)
                return None
        if isinstance(event, FinalEvent):
            self._note_end(event)
        return event

    def _note_end(self, event: FinalEvent) -> None:
        """Keeps count of what has ended."""
        request = self.unanswered.pop(event.request_id, None)
        if isinstance(request, OpenVolume):
            key, others = request.volume_id, self.unanswered.values()
            if not any(isinstance(other, OpenVolume) and other.volume_id == key for other in others):
                self._uploads.end(key)

    def _move_uploads(self, stream: FrameStream) -> None:
        """One step a call, so that nobody is held up."""
        if stream.outgoing_bytes < UPLOAD_AHEAD_BYTES:
            message = self._uploads.step()
            if message is not None:
                self._send(0, message)

    def _check_alive(self) -> None:
        silence = time.monotonic() - self._last_received
        if self.welcome is None and silence > CONNECT_TIMEOUT_S:
            raise WorkerError(
                f"the worker has not answered for {silence:.0f} s", hint="is the address right, and the tunnel open?"
            )
        if self.welcome is not None and silence > MISSED_HEARTBEATS * self.welcome.heartbeat_s:
            raise WorkerError(f"the worker has not answered for {silence:.0f} s", hint="it is taken for dead")

    def _end(self, reason: str, hint: str = "") -> Disconnected:
        self.close()
        exit_message = "" if self.worker is None else self.worker.exit_message
        logger.info("the connection to the worker has ended: %s", reason)
        return Disconnected(reason=f"{reason}; {exit_message}" if exit_message else reason, hint=hint)
