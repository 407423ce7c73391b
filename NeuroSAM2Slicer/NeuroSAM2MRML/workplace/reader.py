"""The workplace as a panel shows it: a pure reading, but for what is measured only when it has changed."""

import time
from dataclasses import dataclass

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2MRML.engine.installation import InstallPlan
from NeuroSAM2MRML.engine.pace import Pace
from NeuroSAM2MRML.scene.layers import Layer
from NeuroSAM2MRML.scene.segment_volume import volume_ml
from NeuroSAM2MRML.session.controller import SessionController
from NeuroSAM2MRML.session.view import session_view
from NeuroSAM2MRML.view_state import NO_SESSION, SessionView
from NeuroSAM2MRML.workplace.ribbon import RibbonCell, ribbon_cells
from NeuroSAM2MRML.workplace.state_line import StateLine, state_line


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkplaceView:
    """What the segmentation panel shows."""

    state: StateLine
    session: SessionView
    pace: str
    """Of the propagation under way; empty without one."""
    volume_ml: float | None
    """Of the active object; None without one."""
    cells: tuple[RibbonCell, ...]
    """One for each slice along the active object's axis."""
    axis: Axis | None
    """That axis; None without a session."""
    shown: int
    """The cell of the slice that is looked at; -1 without a session."""


class WorkplaceReader:
    """Reads the view again and again; remembers when a propagation began and what the active object's volume was."""

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._measured: tuple[tuple[str, int], float | None] = ("", 0), None

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
    ) -> WorkplaceView:
        """All that is shown.

        Args:
            session: The session; None without one.
            plane: The slice that is looked at.
            plan: See `state_line`, as the rest.
            has_volume: One is chosen.
            has_segmentation: One is chosen.
            problem: Why there is no session.
            has_unsaved: There is work to bring back.
        """
        view = NO_SESSION if session is None else session_view(session)
        cells: tuple[RibbonCell, ...] = ()
        if session is not None and plane is not None:
            cells = ribbon_cells(view.ribbon, session.desk.volume.shape[plane.axis.array_axis])
        state = state_line(
            plan=plan,
            has_volume=has_volume,
            has_segmentation=has_segmentation,
            problem=problem,
            session=view,
            has_unsaved=has_unsaved,
        )
        return WorkplaceView(
            state=state,
            session=view,
            pace=self._sentence_on_pace(view),
            volume_ml=None if session is None else self._active_volume(session, view),
            cells=cells,
            axis=None if plane is None else plane.axis,
            shown=-1 if plane is None else plane.index,
        )

    def _sentence_on_pace(self, session: SessionView) -> str:
        if session.progress is None:
            self._pace = None
            return ""
        if self._pace is None:
            self._pace = Pace(time.monotonic())
        return self._pace.sentence(session.progress, time.monotonic())

    def _active_volume(self, session: SessionController, view: SessionView) -> float | None:
        """Measured again only when the labelmap has changed, and not while it changes slice by slice."""
        active = next((row for row in view.objects if row.is_active), None)
        if active is None:
            return None
        node = session.desk.segmentation_node
        try:
            key = active.segment_id, Layer(node, active.segment_id).image.GetMTime()
        except NeuroSAM2Error:
            return None
        if key != self._measured[0] and (view.progress is None or key[0] != self._measured[0][0]):
            self._measured = key, volume_ml(node, active.segment_id)
        return self._measured[1]
