"""What an image's values are in an object, also where the image has a grid of its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.measures.object_mask import ObjectMask
from NeuroSAM2Core.measures.steps import Steps
from NeuroSAM2Core.volume import Volume

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
