"""How alike two masks are: overlaps, and distances of their surfaces in mm.

A mask's surface is its voxels with a face towards something else; the edge of the volume counts as something else. Distances are
between voxel centres.

Source: Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy", 2021 (surface Dice at a tolerance); Maier-Hein et
al., "Metrics Reloaded", 2024 (HD95 as the larger of the two directed percentiles).

How one object differs between two label maps, and on which slices most.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.measures.objects import ObjectMask, Steps, finished
from NeuroSAM2Core.volume import Axis, Volume

Mask = NDArray[np.bool_]
POINTS_AT_ONCE = 20_000


def dice(a: Mask, b: Mask) -> float:
    """Twice the overlap over the sum of sizes; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def iou(a: Mask, b: Mask) -> float:
    """Overlap over union; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


@dataclass(frozen=True, slots=True)
class SurfaceAgreement:
    """How far two surfaces are apart."""

    hd95_mm: float
    """The larger of the 95th percentiles of the distances from either surface to the other; not a number where one is empty."""
    surface_dice: float
    """Share of both surfaces that is within the tolerance of the other, 0 to 1 (normalised surface distance)."""


def surface_agreement(
    a: Mask, b: Mask, spacing_mm: tuple[float, float, float], *, tolerance_mm: float
) -> SurfaceAgreement:
    """Compares the surfaces of two masks.

    Args:
        a: (K, J, I).
        b: (K, J, I).
        spacing_mm: Between neighbours along k, j, i: in the order of the arrays.
        tolerance_mm: Surfaces that are no farther apart agree.
    """
    return finished(comparing_surfaces(a, b, spacing_mm, tolerance_mm=tolerance_mm))


def comparing_surfaces(
    a: Mask, b: Mask, spacing_mm: tuple[float, float, float], *, tolerance_mm: float
) -> Steps[SurfaceAgreement]:
    """`surface_agreement` in short steps."""
    box = bounding_box(a | b)
    if box is None:
        return SurfaceAgreement(0.0, 1.0)
    if not (a.any() and b.any()):
        return SurfaceAgreement(math.nan, 0.0)
    points: list[NDArray[np.float64]] = []
    for mask in (a[box], b[box]):
        points.append(np.multiply(np.argwhere(_surface(mask)), spacing_mm, dtype=np.float64))
        yield
    surface_a, surface_b = points
    to_b = yield from _distances(surface_a, surface_b)
    to_a = yield from _distances(surface_b, surface_a)
    within = int((to_b <= tolerance_mm).sum()) + int((to_a <= tolerance_mm).sum())
    return SurfaceAgreement(
        max(float(np.percentile(to_b, 95)), float(np.percentile(to_a, 95))), within / (len(to_a) + len(to_b))
    )


def _distances(points: NDArray[np.float64], to: NDArray[np.float64]) -> Steps[NDArray[np.float64]]:
    """From each point to the nearest of others."""
    from scipy.spatial import KDTree

    tree = KDTree(to, balanced_tree=False, compact_nodes=False)
    yield
    found = []
    for start in range(0, len(points), POINTS_AT_ONCE):
        found.append(tree.query(points[start : start + POINTS_AT_ONCE])[0])
        yield
    return np.concatenate(found)


def _surface(mask: Mask) -> Mask:
    from scipy import ndimage

    return np.asarray(mask & ~ndimage.binary_erosion(mask))


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
