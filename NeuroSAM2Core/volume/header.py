"""What NIfTI files of ours begin with. Of the libraries that read and write files, only nibabel is needed."""

from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from NeuroSAM2Core.volume.header_geometry import MM, SCANNER, StoredImage, is_orthogonal, is_same_matrix

MAX_SIDE_LENGTH = 2**15 - 1
"""Voxels along an axis in the older of the two formats."""


def header_bytes(image: StoredImage, dtype: np.dtype[Any], note: str = "") -> bytes:
    """What a NIfTI file of an image begins with, up to the first voxel.

    Args:
        image: Its place is that of the file it came from, as it was stored there, if it came from one and was not moved.
        dtype: Of the voxels that follow.
        note: Kept as the header's description, at most 79 characters.
    """
    header = (Nifti1Header if max(image.voxels.shape) <= MAX_SIDE_LENGTH else Nifti2Header)()
    header.set_data_dtype(dtype)
    header.set_data_shape(image.voxels.shape[::-1])
    header.set_slope_inter(1.0, 0.0)
    header["descrip"] = note
    place, matrix = image.place, image.ijk_to_ras
    if place is not None and is_same_matrix(place.ijk_to_ras, matrix):
        place.put_into(header)
    else:
        header.set_qform(matrix, code=SCANNER if is_orthogonal(matrix) else 0)
        header.set_sform(matrix, code=SCANNER)
        header["pixdim"][1:4] = np.linalg.norm(matrix[:3, :3], axis=0)
        header["xyzt_units"] = MM
    length = -(-(len(header.binaryblock) + 4) // 16) * 16  # four bytes say that there are no extensions
    header.set_data_offset(length)
    return bytes(header.binaryblock).ljust(length, b"\0")
