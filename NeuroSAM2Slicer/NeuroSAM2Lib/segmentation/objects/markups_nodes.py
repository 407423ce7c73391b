"""Prompts as Markups nodes: clicks as a list of control points, a box as a flat ROI, a scribble or lasso as a curve.

Clicks as a list of control points. Their order among all clicks of an object is the number in each point's description.
A box on a slice as a flat ROI node: its sides run along the rows and columns of the slice, around the outermost pixels.
A path on a slice as a curve node: open for a scribble, closed for a lasso. It is locked, so that no hand moves it by mistake.
"""

from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.prompts.object_prompts import SliceBox, SlicePoint, rounded_box, rounded_point
from NeuroSAM2Core.prompts.prompts import DECIMALS, Path
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.arrays import Matrix, to_matrix, to_vtk
from NeuroSAM2Lib.scene.views.slice_views import nearest_index
from NeuroSAM2Lib.scene.volume_nodes import transform_to_world


@dataclass(frozen=True, slots=True)
class ListedPoint:
    """A click that is in a list."""

    number: int
    """Of the control point in its list."""
    order: tuple[int, int]
    """Among all clicks of the object; those placed by hand, without a number yet, come last."""
    placed: SlicePoint


def read_points(node: slicer.vtkMRMLMarkupsNode, axis: Axis, volume: Volume, *, positive: bool) -> list[ListedPoint]:
    """The defined control points inside the volume, each as a click on the slice of the axis that is nearest to it."""
    defined = _defined(node)
    if not defined:
        return []
    ijk = volume.to_ijk(_world(node, defined))
    is_inside = ((ijk >= -0.5) & (ijk < np.array(volume.shape[::-1]) - 0.5)).all(axis=1)
    across = "ijk".index(axis)
    found = []
    for number, place in zip(np.array(defined)[is_inside].tolist(), ijk[is_inside].tolist(), strict=True):
        index = nearest_index(place[across])
        point = rounded_point(*SlicePlane(axis, index).to_pixel(*place), positive=positive)
        numbered = parse_count(node.GetNthControlPointDescription(number))
        order = (1, number) if numbered is None else (0, numbered)
        found.append(ListedPoint(number, order, SlicePoint(index, point)))
    return found


def take_new_points(node: slicer.vtkMRMLMarkupsNode) -> list[Matrix]:
    """Takes the points that were just placed, and have no number yet, out of a list: their world positions, (3,) in mm."""
    new = [number for number in _defined(node) if parse_count(node.GetNthControlPointDescription(number)) is None]
    places = list(_world(node, new))
    for number in reversed(new):
        node.RemoveNthControlPoint(number)
    return places


def point_state(node: slicer.vtkMRMLMarkupsNode) -> tuple[object, ...]:
    """Positions, states and numbers of a list's control points; the node's own modification time does not follow them."""
    return tuple(
        (
            node.GetNthControlPointPosition(number),
            node.GetNthControlPointPositionStatus(number),
            node.GetNthControlPointDescription(number),
        )
        for number in range(node.GetNumberOfControlPoints())
    )


def write_points(
    node: slicer.vtkMRMLMarkupsNode,
    wanted: list[tuple[int, SlicePoint]],
    axis: Axis,
    volume: Volume,
    *,
    positive: bool,
) -> None:
    """Makes a list hold these clicks and their numbers, touching as little as possible; points outside the volume stay."""
    there = read_points(node, axis, volume, positive=positive)
    same = 0
    while same < min(len(there), len(wanted)) and there[same].placed == wanted[same][1]:
        same += 1
    for listed in reversed(there[same:]):
        node.RemoveNthControlPoint(listed.number)
    for listed, (wanted_order, placed) in zip(there[:same], wanted[:same], strict=True):
        if listed.order != (0, wanted_order):
            node.SetNthControlPointDescription(listed.number, str(wanted_order))
            node.SetNthControlPointPositionWorld(listed.number, *_place(placed, axis, volume))
    for wanted_order, placed in wanted[same:]:
        number = node.AddControlPointWorld(*_place(placed, axis, volume))
        node.SetNthControlPointDescription(number, str(wanted_order))


def _defined(node: slicer.vtkMRMLMarkupsNode) -> list[int]:
    """The control points that have a place, other than those that place mode shows under the pointer."""
    return [
        number
        for number in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined
    ]


def _world(node: slicer.vtkMRMLMarkupsNode, numbers: list[int]) -> Matrix:
    """The world positions of control points, (N, 3) in mm."""
    places = np.zeros((len(numbers), 3))
    for place, number in zip(places, numbers, strict=True):
        node.GetNthControlPointPositionWorld(number, place)
    return places


def _place(placed: SlicePoint, axis: Axis, volume: Volume) -> tuple[float, float, float]:
    x, y, z = volume.to_ras(np.array(SlicePlane(axis, placed.index).to_ijk(placed.point.row, placed.point.col)))
    return float(x), float(y), float(z)


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


def place_path(node: slicer.vtkMRMLMarkupsCurveNode, path: Path, plane: SlicePlane, volume: Volume) -> None:
    """Makes a curve run along a path on a slice; the node must be under the volume's parent transform."""
    places = vtk.vtkPoints()
    places.SetDataTypeToDouble()
    for row, col in path:
        places.InsertNextPoint(*volume.to_ras(np.array(plane.to_ijk(row, col))))
    node.SetCurveTypeToLinear()
    node.SetControlPointPositionsWorld(places)
    for number in range(node.GetNumberOfControlPoints()):  # they would look like clicks
        node.SetNthControlPointVisibility(number, False)
    node.SetLocked(True)


def read_path(node: slicer.vtkMRMLMarkupsCurveNode, axis: Axis, volume: Volume) -> tuple[SlicePlane, Path]:
    """The slice nearest to a curve, and its path there; an empty one where it has no points."""
    places = vtk.vtkPoints()
    node.GetControlPointPositionsWorld(places)
    if not places.GetNumberOfPoints():
        return SlicePlane(axis, 0), ()
    ras = np.array([places.GetPoint(number) for number in range(places.GetNumberOfPoints())])
    ijk = volume.to_ijk(ras)
    plane = SlicePlane(axis, nearest_index(round(float(ijk[:, "ijk".index(axis)].mean()), DECIMALS)))
    pixels = (plane.to_pixel(*place) for place in ijk.tolist())
    return plane, tuple((round(row, DECIMALS) + 0.0, round(col, DECIMALS) + 0.0) for row, col in pixels)
