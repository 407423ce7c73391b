"""Distances, angles and regions that a person has drawn: Markups of Slicer, drawn, moved and saved like all others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import slicer

from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.nodes import remove_node

KIND, VALUES = "NeuroSAM2.Ruler", "NeuroSAM2.RulerValues"
COLOUR = (0.2, 0.9, 0.95)
POINT_PERCENT = 0.4
"""Of the view, so that a region's points are no larger than its line."""
CORNERS = 32
"""Of the polygon that stands for an ellipse."""


class RulerKind(Enum):
    """What is measured."""

    DISTANCE = "distance"
    ANGLE = "angle"
    REGION = "region"


CLASSES = {
    RulerKind.DISTANCE: "vtkMRMLMarkupsLineNode",
    RulerKind.ANGLE: "vtkMRMLMarkupsAngleNode",
    RulerKind.REGION: "vtkMRMLMarkupsClosedCurveNode",
}
NUM_POINTS = {RulerKind.DISTANCE: 2, RulerKind.ANGLE: 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class RulerRow:
    """A measurement in the list."""

    node_id: str
    name: str
    sentence: str


def distance_mm(one: Matrix, other: Matrix) -> float:
    """Between two world positions."""
    return float(np.linalg.norm(np.subtract(other, one)))


def angle_deg(one: Matrix, corner: Matrix, other: Matrix) -> float:
    """At the corner between two world positions; 0 where one of them is the corner."""
    a, b = np.subtract(one, corner), np.subtract(other, corner)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


class Rulers:
    """The measurements of a scene.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._unfinished = ""

    def place(self, kind: RulerKind, ras: Matrix) -> bool:
        """One more point of a distance or an angle; true if that was its last."""
        node = self._scene.GetNodeByID(self._unfinished) if self._unfinished else None
        if node is None or node.GetAttribute(KIND) != kind.value:
            self.cancel()
            node = self._add(kind)
            self._unfinished = node.GetID()
        node.AddControlPointWorld(*map(float, ras))
        if node.GetNumberOfControlPoints() < NUM_POINTS[kind]:
            return False
        self._unfinished = ""
        return True

    def cancel(self) -> None:
        """What lacks points is removed."""
        self.remove(self._unfinished)
        self._unfinished = ""

    def add_region(self, start: Matrix, across: Matrix, down: Matrix, sentence: str) -> None:
        """An ellipse.

        Args:
            start: Its middle, (3,) in mm.
            across: From there to its edge.
            down: The same along the other axis.
            sentence: Its values, as they were when it was drawn.
        """
        node = self._add(RulerKind.REGION)
        node.SetAttribute(VALUES, sentence)
        for turn in np.linspace(0, 2 * np.pi, CORNERS, endpoint=False):
            node.AddControlPointWorld(*map(float, start + np.cos(turn) * across + np.sin(turn) * down))
        node.SetLocked(True)
        display = node.GetDisplayNode()
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetGlyphScale(POINT_PERCENT)
        display.SetLineThickness(1.0)

    def remove(self, node_id: str) -> None:
        """Removes a measurement; nothing else."""
        node = self._scene.GetNodeByID(node_id) if node_id else None
        if node is not None and node.GetAttribute(KIND):
            remove_node(self._scene, node)

    def rows(self) -> list[RulerRow]:
        """All that are finished."""
        return [
            RulerRow(node_id=node.GetID(), name=node.GetName(), sentence=_sentence(node))
            for node in self._nodes()
            if node.GetID() != self._unfinished
        ]

    def _nodes(self) -> Iterator[slicer.vtkMRMLMarkupsNode]:
        found = self._scene.GetNodesByClass("vtkMRMLMarkupsNode")
        for number in range(found.GetNumberOfItems()):
            if (node := found.GetItemAsObject(number)).GetAttribute(KIND) in {kind.value for kind in RulerKind}:
                yield node

    def _add(self, kind: RulerKind) -> slicer.vtkMRMLMarkupsNode:
        titles = {
            RulerKind.DISTANCE: _("Distance"),
            RulerKind.ANGLE: _("Angle"),
            RulerKind.REGION: _("Region"),
        }
        name = self._scene.GenerateUniqueName(titles[kind])
        node = self._scene.AddNewNodeByClass(CLASSES[kind], name)
        node.SetAttribute(KIND, kind.value)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSelectedColor(*COLOUR)
        display.SetColor(*COLOUR)
        return node


def _sentence(node: slicer.vtkMRMLMarkupsNode) -> str:
    kind = RulerKind(node.GetAttribute(KIND))
    if kind is RulerKind.REGION:
        return str(node.GetAttribute(VALUES) or "")
    places = _places(node)
    if len(places) < NUM_POINTS[kind]:
        return ""
    if kind is RulerKind.DISTANCE:
        return f"{distance_mm(places[0], places[1]):.1f} mm"
    return f"{angle_deg(places[0], places[1], places[2]):.1f}°"


def _places(node: slicer.vtkMRMLMarkupsNode) -> Sequence[Matrix]:
    return [np.array(node.GetNthControlPointPositionWorld(number)) for number in range(node.GetNumberOfControlPoints())]
