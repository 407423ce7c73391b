"""A volume's name on the wire: what it is, not what it is called. Opening the same content again costs nothing."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ProtocolError
from NeuroSAM2Core.volume import Volume

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
CHUNK_BYTES = 1 << 20


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
    head = f"{voxels.dtype.name} {voxels.shape} ".encode() + np.asarray(ijk_to_ras, dtype="<f8").tobytes()
    digest = hashlib.sha256(head)
    digest.update(as_bytes(voxels))
    return digest.hexdigest()


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
