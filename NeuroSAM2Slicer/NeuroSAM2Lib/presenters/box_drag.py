"""Dragging a box in a slice view: press, move, release. Works on VTK's own events, whatever toolkit the view sits in.

The drag is observed before the view's own tools and aborted for them, so that it neither moves a point, nor changes window and
level, nor paints. With Shift, Ctrl or Alt held the mouse is the view's own, for panning and turning.
"""

import slicer
import vtk

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.presenters.rubber_band import RubberBand
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.views.slice_views import ras_of
from NeuroSAM2Lib.segmentation.controller import SessionController

MIN_DRAG_PX = 3
"""A drag shorter than this, in screen pixels, is no box."""
PRESS, SECOND_PRESS = vtk.vtkCommand.LeftButtonPressEvent, vtk.vtkCommand.LeftButtonDoubleClickEvent
"""A press soon after another comes as the latter alone; a view would fill the window."""


class BoxDrag:
    """Waits for one box in one view.

    Args:
        session: Gets the box.
        view: The slice view.
        interactor: Of the view.
    """

    def __init__(
        self, session: SessionController, view: slicer.vtkMRMLSliceNode, interactor: vtk.vtkRenderWindowInteractor
    ) -> None:
        self.session, self.view, self.interactor = session, view, interactor
        self.is_done = False
        self._start: tuple[int, int] | None = None
        self._band = RubberBand(interactor)
        self._watch = SceneObserver()
        for event, handler in (
            (PRESS, self._on_press),
            (SECOND_PRESS, self._on_second_press),
            (vtk.vtkCommand.MouseMoveEvent, self._on_move),
            (vtk.vtkCommand.LeftButtonReleaseEvent, self._on_release),
        ):
            self._watch.on(interactor, event, handler, priority=FIRST)

    def cancel(self) -> None:
        """Waits no more."""
        self._watch.off()
        self._start = None
        self._band.hide()

    def _on_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._begin(PRESS)

    def _on_second_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._begin(SECOND_PRESS)

    def _begin(self, event: int) -> None:
        mouse = self.interactor
        if mouse.GetShiftKey() or mouse.GetControlKey() or mouse.GetAltKey():
            return
        self._start = mouse.GetEventPosition()
        self._watch.keep(mouse, event)

    def _on_move(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if self._start is not None:
            self._band.show(self._start, self.interactor.GetEventPosition())

    def _on_release(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        start, end = self._start, self.interactor.GetEventPosition()
        if start is None:
            return
        self._watch.keep(self.interactor, vtk.vtkCommand.LeftButtonReleaseEvent)
        self._start = None
        self._band.hide()
        if max(abs(a - b) for a, b in zip(start, end, strict=True)) < MIN_DRAG_PX:
            return
        self.cancel()
        self.is_done = True
        try:
            self.session.drag_box(ras_of(self.view, start), ras_of(self.view, end), view=self.view)
        except NeuroSAM2Error as error:
            self.session.notice = str(error)
