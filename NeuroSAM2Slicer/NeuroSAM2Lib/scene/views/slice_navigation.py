"""The visible slice of a view, and jumps to another slice."""

from collections.abc import Iterator

import numpy as np
import slicer

from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.views.slice_views import TOLERANCE_DEG, best_axis, shown_slice


def slice_nodes(scene: slicer.vtkMRMLScene) -> Iterator[slicer.vtkMRMLSliceNode]:
    """The slice views of the layout, or all if none is in it."""
    found = scene.GetNodesByClass("vtkMRMLSliceNode")
    nodes = [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]
    yield from [node for node in nodes if node.IsMappedInLayout()] or nodes


def visible_plane(scene: slicer.vtkMRMLScene, volume: Volume, axis: Axis | None) -> SlicePlane:
    """The slice along an axis that the first view along it shows; the middle one where no view is along it.

    Args:
        scene: Holds the views.
        volume: In the world.
        axis: The axis; the one that the volume was acquired along if None.
    """
    wanted = axis or best_axis(volume)
    for node in slice_nodes(scene):
        shown = shown_slice(volume, node).plane
        if shown.axis == wanted:
            return shown
    return SlicePlane(wanted, volume.shape[wanted.array_axis] // 2)


def jump_to_slice(scene: slicer.vtkMRMLScene, volume: Volume, plane: SlicePlane) -> None:
    """Moves the views along the slice's axis to it; the others stay where they are.

    A view that is turned away from the slice is also centred on it: only there does it show that very slice.
    """
    middle = (np.array(volume.shape[::-1], float) - 1) / 2
    middle["ijk".index(plane.axis)] = plane.index
    ras = volume.to_ras(middle)
    for node in slice_nodes(scene):
        shown = shown_slice(volume, node)
        if shown.plane.axis != plane.axis:
            continue
        if shown.angle_deg > TOLERANCE_DEG:
            node.JumpSliceByCentering(*map(float, ras))
        else:
            node.JumpSliceByOffsetting(*map(float, ras))
