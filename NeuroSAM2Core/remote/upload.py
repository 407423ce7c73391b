"""Uploads voxels to a worker in small steps: as a file that it maps, or in compressed chunks."""

import contextlib
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from NeuroSAM2Core.remote.identity import CHUNK_BYTES, as_bytes
from NeuroSAM2Core.remote.messages import VoxelChunk, VoxelFile

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
