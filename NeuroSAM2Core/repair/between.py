"""The slices between others, by their shapes: the signed distance to the outline is interpolated.

Source: Raya and Udupa, "Shape-based interpolation of multidimensional objects", 1990. Where two outlines do not overlap, as those of a
slanted vessel on thick slices, both are first moved to where the middle should be.
"""

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import bounding_box

Mask = NDArray[np.bool_]


def fill_between(slices: Mapping[int, Mask], spacing_mm: tuple[float, float]) -> dict[int, Mask]:
    """The masks of all slices between those given; none between two of which one is empty.

    Args:
        slices: Masks (H, W) by index.
        spacing_mm: Between rows and between columns.
    """
    filled: dict[int, Mask] = {}
    indices = sorted(slices)
    for low, high in itertools.pairwise(indices):
        if high - low > 1 and slices[low].any() and slices[high].any():
            parts = [(n - low) / (high - low) for n in range(low + 1, high)]
            filled.update(
                zip(range(low + 1, high), _between(slices[low], slices[high], parts, spacing_mm), strict=True)
            )
    return filled


def _between(low: Mask, high: Mask, parts: list[float], spacing_mm: tuple[float, float]) -> list[Mask]:
    """The masks at parts of the way from one mask to another."""
    box = bounding_box(low | high)
    assert box is not None, "both show something"
    wide = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
    one, other = low[wide], high[wide]
    is_apart = not (one & other).any()
    way = _centre(other) - _centre(one) if is_apart else np.zeros(2)
    distances = _signed_distance(one, spacing_mm), _signed_distance(other, spacing_mm)
    masks = []
    for part in parts:
        near, far = (
            _shifted(distance, move) for distance, move in zip(distances, (part * way, (part - 1) * way), strict=True)
        )
        mask = np.zeros_like(low)
        mask[wide] = (1 - part) * near + part * far > 0
        masks.append(mask)
    return masks


def _signed_distance(mask: Mask, spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Millimetres to the outline, which runs half a pixel from the centres; positive inside."""
    from scipy import ndimage

    inside, outside = (ndimage.distance_transform_edt(one, sampling=spacing_mm) for one in (mask, ~mask))
    half = min(spacing_mm) / 2
    return np.where(mask, inside - half, half - outside)


def _centre(mask: Mask) -> NDArray[np.float64]:
    return np.argwhere(mask).mean(axis=0)


def _shifted(distance: NDArray[np.float64], move: NDArray[np.float64]) -> NDArray[np.float64]:
    if not move.any():
        return distance
    from scipy import ndimage

    return np.asarray(ndimage.shift(distance, move, order=1, mode="nearest"))
