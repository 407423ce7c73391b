"""GrowCut and random walker behind the same prompts: they need seeds in and around the object, and a part of the image to look at.

The middle third of the box is object. Everything outside the box, a little widened, is background on every slice, and so are the first and
last slice of the part of the image that is looked at. Clicks are small balls. That part is the surroundings of the box: half its longer
side more on all sides within the slice, its longer side up and down. So small structures are seen at full resolution; large ones at half
of it or less, since the tools take minutes otherwise.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.volume import Axis, Volume

LOOSE = 0.05
"""Background begins so far outside the box, as a share of its sides: boxes are drawn by hand."""
SEED_RADIUS = 2
SMALL_BOX, SMALL_SEED_RADIUS = 24, 1
"""In boxes with a side shorter than this, in pixels, seeds of clicks are smaller."""
MOST_VOXELS = 1_500_000
"""Larger parts are halved along the axes with the smallest spacing."""
MARGIN = 4
"""Voxels added around a click outside the part that was looked at."""
Mask = NDArray[np.bool_]
Solve = Callable[[NDArray[np.float32], NDArray[np.uint8], tuple[float, ...]], Mask]
"""From an image (K, J, I) of 0 to 1, seeds (0 none, 1 object, 2 background) and the spacing along (k, j, i) to the object."""


class Seeds:
    """A classical tool that takes prompts as seeds."""

    def __init__(self, image: Volume, solve: Solve) -> None:
        self.image, self.solve = image, solve
        self.seeds = np.zeros(image.shape, np.uint8)
        self.answer = np.zeros(image.shape, bool)
        self.low, self.high = np.array(image.shape), np.zeros(3, int)
        self.axis = 0
        self.seed_radius = SEED_RADIUS

    def add_box(self, object_id: int, axis: str, index: int, box: Sequence[float]) -> None:
        """See `Segmenter`."""
        self.axis = Axis(axis).array_axis
        r0, c0, r1, c1 = (round(v) for v in box)
        seeds = np.moveaxis(self.seeds, self.axis, 0)
        rows, cols = (math.ceil(LOOSE * (last - first + 1)) for first, last in ((r0, r1), (c0, c1)))
        seeds[:] = 2
        seeds[:, max(0, r0 - rows) : r1 + rows + 1, max(0, c0 - cols) : c1 + cols + 1] = 0
        height, width = (r1 - r0) // 3, (c1 - c0) // 3
        seeds[index, r0 + height : r1 - height + 1, c0 + width : c1 - width + 1] = 1
        spacing = self.image.spacing_mm[::-1]
        rows_mm, cols_mm = (spacing[a] for a in range(3) if a != self.axis)
        longer_mm = max((r1 - r0 + 1) * rows_mm, (c1 - c0 + 1) * cols_mm)
        self.seed_radius = SMALL_SEED_RADIUS if min(r1 - r0, c1 - c0) < SMALL_BOX else SEED_RADIUS
        around = self._place(longer_mm / spacing[self.axis], longer_mm / 2 / rows_mm, longer_mm / 2 / cols_mm)
        self._set_visible_plane(self._place(index, r0, c0) - around, self._place(index, r1, c1) + around)

    def add_point(
        self, object_id: int, axis: str, index: int, point: Sequence[float], *, positive: bool = True
    ) -> None:
        """See `Segmenter`."""
        place = self._place(index, *point)
        ball = tuple(slice(max(0, int(c) - self.seed_radius), int(c) + self.seed_radius + 1) for c in place)
        self.seeds[ball] = 1 if positive else 2
        self._set_visible_plane(place - MARGIN, place + MARGIN)

    def propagate(self, object_id: int) -> Iterator[None]:
        """Solves anew."""
        part = tuple(slice(a, b + 1) for a, b in zip(self.low, self.high, strict=True))
        seeds = self.seeds[part].copy()
        ends = np.moveaxis(seeds, self.axis, 0)
        if self.low[self.axis] > 0:
            ends[0][ends[0] == 0] = 2
        if self.high[self.axis] < self.image.shape[self.axis] - 1:
            ends[-1][ends[-1] == 0] = 2
        spacing, steps = np.array(self.image.spacing_mm[::-1]), np.ones(3, int)
        while seeds.size / np.prod(steps) > MOST_VOXELS:
            finest = (spacing * steps) < 1.5 * (spacing * steps).min()
            steps[finest] *= 2
        voxels = self.image.voxels[part].astype(np.float32)
        low, high = np.percentile(voxels, (1, 99))
        voxels = np.clip((voxels - low) / max(high - low, 1e-6), 0, 1)
        every = tuple(slice(None, None, int(step)) for step in steps)
        coarse = seeds[every].copy()
        coarse[tuple((np.argwhere(seeds == 1) // steps).T)] = 1  # also those on slices that are left out
        solved = self.solve(voxels[every], coarse, tuple((spacing * steps).tolist()))
        for axis, step in enumerate(steps):
            solved = solved.repeat(int(step), axis)
        self.answer = np.zeros(self.image.shape, bool)
        self.answer[part] = solved[tuple(slice(n) for n in seeds.shape)]
        return iter(())

    def mask(self, object_id: int) -> Mask:
        """See `Segmenter`."""
        return self.answer

    def _place(self, index: float, row: float, col: float) -> NDArray[np.float64]:
        """(k, j, i) of a pixel."""
        place = [row, col]
        place.insert(self.axis, index)
        return np.array(place)

    def _set_visible_plane(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Looks at least at the voxels between two places, ends included."""
        self.low = np.maximum(0, np.minimum(self.low, np.floor(low).astype(int)))
        self.high = np.minimum(np.array(self.image.shape) - 1, np.maximum(self.high, np.ceil(high).astype(int)))


def random_walker(image: NDArray[np.float32], seeds: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> Mask:
    """Grady 2006, as in scikit-image."""
    from skimage.segmentation import random_walker as walk

    if not (seeds == 0).any():
        return np.asarray(seeds == 1)
    spacing = np.array(spacing_mm) / min(spacing_mm)
    with warnings.catch_warnings(action="ignore"):
        labels = walk(image, seeds.astype(np.int32), beta=2000, mode="cg_j", tol=1e-3, spacing=spacing)
    return np.asarray(labels == 1)


def growcut_is_there() -> bool:
    """Slicer's own implementation comes with the package slicer-core."""
    try:
        from slicer import vtkImageGrowCutSegment  # noqa: F401
    except ImportError:
        return False
    return True


def growcut(image: NDArray[np.float32], seeds: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> Mask:
    """Zhu et al. 2014, as in 3D Slicer's Grow from Seeds."""
    from slicer import vtkImageGrowCutSegment
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData

    def as_image(array: NDArray[np.generic]) -> vtkImageData:
        one = vtkImageData()
        one.SetDimensions(*array.shape[::-1])
        one.SetSpacing(*spacing_mm[::-1])
        one.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
        return one

    grow = vtkImageGrowCutSegment()
    grow.SetIntensityVolume(as_image((image * 1000).astype(np.int16)))
    grow.SetSeedLabelVolume(as_image(seeds.astype(np.int16)))
    grow.Update()
    return vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars()).reshape(image.shape) == 1
