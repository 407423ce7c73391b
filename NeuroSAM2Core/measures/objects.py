"""Size, surface and intensities of one object of a label map.

Surfaces are measured by Crofton's formula: along 13 directions, the steps from a voxel to its neighbour that enter or leave the object are
counted. Every direction counts as much as the part of the sphere that is nearest to it, so that grids may be anisotropic, oblique or
sheared.

Source: Lehmann and Legland, "Efficient N-Dimensional surface estimation using Crofton formula and run-length encoding", 2012.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.measures.intensities import Intensities, measuring_intensities
from NeuroSAM2Core.measures.object_mask import ObjectMask
from NeuroSAM2Core.measures.steps import Steps, finished
from NeuroSAM2Core.volume import Volume

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
