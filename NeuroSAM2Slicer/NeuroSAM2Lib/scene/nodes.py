"""Nodes that come and go: many at once, and with what belongs to them."""

from collections.abc import Iterator
from contextlib import contextmanager

import slicer


@contextmanager
def batch_of_changes(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Puts the scene into its batch processing state meanwhile: views and lists of nodes look at it when all changes are made."""
    scene.StartState(scene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(scene.BatchProcessState)


def remove_node(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Removes a node with its storage nodes and the display nodes that no other node is shown by; the scene would keep them."""
    storage, displays = [], []
    if node.IsA("vtkMRMLStorableNode"):
        storage = [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    if node.IsA("vtkMRMLDisplayableNode"):
        displays = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    scene.RemoveNode(node)
    for one in (*storage, *(one for one in displays if one is not None and one.GetDisplayableNode() is None)):
        if one is not None and scene.IsNodePresent(one):
            scene.RemoveNode(one)
