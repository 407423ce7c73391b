"""Label maps as images: whether an image is one, and bringing it onto the grid of another.

One is told by its values, its name and what its header says. It is brought onto a grid as it is, with its axes put in order, or
resampled to the nearest voxel.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume

MAX_LABELS = 300
"""Distinct values of a label map at most: FreeSurfer's parcellations have fewer."""
FEW_LABELS = 12
LABEL_WORDS = re.compile(
    r"(^|[^a-z])(seg(mentation)?s?|a(parc)?seg|dseg|label(map|s)?|mask|roi|lesion|parc(ellation)?|atlas|gt|ground[-_ ]?truth)([^a-z]|$)"
)
"""Words of file names that mean a label map."""
IMAGE_WORDS = re.compile(r"(^|[^a-z0-9])(t1w?|t2w?|t1ce|t1gd|flair|pd|dwi|adc|swi|bold|ct|cta|mra?|brain)([^a-z0-9]|$)")
LABEL_INTENT = 1002
"""The intent code of NIfTI that means labels."""


class ImageKind(Enum):
    """What an image is."""

    IMAGE = "an image"
    LABELS = "a label map"
    UNSURE = "an image or a label map"


def kind_of_image(voxels: NDArray[Any], name: str = "", *, intent: int = 0) -> ImageKind:
    """What an image is: a label map has few, whole values from 0 on, in large areas of one value.

    Args:
        voxels: Of any real type.
        name: Of its file.
        intent: The intent code of its NIfTI header, 0 where there is none.
    """
    values = _label_values(voxels)
    if values is None:
        return ImageKind.IMAGE
    if intent == LABEL_INTENT:
        return ImageKind.LABELS
    words = name.lower()
    is_named_label, is_named_image = bool(LABEL_WORDS.search(words)), bool(IMAGE_WORDS.search(words))
    if is_named_label:
        return ImageKind.LABELS
    if is_named_image:
        return ImageKind.IMAGE if len(values) > FEW_LABELS else ImageKind.UNSURE
    return ImageKind.LABELS if len(values) <= 2 and int(values[-1]) in (1, 255) else ImageKind.UNSURE


def _label_values(voxels: NDArray[Any]) -> NDArray[Any] | None:
    """The values, where they can be labels; None where they cannot. Most images are told by a few slices."""
    step = max(1, len(voxels) // 16)
    for part in (voxels[::step], voxels):
        if part.dtype.kind == "f" and not (np.isfinite(part).all() and (part == np.rint(part)).all()):
            return None
        values: NDArray[Any] = np.unique(part)
        if len(values) > MAX_LABELS or values[0] < 0:
            return None
    return values if len(values) > 1 and (voxels == 0).mean() > 0.05 and not _is_noisy(voxels) else None


def _is_noisy(voxels: NDArray[Any]) -> bool:
    """Neighbours of one slice differ in more than a third of the places: as in a picture with few grey values."""
    middle = voxels[len(voxels) // 2]
    inside = middle[:, 1:] != 0
    return bool(inside.any() and (middle[:, 1:] != middle[:, :-1])[inside].mean() > 1 / 3)


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
