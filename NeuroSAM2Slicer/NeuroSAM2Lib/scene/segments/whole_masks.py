"""Whole segments on the grid of a volume, for measuring."""

import numpy as np
import slicer

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
        return ObjectMask.of(block == layer.label, first)
    labels, whole = layer.voxels.copy(), np.zeros(volume.shape, bool)
    for index in range(k):
        whole[index] = sample(labels, grid, image, SlicePlane(Axis.K, index)) == layer.label
        if index % SLICES_AT_ONCE == 0:
            yield
    return ObjectMask.of(whole)
