"""How one object differs between two label maps, and on which slices most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.measures.agreement import dice, surface_agreement
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
    i, j, k = grid.spacing_mm
    others = tuple(a for a in range(3) if a != axis.array_axis)
    differing = (one ^ other).sum(axis=others)
    order = np.argsort(-differing, kind="stable")[:num_slices]
    return LabelDifference(
        dice=dice(one, other),
        hd95_mm=surface_agreement(one, other, (k, j, i), tolerance_mm=1.0).hd95_mm,
        worst_slices=tuple(int(index) for index in order if differing[index]),
    )
