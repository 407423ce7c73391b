"""Repairs of masks by hand: parts, holes, outlines, and slices between others. NumPy masks in, masks out; sizes in mm.

The parts of a mask, in 2-D and 3-D: the one at a place, the small ones, each by itself. They connect through corners.

The largest part and holes are `components.cpu`'s.

Masks grown, shrunk and smoothed by a length in mm, in 2-D and 3-D, whatever the spacing.

Growing adds every pixel whose centre is at most so far from the centre of one inside. Outside the image there is nothing to grow
into; when shrinking, the image's border is no border of the object.

The slices between others, by their shapes: the signed distance to the outline is interpolated.

Source: Raya and Udupa, "Shape-based interpolation of multidimensional objects", 1990. Where two outlines do not overlap, as those of a
slanted vessel on thick slices, both are first moved to where the middle should be.

What a brush covers: a disc or a ball along a path. The inside of an outline is `LassoPrompt.mask`'s.

A pixel is covered if its centre is. Places are pixels, centres at integers.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import bounding_box, corners, label_parts, remove_islands
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.volume.plane import ball, disc

Mask = NDArray[np.bool_]
MAX_PARTS = 32
"""More are no objects but specks."""


def part_at(mask: Mask, place: tuple[int, ...]) -> Mask:
    """The part that a pixel or voxel belongs to; nothing where none is there."""
    part = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is not None and mask[place]:
        labels, _ = label_parts(mask[box], corners(mask.ndim))
        part[box] = labels == labels[tuple(n - side.start for n, side in zip(place, box, strict=True))]
    return part


def remove_small_parts(mask: Mask, spacing_mm: tuple[float, ...], width_mm: float) -> Mask:
    """The mask without the parts that are smaller than a disc, or a ball, of a width; its largest part always stays."""
    cell = math.prod(spacing_mm)
    size = disc(width_mm, cell) if mask.ndim == 2 else ball(width_mm, cell)
    return remove_islands(mask, min_size=math.ceil(size))


def split_parts(mask: Mask) -> list[Mask]:
    """The parts by themselves, the largest first; of equal ones, the one whose first voxel comes first.

    Raises:
        DataError: They are too many to be objects.
    """
    box = bounding_box(mask)
    if box is None:
        return []
    labels, count = label_parts(mask[box], corners(mask.ndim))
    if count > MAX_PARTS:
        raise DataError(
            f"it has {count} parts; {MAX_PARTS} can become objects", hint="remove the small parts first, then split"
        )
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    firsts = [int((labels == label).argmax()) for label in range(1, count + 1)]
    parts = []
    for number in sorted(range(count), key=lambda n: (-sizes[n], firsts[n])):
        part = np.zeros_like(mask)
        part[box] = labels == number + 1
        parts.append(part)
    return parts


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
    wide = bounding_box(mask, [steps + 1 for steps in _reach(spacing_mm, length_mm)])
    if wide is None:
        return mask.copy()
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
    wide = bounding_box(low | high, margin=1)
    assert wide is not None, "both show something"
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


Place = tuple[float, float]
"""Row and column."""


def paint_disc(
    path: Sequence[Place], radius_mm: float, shape: tuple[int, int], spacing_mm: tuple[float, float]
) -> Mask:
    """The pixels of a slice that a disc covers on its way; at least those that the path itself goes through."""
    mask = np.zeros(shape, bool)
    squared, box = _squared_distance(path, shape, spacing_mm, radius_mm)
    mask[box] = squared <= max(radius_mm, max(spacing_mm) / 2) ** 2 + 1e-9
    return mask


def paint_ball(
    path: Sequence[Place], radius_mm: float, shape: tuple[int, int], spacing_mm: tuple[float, float], slice_mm: float
) -> dict[int, Mask]:
    """What a ball covers on its way along a slice: masks by the number of slices above (positive) or below it."""
    squared, box = _squared_distance(path, shape, spacing_mm, radius_mm)
    masks = {}
    for offset in range(-math.floor(radius_mm / slice_mm), math.floor(radius_mm / slice_mm) + 1):
        mask = np.zeros(shape, bool)
        least = max(spacing_mm) / 2 if offset == 0 else 0.0
        mask[box] = squared <= max(radius_mm**2 - (offset * slice_mm) ** 2, least**2) + 1e-9
        masks[offset] = mask
    return masks


def _squared_distance(
    path: Sequence[Place], shape: tuple[int, int], spacing_mm: tuple[float, float], reach_mm: float
) -> tuple[NDArray[np.float64], tuple[slice, slice]]:
    """Square millimetres from pixels to a path, and the box of the pixels that are near it."""
    places = np.asarray(path, float).reshape(-1, 2)
    spacing = np.asarray(spacing_mm, float)
    margin = np.ceil(reach_mm / spacing) + 1
    low = np.clip(np.floor(places.min(axis=0) - margin), 0, shape).astype(int)
    high = np.clip(np.ceil(places.max(axis=0) + margin) + 1, 0, shape).astype(int)
    box = slice(low[0], high[0]), slice(low[1], high[1])
    rows, cols = np.mgrid[box]
    pixels = np.stack((rows, cols), axis=-1) * spacing
    squared = np.full(pixels.shape[:-1], np.inf)
    points = places * spacing
    for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
        way = end - start
        length = float(way @ way)
        along = np.clip((pixels - start) @ way / length, 0, 1) if length else np.zeros(squared.shape)
        nearest = pixels - start - along[..., None] * way
        np.minimum(squared, (nearest**2).sum(axis=-1), out=squared)
    return squared, box
