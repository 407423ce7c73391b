"""A drag in a slice view: press, move, release. Works on VTK's own events, whatever toolkit the view sits in.

The drag is observed before the view's own tools and aborted for them, so that it neither moves a point, nor changes window and
level, nor paints. With Shift, Ctrl or Alt held the mouse is the view's own, for panning and turning.
"""

from abc import ABC, abstractmethod

import slicer
import vtk

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.presenters.rubber_band import Place, RubberBand
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.segmentation.controller import SessionController

PRESS, SECOND_PRESS = vtk.vtkCommand.LeftButtonPressEvent, vtk.vtkCommand.LeftButtonDoubleClickEvent
"""A press soon after another comes as the latter alone; a view would fill the window."""


class Drag(ABC):
    """Waits for drags in one view.

    Args:
        session: Gets what comes of it.
        view: The slice view.
        interactor: Of the view.
        colour: Of what is drawn meanwhile.
    """

    def __init__(
        self,
        session: SessionController,
        view: slicer.vtkMRMLSliceNode,
        interactor: vtk.vtkRenderWindowInteractor,
        colour: tuple[float, float, float],
    ) -> None:
        self.session, self.view, self.interactor = session, view, interactor
        self.is_done = False
        """There will be no other drag."""
        self._path: list[Place] = []
        self._band = RubberBand(interactor, colour)
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
        self._path = []
        self._band.hide()

    @abstractmethod
    def line(self, path: list[Place]) -> list[Place]:
        """What is drawn while the pointer has come along a path."""

    @abstractmethod
    def finish(self, path: list[Place]) -> None:
        """The button was released at the end of a path."""

    def _on_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._begin(PRESS)

    def _on_second_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._begin(SECOND_PRESS)

    def _begin(self, event: int) -> None:
        mouse = self.interactor
        if mouse.GetShiftKey() or mouse.GetControlKey() or mouse.GetAltKey():
            return
        self._path = [mouse.GetEventPosition()]
        self._watch.keep(mouse, event)

    def _on_move(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if self._path:
            self._path.append(self.interactor.GetEventPosition())
            self._band.show(self.line(self._path))

    def _on_release(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if not self._path:
            return
        path, self._path = [*self._path, self.interactor.GetEventPosition()], []
        self._watch.keep(self.interactor, vtk.vtkCommand.LeftButtonReleaseEvent)
        self._band.hide()
        try:
            self.finish(path)
        except NeuroSAM2Error as error:
            self.session.notice = str(error)
