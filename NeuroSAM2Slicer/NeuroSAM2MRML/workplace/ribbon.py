"""The quality ribbon: one coloured cell for each slice along the object's axis, with a sentence for whoever points at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.objects.record import FOUND
from NeuroSAM2MRML.view_state import RibbonSlice, ending_sentence


class Mark(Enum):
    """What a cell says, and its colour as red, green, blue from 0 to 255; told apart without red and green, too."""

    NOTHING = (225, 225, 225)
    CONFIRMED = (30, 90, 170)
    SURE = (115, 185, 120)
    ABSENT = (180, 190, 200)
    DOUBTFUL = (240, 150, 30)
    STALE = (215, 200, 140)


LEGEND = (
    (Mark.CONFIRMED, _("confirmed")),
    (Mark.SURE, _("sure")),
    (Mark.ABSENT, _("not there")),
    (Mark.DOUBTFUL, _("doubtful")),
    (Mark.STALE, _("out of date")),
)
"""The marks in a person's words."""
NOT_OUTLINED = _("Slice {index}: not outlined yet")
CONFIRMED = _("Slice {index}: confirmed by you, stays as it is")
STALE = _("Slice {index}: out of date since a correction nearby; Continue does it again")
ENDS_HERE = _("Slice {index}: the object ends here: {why}")
DOUBTFUL = _("Slice {index}: look at this one, rated only {rating:.0%} by the model")
ABSENT = _("Slice {index}: the object is not here")
SURE = _("Slice {index}: rated {rating:.0%} by the model")


@dataclass(frozen=True, slots=True)
class RibbonCell:
    """One slice."""

    mark: Mark
    sentence: str


def ribbon_cells(marks: Sequence[RibbonSlice], num_slices: int) -> tuple[RibbonCell, ...]:
    """A cell for every slice from 0 on.

    Args:
        marks: The slices that something is known of.
        num_slices: Along the axis.
    """
    known = {mark.plane.index: mark for mark in marks}
    present = {index for index, mark in known.items() if mark.presence >= FOUND}
    return tuple(
        _cell(index, known.get(index), is_end=bool(present & {index - 1, index + 1})) for index in range(num_slices)
    )


def _cell(index: int, mark: RibbonSlice | None, *, is_end: bool) -> RibbonCell:
    if mark is None:
        return RibbonCell(Mark.NOTHING, NOT_OUTLINED.format(index=index))
    if mark.is_confirmed:
        return RibbonCell(Mark.CONFIRMED, CONFIRMED.format(index=index))
    if mark.is_stale:
        return RibbonCell(Mark.STALE, STALE.format(index=index))
    if mark.presence < FOUND and mark.ending and is_end:
        colour = Mark.DOUBTFUL if mark.is_doubtful else Mark.ABSENT
        return RibbonCell(colour, ENDS_HERE.format(index=index, why=ending_sentence(mark.ending)))
    if mark.is_doubtful:
        return RibbonCell(Mark.DOUBTFUL, DOUBTFUL.format(index=index, rating=mark.predicted_iou))
    if mark.presence < FOUND:
        return RibbonCell(Mark.ABSENT, ABSENT.format(index=index))
    return RibbonCell(Mark.SURE, SURE.format(index=index, rating=mark.predicted_iou))
