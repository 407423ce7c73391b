"""Voxels on their way to a worker: what a volume is called there, and how it is sent.

A volume's name on the wire: what it is, not what it is called. Opening the same content again costs nothing.
Uploads voxels to a worker in small steps: as a file that it maps, or in compressed chunks.
"""

import contextlib
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ProtocolError
from NeuroSAM2Core.remote.messages import VoxelChunk, VoxelFile
from NeuroSAM2Core.volume import Volume

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
CHUNK_BYTES = 1 << 20
HASH_STEP_BYTES = 8 << 20
"""A few milliseconds, or twenty on a slow machine."""


def wire_voxels(volume: Volume) -> NDArray[Any]:
    """The voxels as they travel: C-ordered (K, J, I), little-endian, of a type in `DTYPES`; no copy where they are so already."""
    voxels = volume.voxels
    if voxels.dtype.name not in DTYPES:
        voxels = voxels.astype(np.uint8 if voxels.dtype == bool else np.float32)
    return np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))


def wire_matrix(volume: Volume) -> tuple[float, ...]:
    """The volume's matrix as it travels, row by row."""
    return tuple(float(v) for v in volume.ijk_to_ras.ravel())


def volume_id(voxels: NDArray[Any], ijk_to_ras: tuple[float, ...]) -> str:
    """SHA-256 over the voxel type, the shape, the matrix and the voxels, in hexadecimal; the name plays no part.

    Args:
        voxels: From `wire_voxels`.
        ijk_to_ras: From `wire_matrix`.
    """
    hashing = VolumeHash(voxels, ijk_to_ras)
    while not hashing.step():
        pass
    return hashing.volume_id


class VolumeHash:
    """`volume_id` a little at a time, for those who must not be held up: call `step` until it says that it is done.

    Args:
        voxels: From `wire_voxels`.
        ijk_to_ras: From `wire_matrix`.
    """

    def __init__(self, voxels: NDArray[Any], ijk_to_ras: tuple[float, ...]) -> None:
        head = f"{voxels.dtype.name} {voxels.shape} ".encode() + np.asarray(ijk_to_ras, dtype="<f8").tobytes()
        self._digest = hashlib.sha256(head)
        self._left = as_bytes(voxels)

    def step(self, num_bytes: int = HASH_STEP_BYTES) -> bool:
        """Takes in some more; returns whether that was all."""
        self._digest.update(self._left[:num_bytes])
        self._left = self._left[num_bytes:]
        return not self._left

    @property
    def volume_id(self) -> str:
        """The id, once `step` has returned that it is done."""
        assert not self._left
        return self._digest.hexdigest()


def as_bytes(voxels: NDArray[Any]) -> memoryview:
    """The bytes of C-ordered voxels, not copied."""
    return voxels.reshape(-1).view(np.uint8).data


def wire_dtype(name: str) -> np.dtype[Any]:
    """The voxel type of that name.

    Raises:
        ProtocolError: It is none that travels.
    """
    if name not in DTYPES:
        raise ProtocolError(f"voxels of type {name!r} do not travel; expected one of {', '.join(DTYPES)}")
    return np.dtype(name).newbyteorder("<")


FILE_STEP_BYTES = 4 << 20
"""Written between two looks at the socket; a few milliseconds."""
ZLIB_LEVEL = 1
"""Scans halve at any level; the others only take longer."""


class Upload:
    """The upload of one volume.

    Args:
        volume_id: The volume.
        voxels: From `identity.wire_voxels`; kept until the volume is open.
    """

    def __init__(self, volume_id: str, voxels: NDArray[Any]) -> None:
        self.volume_id = volume_id
        self._voxels = voxels
        self._steps: Iterator[VoxelChunk | VoxelFile | None] | None = None
        self._file: Path | None = None

    def begin(self, voxel_folder: str) -> None:
        """The worker wants the voxels.

        Args:
            voxel_folder: Where it takes files from; empty where it does not.
        """
        self._steps = self._as_file(Path(voxel_folder)) if voxel_folder else self._as_chunks()

    @property
    def is_moving(self) -> bool:
        """There is more to send."""
        return self._steps is not None

    def step(self) -> VoxelChunk | VoxelFile | None:
        """Runs one small step and returns the message to send, if one is ready."""
        assert self._steps is not None
        try:
            return next(self._steps)
        except StopIteration:
            self._steps = None
            return None

    def end(self) -> bool:
        """The volume is open, or will not be. Returns whether the file is gone; a system that keeps mapped files needs a later try."""
        self._steps = None
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
        return self._file is None or not self._file.exists()

    def _as_file(self, folder: Path) -> Iterator[VoxelChunk | VoxelFile | None]:
        data = as_bytes(self._voxels)
        self._file = folder / f"{secrets.token_hex(8)}.voxels"
        try:
            with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for start in range(0, len(data), FILE_STEP_BYTES):
                    file.write(data[start : start + FILE_STEP_BYTES])
                    yield None
        except OSError:  # disk full, or another machine's folder after all: the socket takes everything
            self._file.unlink(missing_ok=True)
            yield from self._as_chunks()
            return
        yield VoxelFile(volume_id=self.volume_id, name=self._file.name)

    def _as_chunks(self) -> Iterator[VoxelChunk]:
        data = as_bytes(self._voxels)
        for start in range(0, len(data), CHUNK_BYTES):
            packed = zlib.compress(data[start : start + CHUNK_BYTES], ZLIB_LEVEL)
            yield VoxelChunk(volume_id=self.volume_id, start=start, is_compressed=True, data=packed)


class Uploads:
    """All volumes that are being opened; one is sent at a time."""

    def __init__(self) -> None:
        self._by_id: dict[str, Upload] = {}

    @property
    def is_moving(self) -> bool:
        """There is something to send."""
        return any(upload.is_moving for upload in self._by_id.values())

    def offer(self, volume_id: str, voxels: NDArray[Any]) -> None:
        """A volume is about to be opened."""
        self._by_id.setdefault(volume_id, Upload(volume_id, voxels))

    def begin(self, volume_id: str, voxel_folder: str) -> None:
        """The worker wants a volume's voxels."""
        if volume_id in self._by_id:
            self._by_id[volume_id].begin(voxel_folder)

    def step(self) -> VoxelChunk | VoxelFile | None:
        """Runs one small step of an upload and returns the message to send, if one is ready."""
        for upload in self._by_id.values():
            if upload.is_moving:
                return upload.step()
        return None

    def end(self, volume_id: str) -> None:
        """A volume is open, or will not be."""
        if volume_id in self._by_id and self._by_id[volume_id].end():
            del self._by_id[volume_id]

    def end_all(self) -> None:
        """The connection ends."""
        for volume_id in list(self._by_id):
            self.end(volume_id)
