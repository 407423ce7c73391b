"""Following the pointer over a slice view, with a point tool in hand. Works on VTK's own events, whatever toolkit the view sits in."""

import slicer
import vtk

from NeuroSAM2MRML.scene.slice_views import ras_of
from NeuroSAM2MRML.scene.watch import FIRST, SceneWatch
from NeuroSAM2MRML.session.controller import SessionController


class Pointing:
    """Tells a session where the pointer is in one view.

    Args:
        session: Shows what a click there would give.
        positive: The sign of the points.
        view: The slice view.
        interactor: Of the view.
    """

    def __init__(
        self,
        session: SessionController,
        view: slicer.vtkMRMLSliceNode,
        interactor: vtk.vtkRenderWindowInteractor,
        *,
        positive: bool,
    ) -> None:
        self.session, self.view, self.interactor, self.positive = session, view, interactor, positive
        self._watch = SceneWatch()
        self._watch.on(interactor, vtk.vtkCommand.MouseMoveEvent, self._on_move, priority=FIRST)
        self._watch.on(interactor, vtk.vtkCommand.LeaveEvent, self._on_leave, priority=FIRST)

    def cancel(self) -> None:
        """Follows no more."""
        self._watch.off()
        self.session.preview.leave()

    def _on_move(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        ras = ras_of(self.view, self.interactor.GetEventPosition())
        self.session.preview.point(ras, positive=self.positive, view=self.view)

    def _on_leave(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.session.preview.leave()
