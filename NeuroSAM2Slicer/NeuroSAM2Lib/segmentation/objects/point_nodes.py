"""Clicks as a list of control points. Their order among all clicks of an object is the number in each point's description."""

from dataclasses import dataclass

import numpy as np
import slicer

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.prompts.object_prompts import SlicePoint, rounded_point
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import nearest_index


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
