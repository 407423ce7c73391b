"""One undo stack for prompts and manual edits.

Masks go back and forth through the Segment Editor's own history, which keeps exact copies. What a step meant for the prompts
is kept here, and found again through a tag that the history carries along with each segment: whoever undoes, the prompts can
follow.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import slicer
import vtk

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.segments.layers import LABELMAP
from NeuroSAM2Lib.segmentation.objects.scene_objects import ObjectRecord, SegmentedObjects

STATE = "NeuroSAM2.State"
MANUAL_EDIT = _("Manual edit")
"""The name of whatever others did to the segments."""
MAX_STEPS = 20
NOWHERE = 0
"""The state without any object."""


class EditHistory(Protocol):
    """The history of segmentation states; in Slicer the Segment Editor's."""

    def save(self) -> None:
        """Keeps the state as it is before a change."""

    def undo(self) -> bool:
        """Brings the last kept state back; false if there is none."""

    def redo(self) -> bool:
        """Redoes the last undone step; false if there is none."""

    def can_undo(self) -> bool:
        """There is a state to go back to."""

    def can_redo(self) -> bool:
        """There is a state to go forward to."""

    def forget(self) -> None:
        """Forgets all states."""


class SegmentationHistory:
    """An edit history over `vtkSegmentationHistory`.

    Args:
        history: Of one segmentation; shared with whoever else edits it.
    """

    def __init__(self, history: slicer.vtkSegmentationHistory) -> None:
        self.history = history

    @classmethod
    def of(cls, segmentation_node: slicer.vtkMRMLSegmentationNode) -> "SegmentationHistory":
        """A new history of a segmentation."""
        history = slicer.vtkSegmentationHistory()
        history.SetMaximumNumberOfStates(MAX_STEPS)
        history.SetSegmentation(segmentation_node.GetSegmentation())
        return cls(history)

    def save(self) -> None:
        """See `EditHistory`."""
        self.history.SaveState()

    def undo(self) -> bool:
        """See `EditHistory`."""
        return self.can_undo() and bool(self.history.RestorePreviousState())

    def redo(self) -> bool:
        """See `EditHistory`."""
        return self.can_redo() and bool(self.history.RestoreNextState())

    def can_undo(self) -> bool:
        """See `EditHistory`."""
        return bool(self.history.IsRestorePreviousStateAvailable())

    def can_redo(self) -> bool:
        """See `EditHistory`."""
        return bool(self.history.IsRestoreNextStateAvailable())

    def forget(self) -> None:
        """See `EditHistory`."""
        self.history.RemoveAllStates()


Records = Mapping[int, ObjectRecord]
"""What is known of every object."""


@dataclass(frozen=True, slots=True)
class UndoState:
    """A state in the undo history."""

    name: str
    """Of the step that led there."""
    records: Records
    is_saved: bool
    """The history holds it as it is; otherwise it is what became of the last one since, and still changes."""
    on_top_of: int | None = None
    """The saved state that answers have come on top of, without a step."""
    before: dict[tuple[int, SlicePlane], int] = field(default_factory=dict)
    """For slices that were answered since the step began, the digest of what was there; grows while answers come."""
    edits_before: int = 0
    """Manual edits in the state that undo goes back to from here, since the step that led there."""


class UndoStack:
    """The undo stack: the records of all objects at every state of the history, found through a tag on their segments.

    Args:
        objects: Whose segments bear the tag.
        history: The states.
    """

    def __init__(self, objects: SegmentedObjects, history: EditHistory) -> None:
        self.objects, self.history = objects, history
        self._numbers = itertools.count(1)
        self._states: dict[int, UndoState] = {NOWHERE: UndoState("", {}, True)}
        self._stamp_on_arrival: tuple[int, ...] = ()
        self._number_on_arrival = NOWHERE
        self._edits = self._edits_before = 0
        self._images = self._image_times()
        self._watch = SceneObserver()

    def begin(self, records: Records) -> None:
        """Keeps the state before a change."""
        self.notice_edits()
        self._edits_before = self._edits
        if (
            not self.is_unchanged_since_restore
        ):  # else the history holds this very state, and a new tag would make it another
            self._enter(UndoState(self.current_name(), dict(records), True, edits_before=max(0, self._edits - 1)))
            self._edits_before = 0
        self.history.save()

    def has_been_left(self) -> frozenset[int]:
        """The objects that neither undo nor redo can bring back once a new step has begun."""
        here, segments = self.position()
        if here == NOWHERE and self.history.can_undo():  # whoever deleted the last object left no mark
            return frozenset()
        kept = {number for state, known in self._states.items() if state <= here for number in known.records}
        everything = {number for known in self._states.values() for number in known.records}
        return frozenset(everything - kept - segments)

    def mark(self, name: str, records: Records) -> None:
        """Says what the change was, and what is known since."""
        self._enter(UndoState(name, dict(records), False, edits_before=self._edits_before))
        self._edits = self._edits_before = 0
        self._images = self._image_times()

    def arrive(self) -> None:
        """Undo or redo, by whomever, has brought a state back."""
        number = self.position()[0]
        self._states[number] = replace(self._states[number], is_saved=True)
        self._stamp_on_arrival = tuple(self._times())
        self._images = self._image_times()
        if number != self._number_on_arrival:
            self._edits, self._number_on_arrival = 0, number

    def notice_edits(self) -> None:
        """Counts manual edits of the segments since the last look."""
        images = self._image_times()
        if images != self._images:
            self._edits, self._images = self._edits + 1, images

    def ignore_edits(self) -> None:
        """What has changed since the last look is no edit of its own."""
        self._images = self._image_times()

    @property
    def is_unchanged_since_restore(self) -> bool:
        """True if nothing has changed since undo or redo."""
        times = itertools.zip_longest(self._stamp_on_arrival, self._times())
        return all(was == now for was, now in times)

    def amend(
        self,
        records: Records,
        digests_before: Mapping[tuple[int, SlicePlane], int],
        *,
        was_unchanged_since_restore: bool,
    ) -> None:
        """Amends the current step with the records by now.

        What comes in at a state that undo brought back changes no step: it is a change on top, which `undo` goes back over.

        Args:
            records: What is known.
            digests_before: Of what was there before, by the objects and slices that have changed.
            was_unchanged_since_restore: `is_unchanged_since_restore` before the change.
        """
        number = self.position()[0]
        here = self._states[number]
        if here.is_saved:
            self._enter(
                UndoState(here.name, dict(records), False, on_top_of=number if was_unchanged_since_restore else None)
            )
        else:
            here.before.update({known: digest for known, digest in digests_before.items() if known not in here.before})
            self._states[number] = replace(here, records=dict(records))
        self._images = self._image_times()

    def undo(self) -> bool:
        """Undoes the last step; false if there is none."""
        self.notice_edits()
        number, edits = self.position()[0], self._edits
        left = self._states[number]
        has_moved = self.history.undo()
        if has_moved and left.on_top_of == self.position()[0]:
            self.history.undo()
        if has_moved:
            self.arrive()
            self._edits = max(0, edits - 1) if self.position()[0] == number else left.edits_before
        return has_moved

    def redo(self) -> bool:
        """Redoes the last undone step; false if there is none."""
        self.notice_edits()
        number, edits = self.position()[0], self._edits
        has_moved = self.history.redo()
        if has_moved:
            self.arrive()
            self._edits = edits + 1 if self.position()[0] == number else 0
        return has_moved

    def records(self) -> Records:
        """The records of the current state."""
        return self._states[self.position()[0]].records

    def missing(self, digest: Callable[[int, SlicePlane], int]) -> set[tuple[int, SlicePlane]]:
        """Answers that are known but came too late to be in the state that is there now: somebody else kept it before.

        Args:
            digest: Of an object on a slice as it is now.
        """
        here = self._states[self.position()[0]]
        return {
            (number, plane)
            for (number, plane), before in here.before.items()
            if number in self.objects.segments
            and plane in here.records[number].quality
            and here.records[number].quality[plane].digest != before == digest(number, plane)
        }

    def current_name(self) -> str:
        """The step that led to the state that is there now."""
        self.notice_edits()
        return MANUAL_EDIT if self._edits else self._states[self.position()[0]].name

    def position(self) -> tuple[int, frozenset[int]]:
        """The state that is there now, and its objects."""
        return self.objects.watch.kept("position", self._read_position)

    def _read_position(self) -> tuple[int, frozenset[int]]:
        segments = self.objects.segments
        numbers = {self._number(segment_id) for segment_id in segments.values()}
        return max(numbers & self._states.keys(), default=NOWHERE), frozenset(segments)

    def _times(self) -> Iterator[int]:
        """They change with every change of the objects' segments."""
        parts = self.objects.watch.kept("parts", self._read_object_parts)
        return (part.GetMTime() for part in parts)

    def _image_times(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Changes with every change of the voxels of any segment, also of one that is no object."""
        names, images = self.objects.watch.kept("labelmaps", self._read_labelmaps)
        return names, tuple(image.GetMTime() for image in images)

    def _read_labelmaps(self) -> tuple[tuple[str, ...], list[vtk.vtkImageData]]:
        names = tuple(self.objects.node.GetSegmentation().GetSegmentIDs())
        return names, self._labelmaps_of(names)

    def _labelmaps_of(self, names: Iterable[str]) -> list[vtk.vtkImageData]:
        """The labelmaps of segments, each once: many segments share one."""
        segmentation = self.objects.node.GetSegmentation()
        images = (segmentation.GetSegment(name).GetRepresentation(LABELMAP) for name in names)
        return list({id(image): image for image in images if image is not None}.values())

    def _read_object_parts(self) -> list[vtk.vtkObject]:
        """The objects' segments and their labelmaps."""
        segmentation = self.objects.node.GetSegmentation()
        names = self.objects.segments.values()
        return [*map(segmentation.GetSegment, names), *self._labelmaps_of(names)]

    def _enter(self, undo_state: UndoState) -> None:
        number = next(self._numbers)
        self._states[number] = undo_state
        segmentation = self.objects.node.GetSegmentation()
        *others, last = self.objects.segments.values() or [None]
        self._watch.on(segmentation, segmentation.SegmentModified, self._on_tag, priority=2 * FIRST)
        for segment_id in others:
            segmentation.GetSegment(segment_id).SetTag(STATE, str(number))
        self._watch.off()
        if last is not None:
            segmentation.GetSegment(last).SetTag(STATE, str(number))

    def _on_tag(self, segmentation: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        """One event for all segments: every view looks at all of them at every event."""
        self._watch.keep(segmentation, slicer.vtkSegmentation.SegmentModified)

    def _number(self, segment_id: str) -> int:
        text = vtk.mutable("")
        segment = self.objects.node.GetSegmentation().GetSegment(segment_id)
        number = parse_count(str(text)) if segment.GetTag(STATE, text) else None
        return NOWHERE if number is None else number
