"""The view model of the segmentation panel, computed from the presenter; measurements are cached until they change."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2Lib.engine.installation import InstallPlan
from NeuroSAM2Lib.engine.progress_rate import ProgressRate
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.quality_strip import QualityCell, quality_cells
from NeuroSAM2Lib.presenters.status_bar import StatusMessage, status_message
from NeuroSAM2Lib.scene.segments.layers import Layer
from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, SegmentDisplay
from NeuroSAM2Lib.scene.segments.segment_volume import volume_ml
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.view_state import NO_SESSION, SessionView


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
