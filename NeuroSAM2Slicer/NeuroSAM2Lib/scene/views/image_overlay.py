"""A second image over the first one in slice views, and the outlines and prompts that belong to other images."""

from collections.abc import Iterator

import slicer

from NeuroSAM2Lib.scene.views.slice_navigation import slice_nodes

PROMPT_VOLUME, PROMPT_SEGMENTATION = "NeuroSAM2.volume", "NeuroSAM2.segmentation"
"""The references of a prompt node to its image and segmentation; see `PromptNodes`."""


class ImageOverlay:
    """The second image of all slice views of a scene.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene

    @property
    def node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The image; None if there is none."""
        composite = next(self._composites(), None)
        return None if composite is None else self._scene.GetNodeByID(composite.GetForegroundVolumeID() or "")

    @property
    def opacity(self) -> float:
        """0 to 1."""
        composite = next(self._composites(), None)
        return 0.0 if composite is None else float(composite.GetForegroundOpacity())

    def show(self, node: slicer.vtkMRMLScalarVolumeNode | None, opacity: float) -> None:
        """Shows an image over the first one, or none."""
        for composite in self._composites():
            was_modifying = composite.StartModify()
            composite.SetForegroundVolumeID(None if node is None else node.GetID())
            composite.SetForegroundOpacity(0.0 if node is None else min(1.0, max(0.0, opacity)))
            composite.EndModify(was_modifying)

    def _composites(self) -> Iterator[slicer.vtkMRMLSliceCompositeNode]:
        for view in slice_nodes(self._scene):
            composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view)
            if composite is not None:
                yield composite


def show_only_what_belongs(
    scene: slicer.vtkMRMLScene,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode | None,
) -> None:
    """Hides the segments and prompts of other images and segmentations, and shows those of these again.

    Args:
        scene: The scene.
        volume_node: The chosen image.
        segmentation_node: The chosen segmentation.
    """
    for node in _nodes(scene, "vtkMRMLSegmentationNode"):
        if not node.GetHideFromEditors() and (display := node.GetDisplayNode()) is not None:
            display.SetVisibility2D(node is segmentation_node)
            display.SetVisibility3D(node is segmentation_node)
    chosen = volume_node.GetID(), None if segmentation_node is None else segmentation_node.GetID()
    for node in _nodes(scene, "vtkMRMLMarkupsNode"):
        owners = node.GetNodeReferenceID(PROMPT_VOLUME), node.GetNodeReferenceID(PROMPT_SEGMENTATION)
        if (display := node.GetDisplayNode()) is not None and any(owners):
            display.SetVisibility2D(owners == chosen)


def _nodes(scene: slicer.vtkMRMLScene, kind: str) -> Iterator[slicer.vtkMRMLDisplayableNode]:
    found = scene.GetNodesByClass(kind)
    for number in range(found.GetNumberOfItems()):
        yield found.GetItemAsObject(number)
