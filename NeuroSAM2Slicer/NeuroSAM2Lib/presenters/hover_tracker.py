"""Tracks the pointer over a slice view while a point tool is active. Works on VTK events, in any toolkit."""

import slicer
import vtk

from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.views.slice_views import ras_of
from NeuroSAM2Lib.segmentation.controller import SessionController


class HoverTracker:
    """Reports the pointer's position in one view to a session's preview.

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
        self._watch = SceneObserver()
        self._watch.on(interactor, vtk.vtkCommand.MouseMoveEvent, self._on_move, priority=FIRST)
        self._watch.on(interactor, vtk.vtkCommand.LeaveEvent, self._on_leave, priority=FIRST)

    def cancel(self) -> None:
        """Stops tracking."""
        self._watch.off()
        self.session.preview.leave()

    def _on_move(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        ras = ras_of(self.view, self.interactor.GetEventPosition())
        self.session.preview.point(ras, positive=self.positive, view=self.view)

    def _on_leave(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.session.preview.leave()
