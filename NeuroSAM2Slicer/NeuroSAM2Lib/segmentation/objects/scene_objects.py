"""The objects of a segmentation: segments that bear an object number, each with its record.

The segmentation says which objects there are, so that they come and go with undo, with the person's own deletions, and with
the scene. Records of segments that are gone are kept in case they come back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import slicer
import vtk

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.segmentation.objects.object_record import ObjectRecord

OBJECT_TAG = "NeuroSAM2.Object"
COLOURS = (
    (0.25, 0.60, 1.00),
    (0.95, 0.50, 0.15),
    (0.85, 0.35, 0.85),
    (0.15, 0.80, 0.85),
    (0.60, 0.45, 1.00),
    (0.70, 0.80, 0.20),
    (1.00, 0.60, 0.75),
    (0.75, 0.55, 0.40),
)
"""Of new objects, in turn: told apart from each other, from grey images, and from the colours of prompts."""


@dataclass(frozen=True, slots=True)
class DisplayProperties:
    """How an object is shown."""

    name: str
    colour: tuple[float, float, float]
    """Red, green, blue, 0 to 1."""


class SegmentedObjects:
    """Objects by number.

    Args:
        segmentation_node: Whose segments they are.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
        self.node = segmentation_node
        self.records: dict[int, ObjectRecord] = {}
        self._segments: Mapping[int, str] = {}
        self._is_current = False
        self._watched: slicer.vtkSegmentation | None = None
        self._watch = SceneObserver()

    @property
    def segments(self) -> Mapping[int, str]:
        """Segment ids by object; read once, and again after the segmentation has said that its segments changed."""
        segmentation = self.node.GetSegmentation()
        if segmentation is not self._watched:
            self._follow(segmentation)
        if not self._is_current:
            found = {}
            for segment_id in segmentation.GetSegmentIDs():
                number = object_number(segmentation.GetSegment(segment_id))
                if number is not None:
                    found[number] = segment_id
            self._segments, self._is_current = MappingProxyType(found), True
        return self._segments

    def _follow(self, segmentation: slicer.vtkSegmentation) -> None:
        self._watch.off()
        for event in (
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
            segmentation.SegmentModified,
            segmentation.SegmentsOrderModified,
        ):
            self._watch.on(segmentation, event, self._forget_segments, priority=FIRST)
        self._watched, self._is_current = segmentation, False

    def _forget_segments(self, _segmentation: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._is_current = False

    def segment_id(self, object_id: int) -> str:
        """The segment of an object.

        Raises:
            DataError: It is gone.
        """
        segment_id = self.segments.get(object_id)
        if segment_id is None:
            raise DataError(
                _("the segment of object {object_id} was deleted").format(object_id=object_id),
                hint=_("undo the deletion, or start another object"),
            )
        return segment_id

    def name(self, object_id: int) -> str:
        """What the person calls it."""
        return str(self.node.GetSegmentation().GetSegment(self.segment_id(object_id)).GetName())

    def display_properties(self, object_id: int) -> DisplayProperties:
        """What the person calls it, and its colour."""
        red, green, blue = self.node.GetSegmentation().GetSegment(self.segment_id(object_id)).GetColor()
        return DisplayProperties(self.name(object_id), (red, green, blue))

    def show(self, object_id: int, display_properties: DisplayProperties) -> None:
        """Gives it a name and a colour."""
        segment = self.node.GetSegmentation().GetSegment(self.segment_id(object_id))
        segment.SetName(display_properties.name)
        segment.SetColor(*display_properties.colour)

    def record(self, object_id: int | None) -> ObjectRecord:
        """What is known of it; nothing of one that is still to be made, None."""
        return ObjectRecord() if object_id is None else self.records.get(object_id, ObjectRecord())

    @property
    def next_number(self) -> int:
        """Of an object that is not there yet."""
        return 1 + max(max(self.segments, default=0), max(self.records, default=0))

    def add(self, name: str = "") -> int:
        """A new object with an empty segment."""
        number = self.next_number
        segmentation = self.node.GetSegmentation()
        segment_id = segmentation.AddEmptySegment("", name or self._next_name())
        segment = segmentation.GetSegment(segment_id)
        segment.SetTag(OBJECT_TAG, str(number))
        segment.SetColor(*COLOURS[(number - 1) % len(COLOURS)])
        self.records[number] = ObjectRecord()
        return number

    def _next_name(self) -> str:
        """One more than the highest that is in use; numbers of objects that undo took away are not, to a person."""
        named = [re.fullmatch(r"object (\d+)", self.name(number)) for number in self.segments]
        return f"object {1 + max((int(match[1]) for match in named if match), default=0)}"

    def register_segment(self, segment_id: str) -> int:
        """The object of a segment; a segment of the person's own becomes one.

        Raises:
            DataError: There is no such segment.
        """
        segment = self.node.GetSegmentation().GetSegment(segment_id)
        if segment is None:
            raise DataError(_("that segment was deleted"), hint=_("choose another"))
        number = object_number(segment)
        if number is None:
            number = self.next_number
            segment.SetTag(OBJECT_TAG, str(number))
            self.records[number] = ObjectRecord()
        return number


def object_number(segment: slicer.vtkSegment) -> int | None:
    """The object that a segment is; None for one of the person's own."""
    text = vtk.mutable("")
    return parse_count(str(text)) if segment.GetTag(OBJECT_TAG, text) else None
