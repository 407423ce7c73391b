"""A box on a slice as a flat ROI node: its sides run along the rows and columns of the slice, around the outermost pixels."""

import numpy as np
import slicer

from NeuroSAM2Core.prompts.object_prompts import SliceBox, rounded_box
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.arrays import to_matrix, to_vtk
from NeuroSAM2Lib.scene.views.slice_views import nearest_index
from NeuroSAM2Lib.scene.volume_nodes import transform_to_world

HALF = 0.5
"""From a pixel's centre to its border, in pixels."""


def place_box(node: slicer.vtkMRMLMarkupsROINode, placed: SliceBox, axis: Axis, volume: Volume) -> None:
    """Puts a ROI around a box; the node must be under the volume's parent transform."""
    box, plane = placed.box, SlicePlane(axis, placed.index)
    low = np.array(plane.to_ijk(box.row0 - HALF, box.col0 - HALF))
    high = np.array(plane.to_ijk(box.row1 + HALF, box.col1 + HALF))
    high["ijk".index(axis)] += HALF
    low["ijk".index(axis)] -= HALF
    to_local = np.linalg.inv(transform_to_world(node)) @ volume.ijk_to_ras
    lengths = np.linalg.norm(to_local[:3, :3], axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = to_local[:3, :3] / lengths
    matrix[:3, 3] = to_local[:3, :3] @ ((low + high) / 2) + to_local[:3, 3]
    node.SetAndObserveObjectToNodeMatrix(to_vtk(matrix))
    node.SetSize(*((high - low) * lengths).tolist())
    for number in range(node.GetNumberOfControlPoints()):  # its middle, which would look like a click
        node.SetNthControlPointVisibility(number, False)


def read_box(node: slicer.vtkMRMLMarkupsROINode, axis: Axis, volume: Volume) -> SliceBox:
    """The box that a ROI draws on the slice nearest to its middle; around a turned ROI, the smallest that holds it."""
    to_world = transform_to_world(node) @ to_matrix(node.GetObjectToNodeMatrix())
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    corners = signs * np.array(node.GetSize()) / 2
    ijk = volume.to_ijk(corners @ to_world[:3, :3].T + to_world[:3, 3])
    across = "ijk".index(axis)
    plane = SlicePlane(axis, nearest_index(round(float(ijk[:, across].mean()), 3)))
    (row0, col0), (row1, col1) = (plane.to_pixel(*map(float, end)) for end in (ijk.min(axis=0), ijk.max(axis=0)))
    rows, cols = _shrunk(row0, row1), _shrunk(col0, col1)
    return SliceBox(plane.index, rounded_box(rows[0], cols[0], rows[1], cols[1]))


def _shrunk(low: float, high: float) -> tuple[float, float]:
    """From borders to the centres of the outermost pixels; the middle of a box thinner than a pixel."""
    return (low + HALF, high - HALF) if high - low >= 1 else ((low + high) / 2, (low + high) / 2)
