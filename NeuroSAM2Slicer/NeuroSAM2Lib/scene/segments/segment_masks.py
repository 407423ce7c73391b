"""Whole masks of segments: copied, put together, and taken from each other, in whatever labelmaps they are stored."""

from typing import TypeAlias

import slicer

from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.segments.layers import Layer

Mask: TypeAlias = slicer.vtkOrientedImageData
"""The voxels of one segment, 1 inside and 0 outside."""


def read_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Mask | None:
    """A copy of a segment's voxels; None where it has none.

    Raises:
        DataError: The segment is not stored as a labelmap.
    """
    if Layer(segmentation_node, segment_id).is_empty:
        return None
    mask = slicer.vtkOrientedImageData()
    is_read = segmentation_node.GetBinaryLabelmapRepresentation(segment_id, mask)
    return mask if is_read and not mask.IsEmpty() else None


def add_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, mask: Mask) -> None:
    """Adds voxels to a segment; other segments keep theirs.

    Slicer's own merging writes the mask's values into a labelmap that segments share, as if they were the labels there; so the sum is
    made here.
    """
    before = read_mask(segmentation_node, segment_id)
    both = mask
    if before is not None:
        both, resample = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageDataResample
        resample.MergeImage(before, mask, both, resample.OPERATION_MAXIMUM)
    replace_mask(segmentation_node, segment_id, both)


def take_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, taken: Mask) -> None:
    """Takes voxels from a segment; other segments keep theirs."""
    mask = read_mask(segmentation_node, segment_id)
    if mask is None:
        return
    same_grid = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(taken, mask, same_grid)
    voxels_of(mask)[voxels_of(same_grid) != 0] = 0
    replace_mask(segmentation_node, segment_id, mask)


def replace_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, mask: Mask | None) -> None:
    """Makes a segment have these voxels, none if None; other segments keep theirs."""
    if mask is None:
        slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(segmentation_node, segment_id)
    else:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetBinaryLabelmapToSegment(mask, segmentation_node, segment_id, logic.MODE_REPLACE)
