"""The Segment Editor's masking settings: the editable area, and which other segments may be overwritten.

Read from its parameter node, decided nowhere else.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Lib.scene.arrays import set_voxels, voxels_of
from NeuroSAM2Lib.scene.segments.layers import Layer
from NeuroSAM2Lib.scene.segments.slice_grid import GridSlice


class Overwrite(Enum):
    """Which other segments lose the voxels that a segment gains."""

    ALL = slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments
    VISIBLE = slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments
    NONE = slicer.vtkMRMLSegmentEditorNode.OverwriteNone


@dataclass(frozen=True, kw_only=True, slots=True)
class EditPolicy:
    """The editor's settings; as they are here where there is no editor: paint everywhere, other segments stay."""

    overwrite: Overwrite = Overwrite.NONE
    mask_mode: int = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    mask_segment_id: str = ""
    intensity_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, node: slicer.vtkMRMLSegmentEditorNode | None) -> "EditPolicy":
        """The settings of a parameter node."""
        if node is None:
            return cls()
        return cls(
            overwrite=Overwrite(node.GetOverwriteMode()),
            mask_mode=node.GetMaskMode(),
            mask_segment_id=node.GetMaskSegmentID() or "",
            intensity_range=tuple(node.GetSourceVolumeIntensityMaskRange())
            if node.GetSourceVolumeIntensityMask()
            else None,
        )

    def overwritable(self, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> set[str]:
        """The segments that may be overwritten."""
        if self.overwrite is Overwrite.NONE:
            return set()
        names = set(segmentation_node.GetSegmentation().GetSegmentIDs())
        display = segmentation_node.GetDisplayNode()
        if self.overwrite is Overwrite.VISIBLE and display is not None:
            names = {name for name in names if display.GetSegmentVisibility(name)}
        return names - {segment_id}

    def editable(self, layer: Layer, part: GridSlice, intensities: NDArray[Any] | None) -> NDArray[np.bool_] | None:
        """Where the block of a slice may be changed, (K, J, I); None for everywhere.

        Args:
            layer: Of the segment that is edited, large enough for the block.
            part: The slice.
            intensities: Of the image on the slice's pixels, (H, W), for the intensity range.
        """
        allowed = part.belongs
        if self.mask_mode != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
            segments = self._allowed_by_segments(layer, part)
            allowed = segments if allowed is None else allowed & segments
        if self.intensity_range is not None and intensities is not None:
            low, high = self.intensity_range
            bright = part.spread((intensities >= low) & (intensities <= high)).astype(bool)
            allowed = bright if allowed is None else allowed & bright
        return allowed

    def _allowed_by_segments(self, layer: Layer, part: GridSlice) -> NDArray[np.bool_]:
        """By the editor's own rule for its masking mode."""
        geometry, forbidden = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
        matrix = vtk.vtkMatrix4x4()
        layer.image.GetImageToWorldMatrix(matrix)
        geometry.SetImageToWorldMatrix(matrix)
        set_voxels(geometry, np.zeros(part.shape, np.uint8), part.extent[::2])
        is_made = layer.segmentation_node.GenerateEditMask(
            forbidden, self.mask_mode, geometry, layer.segment_id, self.mask_segment_id
        )
        if not is_made:
            return np.zeros(part.shape, bool)
        return np.asarray(voxels_of(forbidden) == 0)
