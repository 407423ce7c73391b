"""What the segmentation panel shows again when a scene is opened: the chosen nodes and how propagation was asked for.

A script node of its own, one in a scene, saved with it.
"""

import slicer

from NeuroSAM2Core.volume import Direction

TAG = "NeuroSAM2Segment"
VOLUME, SEGMENTATION = "Volume", "Segmentation"
DIRECTION, FIRST, LAST = "Direction", "First", "Last"


class PanelMemory:
    """The node of a scene; made where it is not there yet.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        node = scene.GetSingletonNode(TAG, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(TAG)
            node.SetAttribute("ModuleName", TAG)
            node.SetName(TAG)
            node = scene.AddNode(node)
        self.node: slicer.vtkMRMLScriptedModuleNode = node

    @property
    def volume_node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The image."""
        return self.node.GetNodeReference(VOLUME)

    @property
    def segmentation_node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation."""
        return self.node.GetNodeReference(SEGMENTATION)

    def choose(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode | None,
        segmentation_node: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """These are chosen now."""
        for role, node in ((VOLUME, volume_node), (SEGMENTATION, segmentation_node)):
            self.node.SetNodeReferenceID(role, None if node is None else node.GetID())

    @property
    def direction(self) -> Direction:
        """Of propagation."""
        said = self.node.GetParameter(DIRECTION)
        return Direction(said) if said in {one.value for one in Direction} else Direction.BOTH

    @direction.setter
    def direction(self, direction: Direction) -> None:
        self.node.SetParameter(DIRECTION, direction.value)

    @property
    def slice_range(self) -> tuple[int, int] | None:
        """First and last slice of propagation; None for all."""
        first, last = self.node.GetParameter(FIRST), self.node.GetParameter(LAST)
        return (int(first), int(last)) if first.isdigit() and last.isdigit() else None

    @slice_range.setter
    def slice_range(self, slice_range: tuple[int, int] | None) -> None:
        first, last = ("", "") if slice_range is None else map(str, slice_range)
        self.node.SetParameter(FIRST, first)
        self.node.SetParameter(LAST, last)
