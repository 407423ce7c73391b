"""Dragging a box in a slice view: press, move, release. Works on VTK's own events, whatever toolkit the view sits in."""

import slicer
import vtk

from NeuroSAM2MRML.scene.slice_views import ras_of
from NeuroSAM2MRML.scene.watch import SceneWatch
from NeuroSAM2MRML.session.controller import SessionController

SMALLEST_PX = 3
"""A drag shorter than this, in screen pixels, is no box."""


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
        self._watch = SceneWatch()
        for event, handler in (
            (vtk.vtkCommand.LeftButtonPressEvent, self._on_press),
            (vtk.vtkCommand.LeftButtonReleaseEvent, self._on_release),
        ):
            self._watch.on(interactor, event, handler)

    def cancel(self) -> None:
        """Waits no more."""
        self._watch.off()
        self._start = None

    def _on_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._start = self.interactor.GetEventPosition()

    def _on_release(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        start, end = self._start, self.interactor.GetEventPosition()
        self._start = None
        if start is None or max(abs(a - b) for a, b in zip(start, end, strict=True)) < SMALLEST_PX:
            return
        self.cancel()
        self.is_done = True
        self.session.drag_box(ras_of(self.view, start), ras_of(self.view, end), view=self.view)
