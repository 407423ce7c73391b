"""The labelmaps behind a segmentation: which image a segment lives in, the part of it that is in use, and how they grow.

Several segments may share one labelmap (a layer), each with its own label; a labelmap covers only the part of the reference
geometry that was ever painted. Everything is read afresh each time, because undo and other tools replace these images.
"""

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import set_voxels, to_matrix, voxels_of
from NeuroSAM2Lib.scene.segments.slice_grid import Extent, Grid
from NeuroSAM2Lib.scene.volume_nodes import transform_to_world

LABELMAP = "Binary labelmap"
GEOMETRY = "Reference image geometry"
MARGIN = 16
"""Voxels by which a labelmap grows beyond what is needed, so that it need not grow for every slice."""


def label_values(segmentation_node: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """What each segment is in a label map of all, by its id: 1 for the first, and so on."""
    ids = segmentation_node.GetSegmentation().GetSegmentIDs()
    return {segment_id: number for number, segment_id in enumerate(ids, start=1)}


class Layer:
    """The labelmap that holds a segment.

    Raises:
        DataError: The segment is not stored as a labelmap.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        self.segmentation = segmentation_node.GetSegmentation()
        segment = self.segmentation.GetSegment(segment_id)
        image = None if segment is None else segment.GetRepresentation(LABELMAP)
        if image is None or self.segmentation.GetSourceRepresentationName() != LABELMAP:
            raise DataError(
                _("the segment {name} is not stored as a labelmap").format(
                    name=segment_id if segment is None else segment.GetName()
                ),
                hint=_("make the binary labelmap the source representation in the Segmentations module"),
            )
        self.segmentation_node, self.image, self.label = segmentation_node, image, segment.GetLabelValue()
        self.segment_id = segment_id

    @property
    def is_empty(self) -> bool:
        """Nothing was ever painted in it."""
        return bool(self.image.IsEmpty())

    @property
    def grid(self) -> Grid:
        """The part in use, in the world."""
        matrix = vtk.vtkMatrix4x4()
        self.image.GetImageToWorldMatrix(matrix)
        return Grid(transform_to_world(self.segmentation_node) @ to_matrix(matrix), self.image.GetExtent())

    @property
    def voxels(self) -> NDArray[Any]:
        """The labels, (K, J, I) of the part in use; a view."""
        return np.zeros((0, 0, 0), np.uint8) if self.is_empty else voxels_of(self.image)

    def block(self, extent: Extent) -> NDArray[Any]:
        """The labels of a part, a view; it must be in use."""
        first = self.image.GetExtent()[::2]
        i, j, k = (slice(extent[2 * a] - first[a], extent[2 * a + 1] - first[a] + 1) for a in range(3))
        return self.voxels[k, j, i]

    def copy_of_block(self, extent: Extent) -> NDArray[Any]:
        """The labels of a part; 0 where nothing was painted yet."""
        shape = tuple(extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0))
        result = np.zeros(shape, self.voxels.dtype)
        if self.is_empty:
            return result
        there = self.image.GetExtent()
        common = [(max(extent[2 * a], there[2 * a]), min(extent[2 * a + 1], there[2 * a + 1])) for a in range(3)]
        if any(low > high for low, high in common):
            return result
        i, j, k = (slice(low - extent[2 * a], high - extent[2 * a] + 1) for a, (low, high) in enumerate(common))
        (a, b), (c, d), (e, f) = common
        result[k, j, i] = self.block((a, b, c, d, e, f))
        return result

    def reserve(self, extent: Extent, reference: Grid) -> None:
        """Grows the part in use until it holds an extent and can hold the segment's label."""
        there = self.image.GetExtent()
        dtype = self.voxels.dtype
        wide = np.promote_types(dtype, np.min_scalar_type(self.label))
        holds = not self.is_empty and all(
            there[2 * a] <= extent[2 * a] and extent[2 * a + 1] <= there[2 * a + 1] for a in range(3)
        )
        if holds and wide == dtype:
            return
        target = list(extent)
        for a in range(3):
            if not holds:
                target[2 * a] = min(extent[2 * a], max(extent[2 * a] - MARGIN, reference.extent[2 * a]))
                target[2 * a + 1] = max(extent[2 * a + 1], min(extent[2 * a + 1] + MARGIN, reference.extent[2 * a + 1]))
            if not self.is_empty:
                target[2 * a] = min(target[2 * a], there[2 * a])
                target[2 * a + 1] = max(target[2 * a + 1], there[2 * a + 1])
        if self.is_empty:
            self._take_reference_geometry()
        a, b, c, d, e, f = target
        grown = self.copy_of_block((a, b, c, d, e, f)).astype(wide, copy=False)
        set_voxels(self.image, grown, (a, c, e))

    def announce(self) -> None:
        """Tells the scene that the labels changed; not the image itself, or every surface would be thrown away."""
        self.image.GetPointData().GetScalars().Modified()
        self.segmentation.InvokeEvent(self.segmentation.SourceRepresentationModified, self.segment_id)
        self.segmentation.InvokeEvent(self.segmentation.RepresentationModified, self.segment_id)  # what views go by

    def _take_reference_geometry(self) -> None:
        matrix = vtk.vtkMatrix4x4()
        extent = [0] * 6
        if _read_geometry(self.segmentation, matrix, extent):
            self.image.SetImageToWorldMatrix(matrix)


def reference_grid(segmentation_node: slicer.vtkMRMLSegmentationNode) -> Grid | None:
    """The segmentation's reference geometry in the world; None where it has none yet."""
    matrix = vtk.vtkMatrix4x4()
    extent = [0] * 6
    if not _read_geometry(segmentation_node.GetSegmentation(), matrix, extent):
        return None
    a, b, c, d, e, f = extent
    return Grid(transform_to_world(segmentation_node) @ to_matrix(matrix), (a, b, c, d, e, f))


def layers_of(segmentation_node: slicer.vtkMRMLSegmentationNode) -> dict[str, Layer]:
    """The layers of all segments, by segment; those that share one have the same image."""
    return {name: Layer(segmentation_node, name) for name in segmentation_node.GetSegmentation().GetSegmentIDs()}


def _read_geometry(segmentation: slicer.vtkSegmentation, matrix: vtk.vtkMatrix4x4, extent: list[int]) -> bool:
    text = segmentation.GetConversionParameter(GEOMETRY)
    return bool(text) and bool(slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, matrix, extent))
