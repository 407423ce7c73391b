"""The connections of clients and their requests: most are queued, a few are answered at once, some wait for voxels."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import NeuroSAM2Error, ProtocolError, WorkerError
from NeuroSAM2Core.remote.codec import NumberedMessage, encode_event
from NeuroSAM2Core.remote.framing import FrameStream
from NeuroSAM2Core.remote.messages import (
    UNSOLICITED,
    Cancel,
    Failed,
    Finished,
    Hello,
    OpenVolume,
    Status,
    Superseded,
    VoxelChunk,
    VoxelFile,
    VoxelsWanted,
    WorkerMessage,
    WorkerStatus,
)
from NeuroSAM2Core.remote.server.counters import Counters
from NeuroSAM2Core.remote.server.job_queue import Job, JobQueue
from NeuroSAM2Core.remote.server.options import WorkerLimits
from NeuroSAM2Core.remote.server.volume_store import IncomingVolume, VolumeStore
from NeuroSAM2Core.version import __version__


@dataclass(slots=True)
class Upload:
    """A volume whose voxels are on their way, and what waits for it."""

    opening: Job
    incoming: IncomingVolume
    waiting: list[Job] = field(default_factory=list)
    latest: float = field(default_factory=time.monotonic)
    """When voxels came last."""


@dataclass(slots=True, eq=False)
class Connection:
    """A connection; `is_authenticated` is false until its token is verified."""

    number: int
    stream: FrameStream
    address: str
    is_authenticated: bool = False
    is_leaving: bool = False
    """Nothing more is read from it; it is closed when what is still to be sent is sent."""
    is_held: bool = False
    """Nothing is computed for it until it has read more of what it was sent."""
    open_requests: set[int] = field(default_factory=set)
    """Requests that have not ended."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    """When it came; once it leaves, when it began to leave."""
    last_request: float = field(default_factory=time.monotonic)

    @property
    def is_served(self) -> bool:
        """True for an authenticated client that is not being closed."""
        return self.is_authenticated and not self.is_leaving

    def send(self, event: WorkerMessage) -> None:
        """Puts an event in the queue."""
        self.stream.send(encode_event(event))

    def leave(self) -> None:
        """Begins to close the connection; queued frames are still sent."""
        self.is_leaving, self.since = True, time.monotonic()


class RequestHandler:
    """Handles the requests of all clients. Used by the network thread only.

    Args:
        queue: Where jobs are put.
        store: Holds the voxels.
        limits: The worker's bounds.
        voxel_folder: Where files of voxels may be; None to take none.
        counters: Counts the requests that end here.
    """

    def __init__(
        self,
        queue: JobQueue,
        store: VolumeStore,
        limits: WorkerLimits,
        voxel_folder: Path | None,
        counters: Counters,
    ) -> None:
        self._queue, self._store, self._limits, self._voxel_folder = queue, store, limits, voxel_folder
        self._counters = counters
        self._started = time.monotonic()

    def take(
        self, connection: Connection, request: NumberedMessage, clients: Sequence[Connection]
    ) -> list[WorkerMessage]:
        """Handles a request and returns the events to send at once.

        Args:
            connection: Who asks.
            request: What for.
            clients: All that are connected now.

        Raises:
            NeuroSAM2Error: It cannot be taken.
        """
        message = request.message
        match message:
            case Hello():
                raise ProtocolError("the token was shown already")
            case VoxelChunk() | VoxelFile():
                return self._take_voxels(connection, message)
        self._check_number(connection, request.number)
        nbytes = held_bytes(message)
        if nbytes:
            self._store.admit_request(connection.number, request.number, nbytes, self._limits.max_request_bytes)
        connection.open_requests.add(request.number)
        match message:
            case Status():
                return [self._status(connection, request.number, len(clients))]
            case Cancel():
                return self._cancel(connection, request.number, message.target)
            case OpenVolume():
                return self._open(connection, request.number, message)
            case _:
                return self._put(connection, Job(connection.number, request.number, message))

    def _check_number(self, connection: Connection, number: int) -> None:
        if number == UNSOLICITED:
            raise ProtocolError("requests are numbered from 1")
        if number in connection.open_requests:
            raise ProtocolError(f"request {number} has not ended; another one cannot have its number")
        if len(connection.open_requests) >= self._limits.max_waiting:
            raise WorkerError(f"{self._limits.max_waiting} requests wait already", hint="wait for some of them to end")

    def _put(self, connection: Connection, job: Job) -> list[WorkerMessage]:
        """Queues a job, or behind the voxels that it needs."""
        upload = connection.uploads.get(getattr(job.work, "volume_id", ""))
        if upload is not None:
            upload.waiting.append(job)
            return []
        answers: list[WorkerMessage] = []
        for older in self._queue.put(job):
            self._counters.ended(older.kind, "superseded", job.came - older.came)
            answers.append(Superseded(request_id=older.number, by=job.number))
            answers += [Finished(request_id=number) for number in older.cancelled_by]
        return answers

    def _open(self, connection: Connection, number: int, request: OpenVolume) -> list[WorkerMessage]:
        job = Job(connection.number, number, request)
        if request.volume_id in connection.uploads:
            return self._put(connection, job)
        incoming = IncomingVolume(request)
        job.volume = self._store.use(request.volume_id, connection.number)
        if job.volume is not None:
            return self._put(connection, job)
        self._store.announce(request.volume_id, connection.number, incoming.nbytes)
        job.incoming = incoming
        connection.uploads[request.volume_id] = Upload(job, incoming)
        return [VoxelsWanted(request_id=number, volume_id=request.volume_id)]

    def _take_voxels(self, connection: Connection, message: VoxelChunk | VoxelFile) -> list[WorkerMessage]:
        upload = connection.uploads.get(message.volume_id)
        if upload is None:  # no longer wanted
            return []
        try:
            if isinstance(message, VoxelChunk):
                upload.incoming.take_chunk(message)
            else:
                upload.incoming.take_file(message, self._voxel_folder)
                self._delete_voxels(message)
            upload.latest = time.monotonic()
            self._store.arrive(message.volume_id, connection.number, upload.incoming.num_received)
        except (NeuroSAM2Error, MemoryError, OSError) as error:
            return self._give_up(connection, upload, error)
        return self._end_upload(connection, upload) if upload.incoming.is_complete else []

    def _delete_voxels(self, file: VoxelFile) -> None:
        """What was taken lasts without its file: no voxels stay on the disk if both processes are killed."""
        assert self._voxel_folder is not None
        with contextlib.suppress(OSError):  # the client tries it, too
            disk.delete(self._voxel_folder / file.name)

    def drop_stalled_uploads(self, connection: Connection, now: float) -> list[WorkerMessage]:
        """Ends the uploads of a client whose voxels have stopped coming."""
        answers: list[WorkerMessage] = []
        for upload in list(connection.uploads.values()):
            if now - max(upload.latest, connection.stream.last_received) > self._limits.upload_s:
                came = upload.incoming.num_received / 2**20
                error = WorkerError(
                    f"the voxels have stopped coming after {came:.0f} of {upload.incoming.nbytes / 2**20:.0f} MB",
                    hint="open the volume again",
                )
                answers += self._give_up(connection, upload, error)
        return answers

    def _give_up(self, connection: Connection, upload: Upload, error: Exception) -> list[WorkerMessage]:
        """The voxels do not come; what waited for them fails in its turn."""
        key, number = upload.incoming.request.volume_id, upload.opening.number
        self._store.release(key, connection.number)
        self._counters.ended(upload.opening.kind, "failed", time.monotonic() - upload.opening.came)
        known = error if isinstance(error, NeuroSAM2Error) else WorkerError(f"the voxels cannot be kept: {error}")
        return [Failed.of(known, number), *self._release_waiting(connection, upload)]

    def _end_upload(self, connection: Connection, upload: Upload) -> list[WorkerMessage]:
        self._queue.put(upload.opening)
        return self._release_waiting(connection, upload)

    def _release_waiting(self, connection: Connection, upload: Upload) -> list[WorkerMessage]:
        del connection.uploads[upload.incoming.request.volume_id]
        answers: list[WorkerMessage] = []
        for job in upload.waiting:
            if isinstance(job.work, OpenVolume):
                answers += self._open(connection, job.number, job.work)
            else:
                answers += self._put(connection, job)
        return answers

    def _cancel(self, connection: Connection, number: int, target: int) -> list[WorkerMessage]:
        done = Finished(request_id=number)
        for upload in list(connection.uploads.values()):
            if upload.opening.number == target:
                self._store.release(upload.incoming.request.volume_id, connection.number)
                cancelled = Finished(request_id=target, was_cancelled=True)
                return [cancelled, done, *self._release_waiting(connection, upload)]
            for job in upload.waiting:
                if job.number == target:
                    upload.waiting.remove(job)
                    return [Finished(request_id=target, was_cancelled=True), done]
        return [] if self._queue.cancel(connection.number, target, number) else [done]

    def _status(self, connection: Connection, number: int, num_clients: int) -> WorkerStatus:
        client_resources = self._queue.client_resources(connection.number)
        return WorkerStatus(
            request_id=number,
            version=__version__,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            num_clients=num_clients,
            memory_bytes=self._store.nbytes + self._store.others,
            max_memory_bytes=self._limits.max_memory_bytes,
            model=client_resources.model,
            device=client_resources.device,
            volume_ids=client_resources.volume_ids,
            num_waiting=len(connection.open_requests) - 1,
        )


def held_bytes(message: object) -> int:
    """What a message holds in arrays, bytes."""
    if isinstance(message, np.ndarray):
        return message.nbytes
    if dataclasses.is_dataclass(message):
        return sum(held_bytes(getattr(message, one.name)) for one in dataclasses.fields(message))
    return 0
