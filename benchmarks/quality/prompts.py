"""The prompts of the simulated user: where an object is prompted, with which box or click, and what is corrected next.

Nothing here depends on the method that is measured, so that every method gets the same prompts for the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.measures import SliceOverlap
from NeuroSAM2Core.prompts import PointPrompt, click_from_error

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""First row, first column, last row, last column; outermost pixels inside the box."""
JITTER = 0.05
"""Each side of a box is moved by up to this share of its length."""


@dataclass(frozen=True, slots=True)
class FirstPrompts:
    """The slice on which an object is prompted first, and the two prompts given there."""

    axis: int
    """Of the (K, J, I) array."""
    index: int
    box: Box
    click: PointPrompt


def first_prompts(truth: Mask, axes: Sequence[int] = (0, 1, 2)) -> FirstPrompts:
    """The box and the click of an object on its best slice.

    Args:
        truth: The object, (K, J, I), not empty.
        axes: Array axes that slices may be cut along.
    """
    axis, index = best_view(truth, axes)
    picture = np.moveaxis(truth, axis, 0)[index]
    click = click_from_error(picture, np.zeros_like(picture))
    assert click is not None
    return FirstPrompts(axis, index, jittered_box(picture), click)


def best_view(truth: Mask, axes: Sequence[int] = (0, 1, 2)) -> tuple[int, int]:
    """(axis, index) of the object's largest slice along the axis where that slice is large and fills its box."""
    views = []
    for axis in axes:
        planes = np.moveaxis(truth, axis, 0)
        areas = planes.sum(axis=(1, 2))
        index = int(areas.argmax())
        row0, col0, row1, col1 = tight_box(planes[index])
        views.append((float(areas[index]) ** 2 / ((row1 - row0 + 1) * (col1 - col0 + 1)), axis, index))
    return max(views)[1:]


def tight_box(mask: Mask) -> tuple[int, int, int, int]:
    """The tight box of a mask (H, W) that is not empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1])


def jittered_box(mask: Mask, *, seed: int = 0, amount: float = JITTER) -> Box:
    """The tight box of a mask (H, W), each side moved inwards or outwards at random by up to a share of its length.

    Args:
        mask: Not empty.
        seed: The same seed gives the same box.
        amount: The share.
    """
    row0, col0, row1, col1 = tight_box(mask)
    height, width = row1 - row0 + 1, col1 - col0 + 1
    moves = np.random.default_rng(seed).uniform(-amount, amount, 4) * (height, width, height, width)
    rows = np.clip((row0 + moves[0], row1 + moves[2]), 0, mask.shape[0] - 1)
    cols = np.clip((col0 + moves[1], col1 + moves[3]), 0, mask.shape[1] - 1)
    return float(rows[0]), float(cols[0]), float(rows.max()), float(cols.max())


def correction(truth: Mask, found: Mask, overlap: SliceOverlap) -> tuple[int, PointPrompt] | None:
    """The next correction: a click in the middle of the largest error of the slice with the most wrong voxels.

    A slice that holds nothing of the object but false voxels is as wrong as one that misses as many.

    Args:
        truth: (K, J, I).
        found: (K, J, I).
        overlap: Of the two.

    Returns:
        The slice's index along the axis of `overlap` and the click; None where nothing is wrong.
    """
    index = overlap.worst_slice
    click = click_from_error(*(np.moveaxis(mask, overlap.axis, 0)[index] for mask in (truth, found)))
    return None if click is None else (index, click)
