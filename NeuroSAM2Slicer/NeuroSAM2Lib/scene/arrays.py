"""VTK images as NumPy arrays (K, J, I) that share their memory, and matrices both ways."""

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import get_vtk_array_type

Matrix = NDArray[np.float64]


def voxels_of(image: vtk.vtkImageData) -> NDArray[Any]:
    """The scalars of an image, (K, J, I); a view that keeps them alive."""
    scalars = image.GetPointData().GetScalars()
    return np.asarray(memoryview(scalars)).reshape(image.GetDimensions()[::-1])


def set_voxels(image: vtk.vtkImageData, voxels: NDArray[Any], first_ijk: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Gives an image new scalars and the extent that goes with them.

    Args:
        image: Keeps its origin, spacing and directions.
        voxels: (K, J, I), copied.
        first_ijk: Indices of the first voxel.
    """
    k, j, i = voxels.shape
    a, b, c = first_ijk
    image.SetExtent(a, a + i - 1, b, b + j - 1, c, c + k - 1)
    image.AllocateScalars(get_vtk_array_type(voxels.dtype), 1)
    if voxels.size:
        voxels_of(image)[...] = voxels


def to_matrix(matrix: vtk.vtkMatrix4x4) -> Matrix:
    """(4, 4)."""
    return np.array(matrix.GetData()).reshape(4, 4)


def to_vtk(matrix: Matrix) -> vtk.vtkMatrix4x4:
    """The inverse of `to_matrix`."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result
