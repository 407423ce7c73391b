"""How one object differs between two label maps, and on which slices most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.measures.agreement import comparing_surfaces, dice
from NeuroSAM2Core.measures.object_mask import ObjectMask
from NeuroSAM2Core.measures.steps import Steps, finished
from NeuroSAM2Core.volume import Axis, Volume

MAX_SLICES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelDifference:
    """An object in two label maps."""

    dice: float
    hd95_mm: float
    """Not a number where one of the two has no voxel."""
    worst_slices: tuple[int, ...]
    """Slices along the axis with the most differing voxels, the most first; none where the two are equal."""


def label_difference(
    grid: Volume, one: NDArray[np.bool_], other: NDArray[np.bool_], axis: Axis, *, num_slices: int = MAX_SLICES
) -> LabelDifference:
    """Compares an object.

    Args:
        grid: Of both.
        one: (K, J, I).
        other: (K, J, I).
        axis: Of the slices.
        num_slices: How many of them are named, at most.
    """
    return finished(comparing(grid, ObjectMask.of(one), ObjectMask.of(other), axis, num_slices=num_slices))


def comparing(
    grid: Volume, one: ObjectMask, other: ObjectMask, axis: Axis, *, num_slices: int = MAX_SLICES
) -> Steps[LabelDifference]:
    """`label_difference` in short steps."""
    there = [mask for mask in (one, other) if not mask.is_empty]
    if not there:
        return LabelDifference(dice=1.0, hd95_mm=0.0, worst_slices=())
    first, last = np.min([mask.first for mask in there], axis=0), np.max([mask.last for mask in there], axis=0)
    k, j, i = map(int, first)
    a, b = (mask.within((k, j, i), (int(last[0]), int(last[1]), int(last[2]))) for mask in (one, other))
    yield
    differing = (a ^ b).sum(axis=tuple(n for n in range(3) if n != axis.array_axis))
    order = np.argsort(-differing, kind="stable")[:num_slices]
    yield
    spacing = grid.spacing_mm
    surfaces = yield from comparing_surfaces(a, b, (spacing[2], spacing[1], spacing[0]), tolerance_mm=1.0)
    return LabelDifference(
        dice=dice(a, b),
        hd95_mm=surfaces.hd95_mm,
        worst_slices=tuple(int(index + first[axis.array_axis]) for index in order if differing[index]),
    )
