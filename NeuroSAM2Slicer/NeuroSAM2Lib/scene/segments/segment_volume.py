"""The volume of a segment, mL."""

import numpy as np
import slicer

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Lib.scene.segments.layers import Layer

MM3_PER_ML = 1000.0


def volume_ml(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> float | None:
    """The volume of a segment in the world, parent transforms included; None where it is not stored as a labelmap."""
    try:
        layer = Layer(segmentation_node, segment_id)
    except DataError:
        return None
    if layer.is_empty:
        return 0.0
    voxel_mm3 = abs(float(np.linalg.det(layer.grid.ijk_to_ras[:3, :3])))
    return int(np.count_nonzero(layer.voxels == layer.label)) * voxel_mm3 / MM3_PER_ML
