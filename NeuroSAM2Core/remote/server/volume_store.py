"""The voxels that a worker holds: by content, shared by all clients that opened them, within the worker's memory."""

import math
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ProtocolError, WorkerError
from NeuroSAM2Core.remote.framing import unpacked
from NeuroSAM2Core.remote.messages import OpenVolume, VoxelChunk, VoxelFile
from NeuroSAM2Core.remote.upload import CHUNK_BYTES, as_bytes, volume_id, wire_dtype
from NeuroSAM2Core.volume import Volume


class VolumeStore:
    """Volumes by their content. Both threads of the worker use it.

    Args:
        max_bytes: Memory for voxels and for what `others` says.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.others = 0
        """Bytes that are held elsewhere: features and masks."""
        self._requests: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Volume] = OrderedDict()
        self._users: dict[str, set[int]] = {}
        self._reserved: dict[tuple[int, str], int] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of voxels, those that have come so far included, and of requests that wait."""
        with self._lock:
            return self._nbytes()

    def use(self, key: str, client: int) -> Volume | None:
        """The volume, if it is held; it stays until the client releases it."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                self._users.setdefault(key, set()).add(client)
            return self._held.get(key)

    def release(self, key: str, client: int) -> None:
        """The client does not need the volume any more, or will not send it. It is kept while there is memory."""
        with self._lock:
            self._release(key, client)

    def release_all(self, client: int) -> None:
        """The client has left."""
        with self._lock:
            for key in {*self._users, *(key for _, key in self._reserved)}:
                self._release(key, client)
            self._requests = {place: nbytes for place, nbytes in self._requests.items() if place[0] != client}

    def announce(self, key: str, client: int, nbytes: int) -> None:
        """The client will send so many voxels. They count as they come: who announces much and sends nothing takes no memory from others.

        Raises:
            WorkerError: There is not enough memory for so many now.
        """
        with self._lock:
            self._free_memory(nbytes, f"the volume has {nbytes / 2**20:.0f} MB")
            self._reserved[client, key] = 0

    def arrive(self, key: str, client: int, nbytes: int) -> None:
        """So many bytes of announced voxels are here.

        Raises:
            WorkerError: There is not enough memory for them any more.
        """
        with self._lock:
            before = self._reserved.get((client, key), 0)
            self._free_memory(nbytes - before, f"{nbytes / 2**20:.0f} MB of the volume have come")
            self._reserved[client, key] = nbytes

    def admit_request(self, client: int, number: int, nbytes: int, most: int) -> None:
        """A request has come that holds so many bytes until it has ended.

        Args:
            client: Whose.
            number: The request.
            nbytes: What it holds.
            most: What all requests of a client may hold together.

        Raises:
            WorkerError: That is more than this client may have, or than there is memory for.
        """
        with self._lock:
            own = sum(one for (whose, _), one in self._requests.items() if whose == client)
            most = min(most, self.max_bytes // 4)
            if own + nbytes > most:
                raise WorkerError(
                    f"the requests of this client would hold {(own + nbytes) / 2**20:.0f} MB; at most {most / 2**20:.0f} MB are taken",
                    hint="wait for some of them to end",
                )
            self._free_memory(nbytes, f"the request holds {nbytes / 2**20:.0f} MB")
            self._requests[client, number] = nbytes

    def end_request(self, client: int, number: int) -> None:
        """What a request held is let go of."""
        with self._lock:
            self._requests.pop((client, number), None)

    def _free_memory(self, nbytes: int, what: str) -> None:
        unused = [key for key in self._held if not self._users.get(key)]
        while unused and self._nbytes() + self.others + nbytes > self.max_bytes:
            del self._held[unused.pop(0)]
        free = self.max_bytes - self._nbytes()
        if nbytes > free:
            raise WorkerError(
                f"{what}; the worker has memory for {max(free, 0) / 2**20:.0f} MB",
                hint="close another volume, or start the worker with more memory (--max-memory)",
            )

    def put(self, key: str, volume: Volume, client: int) -> Volume:
        """Keeps a volume that has come, and returns the one that is held: the first of equals."""
        with self._lock:
            self._reserved.pop((client, key), None)
            self._users.setdefault(key, set()).add(client)
            return self._held.setdefault(key, volume)

    def _nbytes(self) -> int:
        voxels = sum(volume.voxels.nbytes for volume in self._held.values())
        return voxels + sum(self._reserved.values()) + sum(self._requests.values())

    def _release(self, key: str, client: int) -> None:
        self._reserved.pop((client, key), None)
        if key in self._users:
            self._users[key].discard(client)
            if not self._users[key]:
                del self._users[key]


class IncomingVolume:
    """Voxels on their way to the worker.

    Args:
        request: What the client says of them.

    Raises:
        ProtocolError: It says what cannot be.
    """

    def __init__(self, request: OpenVolume) -> None:
        if any(n < 1 for n in request.shape):
            raise ProtocolError(f"a volume has at least one voxel along every axis; got shape {request.shape}")
        if len(request.ijk_to_ras) != 16:
            raise ProtocolError(f"a matrix has 16 numbers; got {len(request.ijk_to_ras)}")
        self.request = request
        self.dtype = wire_dtype(request.dtype)
        self.nbytes = math.prod(request.shape) * self.dtype.itemsize
        self._voxels: NDArray[Any] | None = None
        self._num_received = 0

    @property
    def num_received(self) -> int:
        """Bytes of voxels that are here."""
        return self._num_received

    @property
    def is_complete(self) -> bool:
        """All voxels are here."""
        return self._num_received == self.nbytes

    def take_chunk(self, chunk: VoxelChunk) -> None:
        """Takes the next voxels.

        Raises:
            ProtocolError: They are not the next ones, or not as many as they should be.
        """
        expected = min(CHUNK_BYTES, self.nbytes - self._num_received)
        if chunk.start != self._num_received:
            raise ProtocolError(f"voxels from byte {chunk.start} came; expected those from {self._num_received}")
        data = unpacked(chunk.data, expected, "packed voxels") if chunk.is_compressed else chunk.data
        if len(data) != expected:
            raise ProtocolError(f"{len(data)} bytes of voxels came; expected {expected}")
        if self._voxels is None:
            self._voxels = np.empty(self.request.shape, self.dtype)
        as_bytes(self._voxels)[chunk.start : chunk.start + expected] = data
        self._num_received += expected

    def take_file(self, file: VoxelFile, folder: Path | None) -> None:
        """Takes all voxels from a file: maps it, or reads it where a mapped file could not be deleted.

        Raises:
            ProtocolError: Files are not taken, or there is no such file of that size in the folder.
        """
        if folder is None:
            raise ProtocolError("this worker takes no files", hint="send the voxels in chunks")
        path = folder / file.name.replace("\0", "/")
        if Path(file.name).name != file.name or path.is_symlink() or not path.is_file():
            raise ProtocolError("there is no such file in the folder for voxels")
        if path.stat().st_size != self.nbytes:
            raise ProtocolError(f"the file of voxels has {path.stat().st_size} bytes; expected {self.nbytes}")
        if disk.MAPS_FILES:
            self._voxels = np.memmap(path, self.dtype, mode="r", shape=self.request.shape)
        else:
            self._voxels = np.fromfile(path, self.dtype).reshape(self.request.shape)
        self._num_received = self.nbytes

    def finish(self) -> Volume:
        """The volume, once it is complete. Takes the time to hash it.

        Raises:
            ProtocolError: The content is not what was announced.
            GeometryError: The matrix is of no use.
        """
        assert self._voxels is not None
        if volume_id(self._voxels, self.request.ijk_to_ras) != self.request.volume_id:
            raise ProtocolError("the voxels that came are not those that were announced", hint="open the volume again")
        return Volume(self._voxels, np.reshape(self.request.ijk_to_ras, (4, 4)))
