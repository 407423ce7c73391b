"""What an image file holds, before it is known to be a volume that one can work on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.volume.header_geometry import HeaderGeometry


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """Voxels and their place as a file has them."""

    voxels: NDArray[Any]
    """(K, J, I)."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4): homogeneous voxel indices (i, j, k, 1) to RAS mm."""
    name: str
    place: HeaderGeometry | None = None
    """What the header of a NIfTI file says of the grid, where the image is from one."""
    intent: int = 0
    """The intent code of a NIfTI header; 1002 means labels."""
    dicom_files: tuple[str, ...] = ()
    """Where the image is from DICOM, the files of its slices."""
