"""A label map on the grid of an image: as it is, with its axes put in order, or resampled to the nearest voxel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume

SAME_POSITION_MM = 1e-2
MAX_LABEL = 2**31 - 1
PIECE = 16
"""Slices that are resampled at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Regridded:
    """Labels on the grid of an image."""

    labels: NDArray[np.int32]
    """(K, J, I), as the image's."""
    sentence: str = ""
    """What was done, for people; empty where nothing had to be."""


def whole_numbers(label: Volume) -> NDArray[np.int32]:
    """Label values as whole numbers.

    Raises:
        DataError: Some are not, or are below 0.
    """
    values = label.voxels
    if values.dtype.kind == "f":
        broken = ~np.isfinite(values) | (values != np.rint(values))
        if broken.any():
            raise DataError(
                f"the label {label.name} has values that are not whole numbers, for example {values[broken][0]:g}",
                hint="a probability map needs a threshold first; a resampled label needs nearest neighbours",
            )
    low, high = values.min(), values.max()
    if low < 0 or high > MAX_LABEL:
        raise DataError(f"the label {label.name} has values from {low:g} to {high:g}; expected 0 and above")
    return values.astype(np.int32)


def labels_on_grid(label: Volume, image: Volume) -> Regridded:
    """A label map on the grid of an image.

    Args:
        label: Whole numbers.
        image: Where it is drawn.

    Raises:
        DataError: It has no label, values that are none, or none of it lies in the image.
    """
    labels = whole_numbers(label)
    count = int(np.count_nonzero(labels))
    if not count:
        raise DataError(f"{label.name} is empty: it has no voxel above 0", hint="choose another file")
    for matrix in (label.ijk_to_ras, *(label.place.forms() if label.place else ())):
        if label.shape == image.shape and corners_apart_mm(matrix, image.ijk_to_ras, image.shape) <= SAME_POSITION_MM:
            return Regridded(labels)
    to_label = np.linalg.inv(label.ijk_to_ras) @ image.ijk_to_ras
    result = _resampled(labels, to_label, image.shape)
    kept = int(np.count_nonzero(result))
    if not kept:
        raise DataError(
            f"{label.name} lies outside {image.name}: no labelled voxel is in it",
            hint="choose the image that it was drawn on, or register the two first",
        )
    if _is_rearrangement(to_label) and kept == count:
        return Regridded(result)
    lost = sorted(set(np.unique(labels).tolist()) - set(np.unique(result).tolist()))
    sentence = f"{label.name} is on another grid than {image.name} and was resampled to the nearest voxels"
    if lost:
        sentence += f"; nothing is left of {', '.join(map(str, lost[:8]))}{' and more' if len(lost) > 8 else ''}"
    return Regridded(result, sentence)


def corners_apart_mm(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]) -> float:
    """How far apart two matrices put the corner voxels of a grid of that shape (K, J, I), at most."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[::-1]], 1)).reshape(4, -1)
    return float(np.linalg.norm((one - other) @ corners, axis=0).max())


def _is_rearrangement(matrix: NDArray[np.float64]) -> bool:
    """A matrix only reorders, turns around and shifts axes by whole voxels."""
    rounded = np.rint(matrix)
    return bool(np.abs(matrix - rounded).max() < 1e-3 and (np.abs(rounded[:3, :3]).sum(axis=0) == 1).all())


def _resampled(
    labels: NDArray[np.int32], to_label: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.int32]:
    """The nearest labels at the voxels of another grid, piece by piece so that a bound of memory is kept.

    Args:
        labels: (K, J, I).
        to_label: (4, 4), from indices (i, j, k) of the other grid to those of the labels.
        shape: (K, J, I) of the other grid.
    """
    from scipy import ndimage

    matrix, offset = to_label[:3, :3][::-1, ::-1], to_label[:3, 3][::-1]
    result = np.zeros(shape, np.int32)
    for first in range(0, shape[0], PIECE):
        part = result[first : first + PIECE]
        ndimage.affine_transform(
            labels,
            matrix,
            offset + matrix[:, 0] * first,
            output_shape=part.shape,
            output=part,
            order=0,
            mode="constant",
            cval=0,
            prefilter=False,
        )
    return result
