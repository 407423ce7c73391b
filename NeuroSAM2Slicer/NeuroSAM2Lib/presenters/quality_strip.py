"""The quality strip: one coloured cell for each slice along the object's axis, with a sentence for whoever points at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.objects.object_record import FOUND
from NeuroSAM2Lib.view_state import QualitySlice, ending_message


class Mark(Enum):
    """The kind of a cell, and its colour as red, green, blue from 0 to 255; distinguishable without red and green."""

    NOTHING = (225, 225, 225)
    CONFIRMED = (30, 90, 170)
    PROMPTED = (105, 165, 225)
    SURE = (115, 185, 120)
    ABSENT = (180, 190, 200)
    DOUBTFUL = (240, 150, 30)
    STALE = (215, 200, 140)


LEGEND = (
    (Mark.PROMPTED, _("prompted")),
    (Mark.CONFIRMED, _("confirmed")),
    (Mark.SURE, _("sure")),
    (Mark.ABSENT, _("not there")),
    (Mark.DOUBTFUL, _("doubtful")),
    (Mark.STALE, _("out of date")),
)
"""The marks in a person's words."""
NOT_SEGMENTED = _("Slice {index}: not segmented yet")
CONFIRMED = _("Slice {index}: confirmed by you, stays as it is")
PROMPTED = _("Slice {index}: has your prompts, stays as it is")
STALE = _("Slice {index}: out of date since a correction nearby; Continue does it again")
ENDS_HERE = _("Slice {index}: the object ends here: {why}")
DOUBTFUL = _("Slice {index}: look at this one, rated only {rating:.0%} by the model")
ABSENT = _("Slice {index}: the object is not here")
SURE = _("Slice {index}: rated {rating:.0%} by the model")


@dataclass(frozen=True, slots=True)
class QualityCell:
    """One slice."""

    mark: Mark
    sentence: str


def quality_cells(marks: Sequence[QualitySlice], num_slices: int) -> tuple[QualityCell, ...]:
    """A cell for every slice from 0 on.

    Args:
        marks: The slices that something is known of.
        num_slices: Along the axis.
    """
    known = {mark.plane.index: mark for mark in marks}
    present = {index for index, mark in known.items() if mark.object_score >= FOUND}
    return tuple(
        _cell(index, known.get(index), is_end=bool(present & {index - 1, index + 1})) for index in range(num_slices)
    )


def _cell(index: int, mark: QualitySlice | None, *, is_end: bool) -> QualityCell:
    if mark is None:
        return QualityCell(Mark.NOTHING, NOT_SEGMENTED.format(index=index))
    if mark.is_confirmed:
        return QualityCell(Mark.CONFIRMED, CONFIRMED.format(index=index))
    if mark.is_prompted:
        return QualityCell(Mark.PROMPTED, PROMPTED.format(index=index))
    if mark.is_stale:
        return QualityCell(Mark.STALE, STALE.format(index=index))
    if mark.object_score < FOUND and mark.ending and is_end:
        colour = Mark.DOUBTFUL if mark.is_doubtful else Mark.ABSENT
        return QualityCell(colour, ENDS_HERE.format(index=index, why=ending_message(mark.ending)))
    if mark.is_doubtful:
        return QualityCell(Mark.DOUBTFUL, DOUBTFUL.format(index=index, rating=mark.predicted_iou))
    if mark.object_score < FOUND:
        return QualityCell(Mark.ABSENT, ABSENT.format(index=index))
    return QualityCell(Mark.SURE, SURE.format(index=index, rating=mark.predicted_iou))
