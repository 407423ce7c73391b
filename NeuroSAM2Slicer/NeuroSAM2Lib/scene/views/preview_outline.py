"""A preview outline in the slice views that is no segment: not listed, not saved, not edited.

It is a segmentation node of its own, so that every view that shows segmentations shows it, at the right place of any volume.
"""

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.volume import SlicePlane, Volume
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk
from NeuroSAM2Lib.scene.segments.layers import LABELMAP
from NeuroSAM2Lib.scene.segments.slice_grid import Grid, slab

NAME, SEGMENT = "NeuroSAM2 preview", "preview"
COLOUR = (1.0, 0.2, 0.85)
FADED = 0.35
LINE_PX = 2
"""Empty, where masks are filled, and in a colour that is seen on black and on white and that neither prompts nor tissues have."""


class PreviewOutline:
    """One outline on one slice at a time.

    Args:
        scene: Whose views show it.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self._node: slicer.vtkMRMLSegmentationNode | None = None

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The node, while it is in the scene."""
        return self._node if self._node is not None and self.scene.IsNodePresent(self._node) else None

    @property
    def is_shown(self) -> bool:
        """There is something to see."""
        return self.node is not None

    def show(self, volume: Volume, plane: SlicePlane, mask: NDArray[np.bool_]) -> None:
        """Shows the outline of a mask.

        Args:
            volume: The image in the world.
            plane: A slice of it.
            mask: (H, W).
        """
        node = self.node or self._add()
        k, j, i = volume.shape
        extent = slab(Grid(volume.ijk_to_ras, (0, i - 1, 0, j - 1, 0, k - 1)), plane)
        a, b, c, d, e, f = extent
        image = slicer.vtkOrientedImageData()
        image.SetImageToWorldMatrix(to_vtk(volume.ijk_to_ras))
        set_voxels(image, mask.astype(np.uint8).reshape(f - e + 1, d - c + 1, b - a + 1), (a, c, e))
        node.GetSegmentation().GetSegment(SEGMENT).AddRepresentation(LABELMAP, image)
        self._set_opacity(1.0)
        node.Modified()

    def fade(self) -> None:
        """Marks the outline as one of a place that the pointer has left."""
        self._set_opacity(FADED)

    @property
    def is_faded(self) -> bool:
        """The outline is marked as out of date."""
        node = self.node
        return node is not None and node.GetDisplayNode().GetOpacity2DOutline() < 1.0

    def hide(self) -> None:
        """Shows nothing, and leaves nothing in the scene, which may be saved at any time."""
        node, hierarchy = self.node, self._hierarchy
        self._node = None
        if node is None:
            return
        if hierarchy is not None and (item := hierarchy.GetItemByDataNode(node)):
            hierarchy.RemoveItem(item, False, False)
        display = node.GetDisplayNode()
        self.scene.RemoveNode(node)
        self.scene.RemoveNode(display)

    def _set_opacity(self, opacity: float) -> None:
        node = self.node
        if node is not None and node.GetDisplayNode().GetOpacity2DOutline() != opacity:
            node.GetDisplayNode().SetOpacity2DOutline(opacity)

    @property
    def _hierarchy(self) -> slicer.vtkMRMLSubjectHierarchyNode | None:
        return self.scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")

    def _add(self) -> slicer.vtkMRMLSegmentationNode:
        node = self.scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        node.UnRegister(None)
        node.SetName(NAME)
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        node.SetSelectable(False)
        self.scene.AddNode(node)
        hierarchy = self._hierarchy
        if (
            hierarchy is not None
        ):  # hidden nodes get no item of their own, and Slicer looks for the one of every segmentation
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        node.CreateDefaultDisplayNodes()
        segment = slicer.vtkSegment()
        segment.SetName(SEGMENT)
        segment.SetColor(*COLOUR)
        segment.AddRepresentation(LABELMAP, slicer.vtkOrientedImageData())
        node.GetSegmentation().SetSourceRepresentationName(LABELMAP)
        node.GetSegmentation().AddSegment(segment, SEGMENT)
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility3D(False)
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetSliceIntersectionThickness(LINE_PX)
        self._node = node
        return node
