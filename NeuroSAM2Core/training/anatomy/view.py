"""The target of a clip and its field of view: an object on a slice, a direction and a stride.

Samples the objects of a clip: the target, and others visible on its first slice.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import (
    ID,
    LESION,
    NUM_LABELS,
    OBJECT_LABELS,
    ids,
    is_in,
    object_weights,
    table_of,
)
from NeuroSAM2Core.training.config.pretraining import ClipConfig

MIN_PIXELS = 16
MAX_AREA_RATIO = 0.85
"""Objects that fill more of the picture are not asked for, unless the clip is about them."""
NEVER_JOINED = (0, ID["CSF"], ID["air cavity"])


def choose_objects(
    seen: UInt8[np.ndarray, "t h w"],
    head: Head,
    first: int | None,
    rng: np.random.Generator,
    config: ClipConfig,
    *,
    num_objects: int,
    image_size: int,
    is_crop: bool,
    even_sizes: bool,
) -> Bool[np.ndarray, "o labels"] | None:
    """The label tables of a clip's objects; None where its first one can hardly be seen. Some may be there twice.

    Args:
        seen: The labels of the clip's slices.
        head: Where they are from.
        first: What the clip is about, a row of `OBJECT_LABELS`; None for a lesion.
        rng: Draws the others.
        config: How clips are drawn.
        num_objects: How many are wanted.
        image_size: Side of the picture, pixels.
        is_crop: The clip shows a crop.
        even_sizes: See `object_weights`.
    """
    pixels = image_size**2 / seen[0].size * np.bincount(seen[0].ravel(), minlength=NUM_LABELS)
    chosen = [_lesion(rng) if first is None else OBJECT_LABELS[first]]
    if chosen[0] @ pixels < MIN_PIXELS:
        return None
    areas = OBJECT_LABELS @ pixels
    least = config.min_others * image_size**2 * (4 if is_crop else 1)
    ends = OBJECT_LABELS @ np.bincount(seen[-1].ravel(), minlength=NUM_LABELS) == 0
    weights = object_weights(head.volumes, even_sizes=even_sizes) * np.where(ends, 2.0, 1.0)
    weights *= (areas >= least) & (areas < MAX_AREA_RATIO * image_size**2)
    count = int((weights > 0).sum())
    order: list[int] = (
        rng.choice(len(weights), count, replace=False, p=weights / weights.sum()).tolist() if count else []
    )
    for n in order:
        if len(chosen) == num_objects:
            break
        if all(pixels[table ^ OBJECT_LABELS[n]].any() for table in chosen):  # not the same pixels
            chosen.append(OBJECT_LABELS[n])
    tables = [chosen[n % len(chosen)].copy() for n in range(num_objects)]
    for table in tables:
        if first is not None and rng.random() < config.joined:
            join(table, seen[0], rng)
    return np.stack(tables)


def _lesion(rng: np.random.Generator) -> Bool[np.ndarray, "labels"]:
    """Everything of a lesion, what enhances, or its core."""
    return table_of(*LESION[: 3 - int(rng.integers(3))])


def join(table: Bool[np.ndarray, "labels"], plane: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> None:
    """Adds one or two of the labels that touch an object on a slice to its table; in place."""
    for _ in range(int(rng.integers(1, 3))):
        mask = table[plane]
        touching = np.unique(plane[ndimage.binary_dilation(mask, iterations=2) & ~mask])
        fitting = [n for n in touching if n not in NEVER_JOINED and (plane == n).sum() < 4 * mask.sum()]
        if not fitting:
            return
        table[int(rng.choice(fitting))] = True


MIN_AREA_MM2 = 12
"""A clip begins on a slice where its object has this much."""
MAX_AREA_MM2 = 20
"""An object that reaches this on no slice is passed over."""
LONG_CLIP = 9
"""Clips of so many slices go through their object from one part to the farther end."""
END_FRACTION = 0.15
"""A clip that begins near an object's end begins in this last part of its slices."""
LESION_RADIUS_MM = (2.0, 16.0)
WHOLE_SLICE_MM = (185.0, 255.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """The target of a clip."""

    slice: int
    """Where the clip begins."""
    ends: tuple[int, int]
    """First and last slice of the object."""
    low: Float[np.ndarray, "2"]
    """First row and column of its box on that slice, mm."""
    high: Float[np.ndarray, "2"]
    """Last row and column."""
    upwards: bool
    """Towards higher slice numbers."""
    begins_at_end: bool = False
    """It begins near the object's end and leaves it."""
    lesion_radius: float = 0.0
    """Of a lesion that is still to be drawn, mm; 0 for an object of the head."""

    @property
    def middle(self) -> Float[np.ndarray, "2"]:
        """Of the box, mm."""
        return (self.low + self.high) / 2

    @property
    def sides(self) -> Float[np.ndarray, "2"]:
        """Rows and columns of the box, mm."""
        return self.high - self.low + 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """The field of view of a clip."""

    axis: int
    numbers: Int[np.ndarray, "t"]
    """Slices of the head; they may lie outside of its map."""
    start: Int[np.ndarray, "2"]
    """First row and column, mm."""
    extent: Int[np.ndarray, "2"]
    """Rows and columns, mm."""
    is_crop: bool

    @property
    def stride(self) -> int:
        """Distance between neighbouring slices, mm; 0 for a single slice."""
        return abs(int(self.numbers[1] - self.numbers[0])) if len(self.numbers) > 1 else 0


def choose_target(
    head: Head, axis: int, number: int, rng: np.random.Generator, *, begins_at_end: bool, is_long: bool = False
) -> Target | None:
    """A slice on which an object can be seen; None if there is none along this axis.

    Args:
        head: Where the object is.
        axis: Along which slices are taken.
        number: The object, a row of `OBJECT_LABELS`.
        rng: Draws slice and direction.
        begins_at_end: Choose a slice near the end that the clip goes towards.
        is_long: Go towards the farther end.
    """
    areas = head.counts[axis] @ OBJECT_LABELS[number]
    if areas.max() < MAX_AREA_MM2:
        return None
    upwards = bool(rng.random() < 0.5)
    visible = np.flatnonzero(areas >= MIN_AREA_MM2)
    if begins_at_end:
        last = max(1, round(END_FRACTION * len(visible)))
        index = int(rng.choice(visible[-last:] if upwards else visible[:last]))
    else:
        weights = areas[visible].astype(float) ** 0.6
        index = int(rng.choice(visible, p=weights / weights.sum()))
    rows, cols = np.nonzero(OBJECT_LABELS[number][np.asarray(np.moveaxis(head.labels, axis, 0)[index])])
    present = np.flatnonzero(areas)
    if is_long:
        upwards = bool(present[-1] - index > index - present[0])
    return Target(
        slice=index,
        ends=(int(present[0]), int(present[-1])),
        low=np.array([rows.min(), cols.min()], float),
        high=np.array([rows.max(), cols.max()], float),
        upwards=upwards,
        begins_at_end=begins_at_end,
    )


def choose_lesion(head: Head, axis: int, rng: np.random.Generator) -> Target | None:
    """Where a lesion is about to be, somewhere in white matter; None if the head has none."""
    white = head.counts[axis][:, ids("white matter")].sum(1).astype(float)
    if not white.any():
        return None
    index = int(rng.choice(len(white), p=white / white.sum()))
    spots = np.argwhere(is_in(np.asarray(np.moveaxis(head.labels, axis, 0)[index]), "white matter"))
    spot = spots[int(rng.integers(len(spots)))].astype(float)
    radius = float(np.exp(rng.uniform(*np.log(LESION_RADIUS_MM))))
    return Target(
        slice=index,
        ends=(round(index - radius), round(index + radius)),
        low=spot - radius,
        high=spot + radius,
        upwards=bool(rng.random() < 0.5),
        lesion_radius=radius,
    )


def choose_view(
    head: Head,
    axis: int,
    target: Target,
    rng: np.random.Generator,
    config: ClipConfig,
    *,
    num_slices: int,
    crop_range: tuple[float, float],
) -> View:
    """Stride and field of view of a clip."""
    stride = _choose_stride(target, rng, config, num_slices)
    numbers = target.slice + (stride if target.upwards else -stride) * np.arange(num_slices)
    whole = rng.uniform(*WHOLE_SLICE_MM)
    factor = float(np.exp(rng.uniform(*np.log(crop_range))))
    side = max(config.min_crop_mm, float(target.sides.max()) * factor)
    is_crop = bool(rng.random() < config.crop and side < whole)
    extent = (side if is_crop else whole) * rng.uniform(0.87, 1.15, 2)
    extent = np.maximum(extent, 1.08 * target.sides)
    if is_crop:
        middle = target.middle + rng.uniform(-0.3, 0.3, 2) * (extent - target.sides)
    else:
        shape = np.array([n for a, n in enumerate(head.labels.shape) if a != axis])
        middle = 0.75 * (shape / 2 + rng.uniform(-15, 15, 2)) + 0.25 * target.middle
    return View(
        axis=axis,
        numbers=numbers,
        start=np.floor(middle - extent / 2).astype(int),
        extent=np.maximum(np.ceil(extent).astype(int), 8),
        is_crop=is_crop,
    )


def _choose_stride(target: Target, rng: np.random.Generator, config: ClipConfig, num_slices: int) -> int:
    """Distance between neighbouring slices, mm: any, or one with which the object ends within the clip."""
    if target.begins_at_end:
        return int(rng.integers(min(2, config.max_stride), config.max_stride + 1))
    if num_slices > 1 and rng.random() < config.past_end:
        to_end = (target.ends[1] - target.slice if target.upwards else target.slice - target.ends[0]) + 1
        ends_after = rng.uniform(0.6, 1.0) if num_slices >= LONG_CLIP else rng.uniform(0.25, 0.8)
        wanted = round(to_end / (num_slices * ends_after))
        return int(np.clip(wanted, 1, config.max_stride))
    return int(rng.integers(1, min(2 if num_slices >= LONG_CLIP else 3, config.max_stride) + 1))


def cut(head: Head, view: View) -> tuple[UInt8[np.ndarray, "t h w"], int] | None:
    """The part of a head's map that a view needs, with a slice more at each end, and the slice that it begins with.

    Background lies outside of the map; None where the view sees nothing else.
    """
    low, high = int(view.numbers.min()) - 1, int(view.numbers.max()) + 2
    slab = np.zeros((high - low, *view.extent), np.uint8)
    source = np.moveaxis(head.labels, view.axis, 0)
    first = (low, int(view.start[0]), int(view.start[1]))
    inside = tuple(
        slice(max(0, s), max(0, min(n, s + e))) for s, e, n in zip(first, slab.shape, source.shape, strict=True)
    )
    if any(part.stop <= part.start for part in inside):
        return None
    place = tuple(slice(part.start - s, part.stop - s) for part, s in zip(inside, first, strict=True))
    slab[place] = source[inside]
    return slab, low
