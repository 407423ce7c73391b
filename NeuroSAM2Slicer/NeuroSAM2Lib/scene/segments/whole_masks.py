"""Whole segments on the grid of a volume, for measuring."""

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.measures import ObjectMask, Steps
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.segments.layers import Grid, Layer, is_same_grid, sample

SLICES_AT_ONCE = 8


def reading_mask(
    segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, volume: Volume
) -> Steps[ObjectMask]:
    """A copy of a segment on a volume's own grid, in short steps; voxels outside the volume are left out.

    Raises:
        DataError: The segment is gone, or is not stored as a labelmap.
    """
    layer = Layer(segmentation_node, segment_id)
    if layer.is_empty:
        return ObjectMask(np.zeros((0, 0, 0), bool))
    k, j, i = volume.shape
    grid, image = layer.grid, Grid(volume.ijk_to_ras, (0, i - 1, 0, j - 1, 0, k - 1))
    if is_same_grid(grid, image):
        a, b, c, d, e, f = grid.extent
        first, last = (max(e, 0), max(c, 0), max(a, 0)), (min(f, k - 1), min(d, j - 1), min(b, i - 1))
        if any(low > high for low, high in zip(first, last, strict=True)):
            return ObjectMask(np.zeros((0, 0, 0), bool))
        block = layer.block((first[2], last[2], first[1], last[1], first[0], last[0]))
        return (yield from _cutting_out(block, layer.label, first))
    labels, whole = layer.voxels.copy(), np.zeros(volume.shape, bool)
    for index in range(k):
        whole[index] = sample(labels, grid, image, SlicePlane(Axis.K, index)) == layer.label
        if index % SLICES_AT_ONCE == 0:
            yield
    return ObjectMask.of(whole)


def _cutting_out(labels: NDArray[Any], label: int, first: tuple[int, int, int]) -> Steps[ObjectMask]:
    """A copy of the voxels with a label, as far as they reach, in short steps.

    Args:
        labels: (K, J, I).
        label: Theirs.
        first: Where the labels begin in the volume, (k, j, i).
    """
    mask = np.empty(labels.shape, bool)
    found = [np.zeros(size, bool) for size in labels.shape]
    for start in range(0, len(labels), SLICES_AT_ONCE):
        part = slice(start, start + SLICES_AT_ONCE)
        np.equal(labels[part], label, out=mask[part])
        rows = np.any(mask[part], axis=2)
        found[0][part] = np.any(rows, axis=1)
        found[1] |= np.any(rows, axis=0)
        found[2] |= np.any(mask[part], axis=(0, 1))
        yield
    if not found[0].any():
        return ObjectMask(np.zeros((0, 0, 0), bool))
    ends = [np.flatnonzero(one)[[0, -1]].tolist() for one in found]
    k, j, i = (start + low for start, (low, _high) in zip(first, ends, strict=True))
    box = tuple(slice(low, high + 1) for low, high in ends)
    if mask[box].shape == mask.shape:
        return ObjectMask(mask, (k, j, i))
    copy = np.empty(mask[box].shape, bool)
    for start in range(0, len(copy), SLICES_AT_ONCE):
        copy[start : start + SLICES_AT_ONCE] = mask[box][start : start + SLICES_AT_ONCE]
        yield
    return ObjectMask(copy, (k, j, i))
