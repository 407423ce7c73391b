"""The quality ribbon: one coloured cell for each slice along the object's axis, with a sentence for whoever points at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

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
    (Mark.CONFIRMED, "confirmed"),
    (Mark.SURE, "sure"),
    (Mark.ABSENT, "not there"),
    (Mark.DOUBTFUL, "doubtful"),
    (Mark.STALE, "out of date"),
)
"""The marks in a person's words."""


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
    where = f"Slice {index}"
    if mark is None:
        return RibbonCell(Mark.NOTHING, f"{where}: not outlined yet")
    if mark.is_confirmed:
        return RibbonCell(Mark.CONFIRMED, f"{where}: confirmed by you, stays as it is")
    if mark.is_stale:
        return RibbonCell(Mark.STALE, f"{where}: out of date since a correction nearby; Continue does it again")
    if mark.presence < FOUND and mark.ending and is_end:
        colour = Mark.DOUBTFUL if mark.is_doubtful else Mark.ABSENT
        return RibbonCell(colour, f"{where}: the object ends here: {ending_sentence(mark.ending)}")
    if mark.is_doubtful:
        return RibbonCell(Mark.DOUBTFUL, f"{where}: look at this one, rated only {mark.predicted_iou:.0%} by the model")
    if mark.presence < FOUND:
        return RibbonCell(Mark.ABSENT, f"{where}: the object is not here")
    return RibbonCell(Mark.SURE, f"{where}: rated {mark.predicted_iou:.0%} by the model")
