"""Size, surface and intensities of one object of a label map.

Surfaces are measured by Crofton's formula: along 13 directions, the steps from a voxel to its neighbour that enter or leave the object
are counted. Every direction counts as much as the part of the sphere that is nearest to it, so that grids may be anisotropic, oblique
or sheared.

Source: Lehmann and Legland, "Efficient N-Dimensional surface estimation using Crofton formula and run-length encoding", 2012.

Long measurements in short steps, so that a window can show progress between them, answer, and give up.
The voxels of one object, kept as the smallest block that holds them: twenty objects in a large volume need little memory.
What an image's values are in an object, also where the image has a grid of its own.
"""

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""A measurement that stops after every few hundredths of a second and returns its result at the end."""


def finished(steps: Steps[T]) -> T:
    """The result of a measurement, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMask:
    """One object on the grid of a volume."""

    voxels: NDArray[np.bool_]
    """(K, J, I) of the block; of no size where the object has no voxel."""
    first: Triple = (0, 0, 0)
    """Where the block begins, (k, j, i)."""

    @classmethod
    def of(cls, mask: NDArray[np.bool_], first: Triple = (0, 0, 0)) -> "ObjectMask":
        """A copy of the object in a mask.

        Args:
            mask: (K, J, I).
            first: Where the mask begins in the volume, (k, j, i).
        """
        box = bounding_box(mask)
        if box is None:
            return cls(np.zeros((0, 0, 0), bool))
        k, j, i = (start + part.start for start, part in zip(first, box, strict=True))
        return cls(mask[box].copy(), (k, j, i))

    @property
    def is_empty(self) -> bool:
        """It has no voxel."""
        return self.voxels.size == 0

    @property
    def last(self) -> Triple:
        """The last index of the block along each array axis."""
        k, j, i = (start + size - 1 for start, size in zip(self.first, self.voxels.shape, strict=True))
        return k, j, i

    @property
    def block(self) -> tuple[slice, slice, slice]:
        """The block in an array of the whole volume."""
        k, j, i = (slice(start, start + size) for start, size in zip(self.first, self.voxels.shape, strict=True))
        return k, j, i

    def within(self, first: Triple, last: Triple) -> NDArray[np.bool_]:
        """The object in another block, which holds its own."""
        k, j, i = (b - a + 1 for a, b in zip(first, last, strict=True))
        found = np.zeros((k, j, i), bool)
        if not self.is_empty:
            moved = (
                slice(part.start - start, part.stop - start) for part, start in zip(self.block, first, strict=True)
            )
            found[tuple(moved)] = self.voxels
        return found


PERCENTILES = (5, 25, 50, 75, 95)
POINTS_AT_ONCE = 200_000
SAME_GRID_VOXELS = 1e-3
"""Grids that differ by less are the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intensities:
    """The values of an image in an object."""

    mean: float
    sd: float
    """Sample standard deviation; not a number for a single voxel."""
    percentiles: tuple[float, ...]
    """At `PERCENTILES`, linearly interpolated."""


def measuring_intensities(image: Volume, grid: Volume, mask: ObjectMask) -> Steps[Intensities | None]:
    """The values of an image in an object; None where there are none.

    An image with another grid is read by linear interpolation at the centres of the object's voxels; what lies outside it is left out,
    and so is what is not finite.

    Args:
        image: Its values may be of any real type.
        grid: That the mask is on.
        mask: The object.
    """
    if _is_same_grid(image, grid):
        values = image.voxels[mask.block][mask.voxels].astype(np.float64)
    else:
        kji = np.argwhere(mask.voxels) + mask.first
        found = []
        for start in range(0, len(kji), POINTS_AT_ONCE):
            found.append(_sampled(image, grid, kji[start : start + POINTS_AT_ONCE]))
            yield
        values = np.concatenate(found or [np.zeros(0)])
    yield
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    return Intensities(
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        percentiles=tuple(np.percentile(values, PERCENTILES).tolist()),
    )


def _is_same_grid(image: Volume, grid: Volume) -> bool:
    if image.shape != grid.shape:
        return False
    change = image.ras_to_ijk @ grid.ijk_to_ras - np.eye(4)
    return bool(np.abs(change).max() * max(image.shape) < SAME_GRID_VOXELS)


def _sampled(image: Volume, grid: Volume, kji: NDArray[np.intp]) -> NDArray[np.float64]:
    """The image at voxel centres of the grid; not a number outside its outermost voxels."""
    from scipy import ndimage

    places = image.to_ijk(grid.to_ras(kji[:, ::-1]))[:, ::-1]
    last = np.array(image.shape) - 1
    is_inside = ((places >= -0.5) & (places <= last + 0.5)).all(axis=1)
    values = np.full(len(kji), np.nan)
    coordinates = np.clip(places[is_inside], 0, last).T
    values[is_inside] = ndimage.map_coordinates(image.voxels, coordinates, output=np.float64, order=1, mode="nearest")
    return values


NUM_SPHERE_POINTS = 20_000
"""Their shares give each direction its weight to three places."""
STEPS = tuple(step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0))
"""(i, j, k): half of the 26 neighbours; the other half lie opposite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectSize:
    """How large an object is."""

    voxels: int
    volume_ml: float
    extent_mm: tuple[float, float, float]
    """Left to right, posterior to anterior, inferior to superior; whole voxels."""
    surface_mm2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectMeasures:
    """The numbers of an object in one image."""

    size: ObjectSize
    intensities: Intensities


def measure_object(image: Volume, mask: NDArray[np.bool_]) -> ObjectMeasures:
    """The numbers of one object.

    Args:
        image: Its values may be of any real type; those that are not finite are left out of the intensities.
        mask: (K, J, I), on the image's grid.

    Raises:
        DataError: The mask is empty, or the image has no finite value in it.
    """
    one = ObjectMask.of(mask)
    if one.is_empty:
        raise DataError("the object has no voxel")
    values = finished(measuring_intensities(image, image, one))
    if values is None:
        raise DataError("the image has no finite value in the object")
    return ObjectMeasures(size=finished(measuring_size(image, one)), intensities=values)


def measuring_size(grid: Volume, mask: ObjectMask) -> Steps[ObjectSize]:
    """The size of an object that has voxels.

    Args:
        grid: That the mask is on.
        mask: The object.
    """
    count = int(mask.voxels.sum())
    extent = _extent_mm(grid, mask.voxels)
    yield
    surface = yield from _measuring_surface(grid, mask.voxels)
    return ObjectSize(voxels=count, volume_ml=count * grid.voxel_volume_ml, extent_mm=extent, surface_mm2=surface)


def _extent_mm(grid: Volume, mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """From the corners of the outermost voxels, along R, A and S."""
    matrix = grid.ijk_to_ras[:3, :3]
    ijk = np.argwhere(_silhouette(mask))[:, ::-1]
    x, y, z = np.ptp(ijk @ matrix.T, axis=0) + np.abs(matrix).sum(axis=1)
    return float(x), float(y), float(z)


def _silhouette(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The first and the last voxel of every row: the outermost ones in any direction are among them."""
    filled = mask.any(axis=2)
    ends = np.zeros_like(mask)
    k, j = np.nonzero(filled)
    ends[k, j, mask.argmax(axis=2)[filled]] = True
    ends[k, j, mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)[filled]] = True
    return ends


def _measuring_surface(grid: Volume, mask: NDArray[np.bool_]) -> Steps[float]:
    """In mm2: twice the mean, over all directions, of the crossings per area across the direction."""
    padded = np.pad(mask, 1)
    steps_mm = np.array(STEPS) @ grid.ijk_to_ras[:3, :3].T
    lengths = np.linalg.norm(steps_mm, axis=1)
    line_areas = grid.voxel_volume_ml * 1000.0 / lengths  # across a direction there is one line of voxels for each
    crossings = []
    for step in STEPS:
        crossings.append(_crossings(padded, step))
        yield
    return float(2 * (_weights(steps_mm / lengths[:, None]) * np.array(crossings) * line_areas).sum())


def _crossings(padded: NDArray[np.bool_], step: tuple[int, ...]) -> int:
    """Voxels whose neighbour at a step is on the other side of the surface."""
    here, there = [], []
    for move, count in zip(step[::-1], padded.shape, strict=True):
        here.append(slice(max(0, -move), count - max(0, move)))
        there.append(slice(max(0, move), count - max(0, -move)))
    return int(np.count_nonzero(padded[tuple(here)] != padded[tuple(there)]))


def _weights(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which part of the sphere is nearest to each direction or its opposite; their sum is 1."""
    n = np.arange(NUM_SPHERE_POINTS) + 0.5
    heights, angles = 1 - 2 * n / NUM_SPHERE_POINTS, np.pi * (1 + 5**0.5) * n  # a Fibonacci lattice
    radii = np.sqrt(1 - heights**2)
    sphere = np.stack([radii * np.cos(angles), radii * np.sin(angles), heights], axis=1)
    nearest = np.abs(sphere @ directions.T).argmax(axis=1)
    return np.bincount(nearest, minlength=len(directions)) / NUM_SPHERE_POINTS
