"""The view model of the segmentation panel, computed from the presenter; measurements are cached until they change.

The status line at the top of the panel, and the button for its action. Pure.
The quality strip: one coloured cell for each slice along the object's axis, with a sentence for whoever points at it. Pure.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2Lib.engine.choice import InstallPlan
from NeuroSAM2Lib.engine.link import FAILED_MESSAGE, RETRY_HINT
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.segments.layers import Layer
from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, SegmentDisplay
from NeuroSAM2Lib.scene.segments.segment_masks import volume_ml
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.view_state import (
    NO_SESSION,
    Activity,
    ProgressRate,
    QualitySlice,
    SessionView,
    capitalized,
    ending_message,
)


class StatusAction(Enum):
    """The action of the status button."""

    NOTHING = "nothing"
    INSTALL = "install"
    SAMPLE = "sample"
    SEGMENTATION = "segmentation"
    RETRY = "retry"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """The line."""

    sentence: str
    fix: StatusAction = StatusAction.NOTHING
    button: str = ""
    is_problem: bool = False
    """Something keeps the person from going on."""


ACTIVITY = {
    Activity.STARTING: _("Starting the engine. Your prompts wait for it."),
    Activity.ANSWERING: _("Outlining this slice."),
    Activity.PROPAGATING: _("Propagating. You can go on looking and clicking."),
    Activity.STOPPING: _("Stopping after this slice."),
    Activity.REPAIRING: _("Repairing the object. You can go on looking; if you change it, the repair is dropped."),
    Activity.EXPORTING: _("Writing files of the objects as they were. You can go on."),
}
FIRST = _("Ready. Press X and drag a box around something in a slice view, or press P and click in it.")
UNSAVED = _("This volume was worked on, and the work was not saved. Bring it back, or begin anew.")
OPEN = _("Ready. Press E for another outline that your click can mean, correct this one with P and N, or propagate.")
THEN = _("Ready. Propagate through the other slices, or correct this one with P and N.")


def status_message(
    *,
    plan: InstallPlan,
    has_volume: bool,
    has_segmentation: bool,
    problem: str,
    session: SessionView,
    has_unsaved: bool = False,
    has_readings: bool = False,
) -> StatusMessage:
    """The most pressing thing, first things first.

    Args:
        plan: What is to be installed.
        has_volume: One is chosen.
        has_segmentation: One is chosen.
        problem: Why there is no session although both are chosen; empty where there is one.
        session: The session.
        has_unsaved: It was worked on before, and that work was not saved.
        has_readings: The click on the slice that is looked at can mean several outlines.
    """
    if plan.sentence:
        return StatusMessage(plan.sentence, StatusAction.INSTALL, plan.button, is_problem=True)
    if not has_volume:
        return StatusMessage(
            _("Choose a volume. To try it out, load a sample."), StatusAction.SAMPLE, _("Load sample"), is_problem=True
        )
    if not has_segmentation:
        return StatusMessage(
            _("Choose a segmentation to draw into."), StatusAction.SEGMENTATION, _("New segmentation"), is_problem=True
        )
    if problem:
        return StatusMessage(capitalized(problem), is_problem=True)
    if session.can_retry:
        return StatusMessage(
            capitalized(f"{FAILED_MESSAGE} ({RETRY_HINT})"), StatusAction.RETRY, _("Try again"), is_problem=True
        )
    if session.activity is Activity.ENDED:
        return StatusMessage(capitalized(session.notice), is_problem=True)
    if has_unsaved and not session.objects and session.activity is Activity.READY:
        return StatusMessage(
            f"{capitalized(session.notice)} {UNSAVED}".strip(), StatusAction.RECOVER, _("Bring it back")
        )
    message = ACTIVITY.get(session.activity, "") or capitalized(session.notice)
    if has_readings:
        return StatusMessage(message or OPEN)
    return StatusMessage(message or (THEN if session.can_propagate else FIRST))


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
    present = {index for index, mark in known.items() if mark.quality.is_present}
    return tuple(
        _cell(index, known.get(index), is_end=bool(present & {index - 1, index + 1})) for index in range(num_slices)
    )


def _cell(index: int, mark: QualitySlice | None, *, is_end: bool) -> QualityCell:
    if mark is None:
        return _unknown_cell(index)
    if mark.is_confirmed:
        return QualityCell(Mark.CONFIRMED, CONFIRMED.format(index=index))
    if mark.is_prompted:
        return QualityCell(Mark.PROMPTED, PROMPTED.format(index=index))
    quality = mark.quality
    if quality.is_stale:
        return QualityCell(Mark.STALE, STALE.format(index=index))
    if not quality.is_present and quality.ending and is_end:
        colour = Mark.DOUBTFUL if mark.is_doubtful else Mark.ABSENT
        return QualityCell(colour, ENDS_HERE.format(index=index, why=ending_message(quality.ending)))
    if mark.is_doubtful:
        return QualityCell(Mark.DOUBTFUL, DOUBTFUL.format(index=index, rating=quality.predicted_iou))
    if not quality.is_present:
        return QualityCell(Mark.ABSENT, ABSENT.format(index=index))
    return QualityCell(Mark.SURE, SURE.format(index=index, rating=quality.predicted_iou))


@cache
def _unknown_cell(index: int) -> QualityCell:
    return QualityCell(Mark.NOTHING, NOT_SEGMENTED.format(index=index))


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentViewModel:
    """What the segmentation panel shows."""

    state: StatusMessage
    session: SessionView
    style: DisplayStyle
    """Of all objects."""
    progress_rate: str
    """Of the propagation under way; empty without one."""
    volume_ml: float | None
    """Of the active object; None without one."""
    volumes_ml: Mapping[str, float]
    """By segment, as measured last; each reading brings one that has changed up to date, the active object's first."""
    reading: tuple[int, int] | None
    """Which reading of the click on the slice that is looked at is shown, from 1, and how many there are; None where it has one."""
    cells: tuple[QualityCell, ...]
    """One for each slice along the active object's axis."""
    axis: Axis | None
    """That axis; None without a session."""
    shown: int
    """The cell of the slice that is looked at; -1 without a session."""

    @property
    def reading_title(self) -> str:
        """Of the button that takes the next reading."""
        return (
            _("Next reading")
            if self.reading is None
            else _("Next reading: {number} of {count}").format(number=self.reading[0], count=self.reading[1])
        )

    @property
    def undo_tip(self) -> str:
        """Of the button that undoes."""
        step = self.session.undo_name
        return _("Take back: {step}").format(step=step) if step else _("Nothing to take back")


MIN_PAUSE_S, REST = 1.0, 50.0
"""Between two measurements of an object while masks come in: seconds, and times as long as the last one took."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A volume, and the time of the labelmap that it was measured on."""

    image_time: int
    ml: float | None
    at_s: float
    took_s: float

    def is_due(self, now_s: float) -> bool:
        """It may be measured again while it changes slice by slice: so that little of the time goes there."""
        return now_s - self.at_s >= max(MIN_PAUSE_S, REST * self.took_s)


class SegmentViewModelReader:
    """Computes the view model; caches when a propagation began and the objects' volumes."""

    def __init__(self) -> None:
        self._progress_rate: ProgressRate | None = None
        self._measured: dict[str, Measured] = {}

    def read(
        self,
        *,
        session: SessionController | None,
        plane: SlicePlane | None,
        plan: InstallPlan,
        has_volume: bool,
        has_segmentation: bool,
        problem: str,
        has_unsaved: bool,
    ) -> SegmentViewModel:
        """All that is shown.

        Args:
            session: The session; None without one.
            plane: The slice that is looked at.
            plan: See `status_message`, as the rest.
            has_volume: One is chosen.
            has_segmentation: One is chosen.
            problem: Why there is no session.
            has_unsaved: There is work to bring back.
        """
        view = NO_SESSION if session is None else session_view(session)
        cells: tuple[QualityCell, ...] = ()
        reading = None
        if session is not None and plane is not None:
            reading = session.document.active_record.open_reading(plane)
            cells = quality_cells(view.quality_strip, session.document.volume.shape[plane.axis.array_axis])
        if not view.can_prompt:
            reading = None
        state = status_message(
            plan=plan,
            has_volume=has_volume,
            has_segmentation=has_segmentation,
            problem=problem,
            session=view,
            has_unsaved=has_unsaved,
            has_readings=reading is not None,
        )
        if session is not None:
            self._measure_one(session, view)
        volumes = {row.segment_id: known.ml for row in view.objects if (known := self._measured.get(row.segment_id))}
        active = next((row.segment_id for row in view.objects if row.is_active), "")
        return SegmentViewModel(
            state=state,
            session=view,
            style=DisplayStyle() if session is None else SegmentDisplay(session.document.segmentation_node).style,
            progress_rate=self._rate_message(view),
            volume_ml=volumes.get(active),
            volumes_ml={segment_id: ml for segment_id, ml in volumes.items() if ml is not None},
            reading=None if reading is None else (reading[0] + 1, reading[1]),
            cells=cells,
            axis=None if plane is None else plane.axis,
            shown=-1 if plane is None else plane.index,
        )

    def _rate_message(self, session: SessionView) -> str:
        if session.progress is None:
            self._progress_rate = None
            return ""
        if self._progress_rate is None:
            self._progress_rate = ProgressRate(time.monotonic())
        return self._progress_rate.sentence(session.progress, time.monotonic())

    def _measure_one(self, session: SessionController, view: SessionView) -> None:
        """Measures again only where the labelmap has changed, and now and then while it changes slice by slice."""
        for row in sorted(view.objects, key=lambda row: not row.is_active):
            image_time, known = _image_time(session, row.segment_id), self._measured.get(row.segment_id)
            if image_time is None:
                self._measured.pop(row.segment_id, None)
            elif known is None or (
                known.image_time != image_time and (view.progress is None or known.is_due(time.monotonic()))
            ):
                began_s = time.monotonic()
                ml = volume_ml(session.document.segmentation_node, row.segment_id)
                self._measured[row.segment_id] = Measured(image_time, ml, began_s, time.monotonic() - began_s)
                return


def _image_time(session: SessionController, segment_id: str) -> int | None:
    """When the labelmap of a segment was changed last; None where it has none."""
    try:
        return int(Layer(session.document.segmentation_node, segment_id).image.GetMTime())
    except NeuroSAM2Error:
        return None
