"""MGH files of FreeSurfer (.mgh, .mgz), with nibabel's header."""

import io
import math
from pathlib import Path

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader

from NeuroSAM2Core.errors import GeometryError
from NeuroSAM2Core.memory import check_memory
from NeuroSAM2Core.volume.stored_image import StoredImage

FIRST_BYTES = b"\x00\x00\x00\x01"
"""The version; sizes and types follow."""
NUM_BYTES = 284
"""Of the header."""
TYPES = (0, 1, 3, 4, 10)
MAX_SIDE_LENGTH = 1 << 15


def begins_so(start: bytes) -> bool:
    """A file that begins like this is MGH."""
    if len(start) < NUM_BYTES or not start.startswith(FIRST_BYTES):
        return False
    sizes, kind = np.frombuffer(start[4:20], ">i4"), int.from_bytes(start[20:24], "big")
    return kind in TYPES and bool(((sizes > 0) & (sizes < MAX_SIDE_LENGTH)).all())


def read(path: Path, start: bytes, rest: io.BufferedIOBase) -> StoredImage:
    """The image in a file.

    Args:
        path: Of the file.
        start: Its first bytes, unpacked.
        rest: What follows them.

    Raises:
        GeometryError: It holds several volumes, or is flat.
        DataError: It is too large for the memory.
        EOFError: It is cut short.
    """
    header = MGHHeader(start[:NUM_BYTES], check=False)
    *shape, frames = map(int, header["dims"])
    if frames != 1:
        raise GeometryError(
            f"{path.name} holds {frames} volumes; expected one", hint="extract one of them first, for example the mean"
        )
    dtype = header.get_data_dtype()
    size = math.prod(shape) * dtype.itemsize
    check_memory(path.name, size)
    data = start[NUM_BYTES:][:size]
    data += rest.read(size - len(data))
    if len(data) < size:
        raise EOFError("it is cut short: its voxels end too soon")
    while rest.read(1 << 20):  # the check sum comes at the end
        pass
    voxels = np.frombuffer(data, dtype).reshape(shape[::-1]).astype(dtype.newbyteorder("="))
    name = path.name.removesuffix(".gz").removesuffix(".mgz").removesuffix(".mgh")
    return StoredImage(voxels, np.asarray(header.get_affine(), np.float64), name)
