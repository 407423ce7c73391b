"""The target of a clip and its field of view: an object on a slice, a direction and a stride."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import ids, is_in
from NeuroSAM2Core.synth.anatomy.objects import OBJECT_LABELS
from NeuroSAM2Core.training.config.anatomy import ClipConfig

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
