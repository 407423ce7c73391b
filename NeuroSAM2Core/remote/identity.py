"""A volume's name on the wire: what it is, not what it is called. Opening the same content again costs nothing."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ProtocolError
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
