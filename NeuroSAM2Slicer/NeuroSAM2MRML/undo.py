"""One stack of steps for clicks and for manual edits.

Masks go back and forth through the Segment Editor's own history, which keeps exact copies. What a step meant for the prompts
is kept here, and found again through a tag that the history carries along with each segment: whoever undoes, the prompts can
follow.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol

import slicer
import vtk

from NeuroSAM2MRML.object_record import ObjectRecord

STEP = "NeuroSAM2.Step"
MANUAL = "manual edit"
MAX_STEPS = 20


class EditHistory(Protocol):
    """Where the states of a segmentation are kept; in Slicer it is the Segment Editor's."""

    def save(self) -> None:
        """Keeps the state as it is before a change."""

    def undo(self) -> bool:
        """Brings the last kept state back; false if there is none."""

    def redo(self) -> bool:
        """Brings back what was undone; false if there is nothing."""

    def can_undo(self) -> bool:
        """There is a state to go back to."""

    def can_redo(self) -> bool:
        """There is a state to go forward to."""


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


@dataclass(frozen=True, slots=True)
class Step:
    """What a person did, and what the object was like from then on."""

    name: str
    record: ObjectRecord


class UndoSteps:
    """The names and the prompts of steps, by the tag that a segment bears.

    Args:
        segmentation_node: Whose segments bear the tags.
        history: Its states.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode, history: EditHistory) -> None:
        self.node, self.history = segmentation_node, history
        self._numbers = itertools.count(1)
        self._steps: dict[int, Step] = {}
        self._is_back = False
        self._has_late_answer = False

    def begin(self) -> None:
        """Keeps the state before a change."""
        self.history.save()
        self._is_back = self._has_late_answer = False

    def undo(self) -> bool:
        """Takes the last step back; false if there is none.

        An answer that came after an earlier undo belongs to no step: it is gone back over, not to.
        """
        if self._has_late_answer and self.history.undo():
            self._has_late_answer = False
            return self.history.undo() or True
        return self.history.undo()

    def redo(self) -> bool:
        """Brings back what was undone; false if there is nothing."""
        return self.history.redo()

    def note_travel(self) -> None:
        """Somebody has gone back or forth."""
        self._is_back, self._has_late_answer = True, False

    def note_answer(self) -> None:
        """An answer has changed the segmentation outside of any step's beginning."""
        self._has_late_answer = self._has_late_answer or self._is_back

    def mark(self, segment_id: str, name: str, record: ObjectRecord) -> None:
        """Says what the change made of an object."""
        number = next(self._numbers)
        self._steps[number] = Step(name, record)
        self._segment(segment_id).SetTag(STEP, str(number))

    def amend(self, segment_id: str, record: ObjectRecord) -> None:
        """The step that an object is at goes on: what it is like by now."""
        number = self._number(segment_id)
        if number in self._steps:
            self._steps[number] = Step(self._steps[number].name, record)

    def record(self, segment_id: str) -> ObjectRecord | None:
        """What the object is like at the step it is at; None where that was never said."""
        step = self._steps.get(self._number(segment_id))
        return None if step is None else step.record

    def position(self) -> dict[str, int]:
        """The step that every segment is at; 0 for none."""
        return {name: self._number(name) for name in self.node.GetSegmentation().GetSegmentIDs()}

    def current_name(self) -> str:
        """What the last step that still holds is called."""
        step = self._steps.get(max(self.position().values(), default=0))
        return "" if step is None else step.name

    def _segment(self, segment_id: str) -> slicer.vtkSegment:
        segment = self.node.GetSegmentation().GetSegment(segment_id)
        assert segment is not None, segment_id
        return segment

    def _number(self, segment_id: str) -> int:
        segment = self.node.GetSegmentation().GetSegment(segment_id)
        text = vtk.mutable("")
        if segment is None or not segment.GetTag(STEP, text) or not str(text).isdigit():
            return 0
        return int(str(text))
