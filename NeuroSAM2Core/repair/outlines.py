"""Masks grown, shrunk and smoothed by a length in mm, in 2-D and 3-D, whatever the spacing.

Growing adds every pixel whose centre is at most so far from the centre of one inside. Outside the image there is nothing to grow
into; when shrinking, the image's border is no border of the object.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import ConfigError

Mask = NDArray[np.bool_]
Spacing = tuple[float, ...]
"""mm between pixels along each axis of the mask."""
MAX_MM = 50.0
ROUNDING = 1e-6
"""Of a length, so that 0.3 mm are three pixels of 0.1 mm."""


def grow(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    """The mask, larger by a length all around."""
    _check(length_mm)
    return _within(mask, spacing_mm, length_mm, lambda crop: _dilate(crop, spacing_mm, length_mm))


def shrink(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    """The mask, smaller by a length all around."""
    _check(length_mm)
    return _within(mask, spacing_mm, length_mm, lambda crop: _erode(crop, spacing_mm, length_mm))


def open_bridges(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    """The mask without what is thinner than twice a length: shrunk, then grown."""
    return grow(shrink(mask, spacing_mm, length_mm), spacing_mm, length_mm)


def close_gaps(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    """The mask with gaps filled that are narrower than twice a length: grown, then shrunk."""
    _check(length_mm)
    return _within(
        mask,
        spacing_mm,
        2 * length_mm,
        lambda crop: _erode(_dilate(crop, spacing_mm, length_mm), spacing_mm, length_mm),
    )


def smooth(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    """The mask with its outline smoothed by a median: each pixel as most of those around it, up to a length away."""
    from scipy import ndimage  # here, so that a panel starts where SciPy is not

    _check(length_mm)
    widths = [2 * steps + 1 for steps in _reach(spacing_mm, length_mm)]

    def median(crop: Mask) -> Mask:
        return np.asarray(ndimage.uniform_filter(crop.astype(np.float32), widths, mode="nearest") > 0.5)

    return _within(mask, spacing_mm, length_mm, median)


def _check(length_mm: float) -> None:
    if not 0 < length_mm <= MAX_MM:
        raise ConfigError(f"the length is {length_mm:g} mm; expected more than 0 and at most {MAX_MM:g}")


def _reach(spacing_mm: Spacing, length_mm: float) -> list[int]:
    """How many pixels a length is along each axis, rounded down."""
    return [math.floor(length_mm / one + ROUNDING) for one in spacing_mm]


def _within(mask: Mask, spacing_mm: Spacing, length_mm: float, change: Callable[[Mask], Mask]) -> Mask:
    """Does something to the part of a mask that it can change; the image's border is kept as the crop's where it is near."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    wide = tuple(
        slice(max(0, side.start - steps - 1), min(size, side.stop + steps + 1))
        for side, steps, size in zip(box, _reach(spacing_mm, length_mm), mask.shape, strict=True)
    )
    changed = mask.copy()
    changed[wide] = change(mask[wide])
    return changed


def _erode(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    return ~_dilate(~mask, spacing_mm, length_mm)


def _dilate(mask: Mask, spacing_mm: Spacing, length_mm: float) -> Mask:
    """The union of the mask moved by every step of a ball, whole rows of steps at a time."""
    *reach, across = _reach(spacing_mm, length_mm)
    rows: dict[int, Mask] = {}
    result = np.zeros_like(mask)
    for steps in itertools.product(*(range(-n, n + 1) for n in reach)):
        left = length_mm**2 - sum((n * one) ** 2 for n, one in zip(steps, spacing_mm[:-1], strict=True))
        if left < -ROUNDING:
            continue
        width = min(across, math.floor(math.sqrt(max(0.0, left)) / spacing_mm[-1] + ROUNDING))
        if width not in rows:
            rows[width] = _spread_along_rows(mask, width)
        to, source = _moved(steps, mask.shape)
        result[to] |= rows[width][source]
    return result


def _spread_along_rows(mask: Mask, width: int) -> Mask:
    """Every pixel that is at most so many columns from one inside."""
    spread, done = mask.copy(), 0
    while done < width:
        step = min(width - done, 2 * done + 1)
        wider = spread.copy()
        wider[..., step:] |= spread[..., :-step]
        wider[..., :-step] |= spread[..., step:]
        spread, done = wider, done + step
    return spread


def _moved(steps: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where an array goes that is moved by whole pixels, and which part of it stays in."""
    to = tuple(slice(max(0, n), min(size, size + n)) for n, size in zip(steps, shape, strict=False))
    source = tuple(slice(max(0, -n), min(size, size - n)) for n, size in zip(steps, shape, strict=False))
    return to, source
