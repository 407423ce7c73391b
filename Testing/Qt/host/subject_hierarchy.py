"""Subject hierarchy as the application keeps it: an item for every node that is not hidden, and an error for a segmentation without one.

Source: qSlicerSubjectHierarchyPluginLogic (onNodeAdded, onSceneImportEnded),
qSlicerSubjectHierarchySegmentationsPlugin::onSegmentModified.
"""

import slicer
import vtk

SEGMENT_EVENTS = ("SegmentAdded", "SegmentRemoved", "SegmentModified")
LISTED = ("vtkMRMLDisplayableNode", "vtkMRMLTransformNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode")


class SubjectHierarchy:
    """Of one scene.

    Args:
        scene: The scene.
        log: Gets what the application would write into its log as an error.
    """

    def __init__(self, scene, log):
        self.scene, self.log = scene, log
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        for event, act in ((scene.NodeAddedEvent, self._on_added), (scene.NodeAboutToBeRemovedEvent, self._on_removal)):
            self._hear(scene, event, act)
        scene.AddObserver(scene.EndImportEvent, lambda *_: self._on_imported())

    @property
    def node(self):
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    def _hear(self, scene, event, act):
        def hear(_scene, _event, node):
            act(node)

        hear.CallDataType = vtk.VTK_OBJECT
        scene.AddObserver(event, hear)

    def _on_added(self, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            for name in SEGMENT_EVENTS:
                node.AddObserver(getattr(slicer.vtkSegmentation, name), lambda one, _event: self._on_segment(one))
        if not node.GetHideFromEditors() and not self.scene.IsImporting() and any(map(node.IsA, LISTED)):
            self.node.CreateItem(self.node.GetSceneItemID(), node)

    def _on_imported(self):
        """Nodes of a scene that was saved without items, as ours without Slicer are, get theirs now."""
        nodes = [self.scene.GetNthNode(n) for n in range(self.scene.GetNumberOfNodes())]
        for node in nodes:
            is_listed = any(map(node.IsA, LISTED)) and not node.GetHideFromEditors()
            if is_listed and not self.node.GetItemByDataNode(node):
                self.node.CreateItem(self.node.GetSceneItemID(), node)

    def _on_removal(self, node):
        if not self.scene.IsClosing() and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            item = self.node.GetItemByDataNode(node)
            if item:
                self.node.RemoveItem(item, False, False)

    def _on_segment(self, node):
        if node.GetScene() is self.scene and not self.scene.IsImporting() and not self.node.GetItemByDataNode(node):
            self.log.append(f"Unable to find subject hierarchy item for segmentation node {node.GetName()}")
