"""Prompts as Markups nodes: they are saved with the scene, shown by its views, moved by its tools, and come back with it.

Every object has a list of positive points (which also carries the object's axis, kept slices and chosen readings as attributes), a list
of negative ones, a flat ROI node per slice with a box, and a curve for each scribble (open) and lasso (closed). Each node refers to the
volume and the segmentation and names the object. The order of clicks, which matters to the model, is the number in a point's description.
Boxes run along the rows and columns of their slice, around the outermost pixels. Curves are locked, so that no hand moves them by
mistake. Nodes share the volume's parent transform, so that prompts move with the image.

Values by slice are kept as text that survives saving and loading. Storage may turn a left-handed grid around, and then the same slice has
another number: what is remembered is the axis, the numbers, and the matrix of the grid they were counted on; reading counts them anew on
the grid as it is now.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from NeuroSAM2Core.decoding import DecodingError, decoded, parse_count, parse_json
from NeuroSAM2Core.errors import DataError, PromptError
from NeuroSAM2Core.prompts import (
    ChosenReading,
    LassoPrompt,
    ObjectPrompts,
    ScribblePrompt,
    SliceBox,
    SliceLasso,
    SliceScribble,
)
from NeuroSAM2Core.prompts.object_prompts import SlicePoint, rounded_box, rounded_point
from NeuroSAM2Core.prompts.prompts import DECIMALS, Path
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix, to_matrix, to_vtk
from NeuroSAM2Lib.scene.nodes import remove_node
from NeuroSAM2Lib.scene.views.slice_views import nearest_index
from NeuroSAM2Lib.scene.volume_nodes import local_matrix, transform_to_world


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


@dataclass(frozen=True, slots=True)
class _Content:
    """What the text holds."""

    axis: Axis
    grid: tuple[float, ...]
    slices: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class StoredSlices:
    """Values by slice along one axis."""

    axis: Axis
    values: Mapping[int, tuple[float, ...]]
    """What is known of each slice, by its index."""

    def to_text(self, matrix: Matrix) -> str:
        """As JSON, counted on the grid of a matrix (4, 4)."""
        slices = {str(index): list(self.values[index]) for index in sorted(self.values)}
        return json.dumps({"axis": self.axis, "grid": matrix.ravel().tolist(), "slices": slices})

    @classmethod
    def from_text(cls, text: str, matrix: Matrix) -> "StoredSlices":
        """From JSON, counted on another grid of the same image.

        Raises:
            DataError: It is not what `to_text` writes.
        """
        try:
            content = decoded(_Content, parse_json(text), "")
            then = np.reshape(content.grid, (4, 4))
            number = "ijk".index(content.axis)
            with np.errstate(over="raise", invalid="raise"):
                change = np.linalg.inv(matrix) @ then
                now = int(np.abs(change[:3, number] * np.linalg.norm(matrix[:3, :3], axis=0)).argmax())
                moved = {
                    nearest_index(change[now, number] * _index(i) + change[now, 3]): known
                    for i, known in content.slices.items()
                }
        except (ValueError, ArithmeticError) as error:
            raise DataError(_("what the scene remembers of the slices of an object cannot be read")) from error
        return cls(list(Axis)[now], moved)


def _index(text: str) -> int:
    index = parse_count(text.removeprefix("-"))
    if index is None:
        raise DecodingError(text[:80])
    return -index if text.startswith("-") else index


OBJECT, ROLE, SLICES, READINGS = "NeuroSAM2.Object", "NeuroSAM2.Role", "NeuroSAM2.Slices", "NeuroSAM2.Readings"
READING_NUMBERS = range(1, 100)
"""More than any model gives; 0, the most likely one, is not chosen."""
VOLUME, SEGMENTATION = "NeuroSAM2.volume", "NeuroSAM2.segmentation"
ORDER = "NeuroSAM2.Order"
POSITIVE, NEGATIVE, BOX = "positive", "negative", "box"
SCRIBBLE, NEGATIVE_SCRIBBLE, LASSO = "scribble", "negative scribble", "lasso"
COLOURS = {
    POSITIVE: (0.1, 0.85, 0.3),
    NEGATIVE: (0.95, 0.2, 0.15),
    BOX: (1.0, 0.8, 0.1),
    SCRIBBLE: (0.1, 0.85, 0.3),
    NEGATIVE_SCRIBBLE: (0.95, 0.2, 0.15),
    LASSO: (1.0, 0.8, 0.1),
}
CLASSES = {
    POSITIVE: "vtkMRMLMarkupsFiducialNode",
    NEGATIVE: "vtkMRMLMarkupsFiducialNode",
    BOX: "vtkMRMLMarkupsROINode",
    SCRIBBLE: "vtkMRMLMarkupsCurveNode",
    NEGATIVE_SCRIBBLE: "vtkMRMLMarkupsCurveNode",
    LASSO: "vtkMRMLMarkupsClosedCurveNode",
}
Stroke = SliceScribble | SliceLasso


@dataclass(frozen=True, slots=True)
class _KnownPrompts:
    """What the nodes of an object said when they were read last."""

    volume: Volume
    states: tuple[object, ...]
    """Of the nodes then; see `_state`."""
    prompts: ObjectPrompts


class PromptNodes:
    """The prompt nodes of one segmentation.

    Args:
        scene: Where they live.
        volume_node: The image that is prompted.
        segmentation_node: What the objects are segments of.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        self.scene, self.volume_node, self.segmentation_node = scene, volume_node, segmentation_node
        self._nodes_by_object: defaultdict[int, list[slicer.vtkMRMLMarkupsNode]] = defaultdict(list)
        self._scene_nodes = scene.GetNodes()  # kept, because VTK takes as long to find it as to look at a hundred nodes
        self._scene_state: tuple[int, int] | None = None
        self._known: dict[int, _KnownPrompts] = {}

    def points_node(self, object_id: int, *, positive: bool) -> slicer.vtkMRMLMarkupsFiducialNode:
        """The list that clicks of one sign are placed in; made where it is not there yet."""
        role = POSITIVE if positive else NEGATIVE
        return next(self._nodes(object_id, role), None) or self._add(object_id, role, f"object {object_id} {role}")

    def all_nodes(self, object_id: int | None = None) -> list[slicer.vtkMRMLMarkupsNode]:
        """The nodes of an object, or of all."""
        return list(self._nodes(object_id))

    def object_of(self, node: slicer.vtkMRMLNode) -> int | None:
        """The object that a node speaks of; None if it is no prompt of this segmentation."""
        number = node.GetAttribute(OBJECT)
        if number is None or node.GetNodeReferenceID(SEGMENTATION) != self.segmentation_node.GetID():
            return None
        return parse_count(number)

    def read(self, object_id: int, volume: Volume) -> ObjectPrompts:
        """What the nodes say, as far as it lies in the volume; read anew only where one of them has changed.

        Points that were placed by hand and have no number yet come last.
        """
        states = (self.volume_node.GetMTime(), *(_state(node) for node in self._nodes(object_id)))
        known = self._known.get(object_id)
        if known is None or known.volume is not volume or known.states != states:
            known = _KnownPrompts(volume, states, self._read(object_id, volume))
            self._known[object_id] = known
        return known.prompts

    def _read(self, object_id: int, volume: Volume) -> ObjectPrompts:
        remembered = self._remembered(object_id)
        if remembered is None:
            return ObjectPrompts()
        axis = remembered.axis
        placed = [
            (listed.order, listed.placed)
            for node in self._nodes(object_id, POSITIVE, NEGATIVE)
            for listed in read_points(node, axis, volume, positive=node.GetAttribute(ROLE) == POSITIVE)
        ]
        placed.sort(key=lambda one: one[0])
        boxes = {}
        for node in self._nodes(object_id, BOX):
            box = read_box(node, axis, volume)
            boxes[box.index] = box
        strokes = [stroke for _, stroke in sorted(self._read_strokes(object_id, axis, volume), key=lambda one: one[0])]
        scribbles = tuple(one for one in strokes if isinstance(one, SliceScribble))
        lassos = tuple(one for one in strokes if isinstance(one, SliceLasso))
        prompts = ObjectPrompts(
            scribbles=scribbles,
            lassos=lassos,
            axis=axis,
            points=tuple(point for _, point in placed),
            boxes=tuple(boxes[index] for index in sorted(boxes)),
            kept=frozenset(remembered.values) - {p.index for _, p in placed} - set(boxes) - {s.index for s in strokes},
            readings=self._stored_readings(object_id),
        )
        return prompts.inside(volume)

    def write(self, object_id: int, prompts: ObjectPrompts, volume: Volume) -> None:
        """Makes the nodes say this; what they say already is left alone, and so is what lies outside the volume."""
        positive, negative = (self.points_node(object_id, positive=sign) for sign in (True, False))
        remembered = self._remembered(object_id)
        axis = prompts.axis or (None if remembered is None else remembered.axis)
        if axis is not None:
            for node, sign in ((positive, True), (negative, False)):
                wanted = [(n, p) for n, p in enumerate(prompts.points) if p.point.positive == sign]
                write_points(node, wanted, axis, volume, positive=sign)
            self._write_boxes(object_id, prompts.boxes, axis, volume)
            self._write_strokes(object_id, (*prompts.scribbles, *prompts.lassos), axis, volume)
        self._remember(positive, prompts)

    def remove(self, object_id: int) -> None:
        """Takes an object's nodes out of the scene."""
        for node in self.all_nodes(object_id):
            remove_node(self.scene, node)

    def follow_volume(self) -> None:
        """Puts the nodes and the segmentation under the volume's parent transform."""
        transform = self.volume_node.GetTransformNodeID()
        for node in (self.segmentation_node, *self._nodes(None)):
            if node.GetTransformNodeID() != transform:
                node.SetAndObserveTransformNodeID(transform)

    def keep_colours(self) -> None:
        """A prompt under the pointer keeps the colour that it has, also one of a scene of an earlier version."""
        for node in self._nodes(None):
            display = node.GetDisplayNode()
            if display is not None:
                display.SetActiveColor(*display.GetSelectedColor())

    def _nodes(self, object_id: int | None, *roles: str) -> Iterator[slicer.vtkMRMLMarkupsNode]:
        by_object = self._by_object()
        nodes = [node for some in by_object.values() for node in some] if object_id is None else by_object[object_id]
        for node in list(nodes):
            one = self.object_of(node)  # it may refer to another segmentation by now
            if one is not None and object_id in (None, one) and (not roles or node.GetAttribute(ROLE) in roles):
                yield node

    def _by_object(self) -> defaultdict[int, list[slicer.vtkMRMLMarkupsNode]]:
        """The nodes of every object; looked for again once nodes came or went."""
        state = self._scene_nodes.GetMTime(), self._scene_nodes.GetNumberOfItems()
        if state != self._scene_state:
            found = self.scene.GetNodesByClass("vtkMRMLMarkupsNode")
            by_object: defaultdict[int, list[slicer.vtkMRMLMarkupsNode]] = defaultdict(list)
            for number in range(found.GetNumberOfItems()):
                node = found.GetItemAsObject(number)
                if (one := self.object_of(node)) is not None:
                    by_object[one].append(node)
            self._nodes_by_object, self._scene_state = by_object, state
        return self._nodes_by_object

    def _remembered(self, object_id: int) -> StoredSlices | None:
        """The axis and the kept slices of an object."""
        for node in self._nodes(object_id, POSITIVE):
            if text := node.GetAttribute(SLICES):
                return StoredSlices.from_text(text, local_matrix(self.volume_node))
        return None

    def _stored_readings(self, object_id: int) -> frozenset[ChosenReading]:
        """The readings that were chosen; none in scenes of earlier versions."""
        for node in self._nodes(object_id, POSITIVE):
            if text := node.GetAttribute(READINGS):
                chosen = StoredSlices.from_text(text, local_matrix(self.volume_node)).values
                return frozenset(
                    ChosenReading(index, int(known[0]))
                    for index, known in chosen.items()
                    if len(known) == 1 and known[0] in READING_NUMBERS
                )
        return frozenset()

    def _remember(self, node: slicer.vtkMRMLMarkupsNode, prompts: ObjectPrompts) -> None:
        slices = readings = None
        if prompts.axis is not None:
            matrix = local_matrix(self.volume_node)
            slices = StoredSlices(prompts.axis, dict.fromkeys(prompts.kept, ())).to_text(matrix)
            if prompts.readings:
                chosen = {r.index: (float(r.reading),) for r in prompts.readings}
                readings = StoredSlices(prompts.axis, chosen).to_text(matrix)
        node.SetAttribute(SLICES, slices)
        node.SetAttribute(READINGS, readings)

    def _add(self, object_id: int, role: str, name: str) -> slicer.vtkMRMLMarkupsNode:
        node = self.scene.CreateNodeByClass(CLASSES[role])
        node.UnRegister(None)
        node.SetName(self._free_name(name))
        node.SetAttribute(OBJECT, str(object_id))
        node.SetAttribute(ROLE, role)
        node.AddNodeReferenceID(VOLUME, self.volume_node.GetID())
        node.AddNodeReferenceID(SEGMENTATION, self.segmentation_node.GetID())
        with self._placing_where_it_was():
            self.scene.AddNode(node)
        node.SetAndObserveTransformNodeID(self.volume_node.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.SetSelectedColor(*COLOURS[role])
            display.SetColor(*COLOURS[role])
            display.SetActiveColor(*COLOURS[role])
            display.SetPointLabelsVisibility(False)
            display.SetPropertiesLabelVisibility(False)
            if role == BOX:  # an outline: a filled box would hide the mask
                display.SetHandlesInteractive(False)
                display.SetFillVisibility(False)
        return node

    def _free_name(self, name: str) -> str:
        """The name, with a number if another node has it. The scene's own unique names would grow with every undo."""
        names = (name, *(f"{name} ({number})" for number in range(2, 2 + self.scene.GetNumberOfNodes())))
        return next(free for free in names if self.scene.GetFirstNodeByName(free) is None)

    @contextmanager
    def _placing_where_it_was(self) -> Iterator[None]:
        """A list that is added becomes the one that clicks are placed in; the person did not ask for that."""
        selection = self.scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
        before = None if selection is None else selection.GetActivePlaceNodeID()
        yield
        if before:
            selection.SetActivePlaceNodeID(before)

    def _write_boxes(self, object_id: int, boxes: tuple[SliceBox, ...], axis: Axis, volume: Volume) -> None:
        wanted = {one.index: one for one in boxes}
        for node in list(self._nodes(object_id, BOX)):
            there = read_box(node, axis, volume)
            if not ObjectPrompts(axis=axis, boxes=(there,)).inside(volume).boxes:
                continue
            if wanted.get(there.index) == there:
                del wanted[there.index]
            else:
                remove_node(self.scene, node)
        for one in wanted.values():
            name = f"object {object_id} {BOX} on slice {one.index}"
            place_box(self._add(object_id, BOX, name), one, axis, volume)

    def _read_strokes(self, object_id: int, axis: Axis, volume: Volume) -> Iterator[tuple[int, Stroke]]:
        """Scribbles and lassos with their numbers."""
        for node in self._nodes(object_id, SCRIBBLE, NEGATIVE_SCRIBBLE, LASSO):
            stroke = _read_stroke(node, axis, volume)
            if stroke is not None:
                yield parse_count(node.GetAttribute(ORDER) or "") or 0, stroke

    def _write_strokes(self, object_id: int, strokes: tuple[Stroke, ...], axis: Axis, volume: Volume) -> None:
        wanted = dict(enumerate(strokes))
        for node in list(self._nodes(object_id, SCRIBBLE, NEGATIVE_SCRIBBLE, LASSO)):
            there = _read_stroke(node, axis, volume)
            if there is not None and not _prompts_of(there, axis).inside(volume).indices:
                continue
            number = next((n for n, one in wanted.items() if one == there), None)
            if number is None:
                remove_node(self.scene, node)
            else:
                node.SetAttribute(ORDER, str(number))
                del wanted[number]
        for number, one in wanted.items():
            if isinstance(one, SliceLasso):
                role, path = LASSO, one.lasso.outline
            else:
                role, path = SCRIBBLE if one.scribble.positive else NEGATIVE_SCRIBBLE, one.scribble.path
            node = self._add(object_id, role, f"object {object_id} {role} on slice {one.index}")
            node.SetAttribute(ORDER, str(number))
            place_path(node, path, SlicePlane(axis, one.index), volume)


def _read_stroke(node: slicer.vtkMRMLMarkupsCurveNode, axis: Axis, volume: Volume) -> Stroke | None:
    """The scribble or lasso that a curve is; None where others have left too few points of it."""
    plane, path = read_path(node, axis, volume)
    role = node.GetAttribute(ROLE)
    try:
        if role == LASSO:
            return SliceLasso(plane.index, LassoPrompt(path))
        return SliceScribble(plane.index, ScribblePrompt(path, role == SCRIBBLE))
    except PromptError:
        return None


def _prompts_of(stroke: Stroke, axis: Axis) -> ObjectPrompts:
    if isinstance(stroke, SliceLasso):
        return ObjectPrompts(axis=axis, lassos=(stroke,))
    return ObjectPrompts(axis=axis, scribbles=(stroke,))


def _state(node: slicer.vtkMRMLMarkupsNode) -> tuple[object, ...]:
    """Differs once anything about a node that prompts are read from has changed."""
    transform = node.GetParentTransformNode()
    return (
        node.GetID(),
        node.GetMTime(),
        None if transform is None else (transform.GetID(), transform.GetTransformToWorldMTime()),
        point_state(node),
    )


def check_inside(prompts: ObjectPrompts, volume: Volume) -> None:
    """Checks that all prompts lie in the volume.

    Raises:
        PromptError: Something does not.
    """
    if prompts.inside(volume) != prompts:
        raise PromptError(_("the place is outside the volume"), hint=_("click inside the image"))
