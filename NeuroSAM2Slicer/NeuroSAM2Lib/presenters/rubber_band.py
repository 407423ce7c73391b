"""The line that grows under the pointer while something is drawn in a slice view; the scene knows nothing of it."""

from collections.abc import Sequence

import vtk

LINE_PX = 2
Place = tuple[int, int]
"""In the view's own pixels, from its lower left."""


class RubberBand:
    """One line in one view.

    Args:
        interactor: Of the view.
        colour: Red, green and blue, 0 to 1.
    """

    def __init__(self, interactor: vtk.vtkRenderWindowInteractor, colour: tuple[float, float, float]) -> None:
        self._interactor = interactor
        self._renderer: vtk.vtkRenderer | None = None
        self._source = vtk.vtkLineSource()
        self._points = vtk.vtkPoints()
        self._source.SetPoints(self._points)
        in_pixels = vtk.vtkCoordinate()
        in_pixels.SetCoordinateSystemToDisplay()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputConnection(self._source.GetOutputPort())
        mapper.SetTransformCoordinate(in_pixels)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetColor(*colour)
        self._actor.GetProperty().SetLineWidth(LINE_PX)

    def show(self, corners: Sequence[Place]) -> None:
        """The line through these places."""
        self._points.SetNumberOfPoints(len(corners))
        for number, (x, y) in enumerate(corners):
            self._points.SetPoint(number, x, y, 0)
        self._points.Modified()
        self._source.Modified()
        if self._renderer is None:
            self._renderer = self._interactor.FindPokedRenderer(*corners[0])
            self._renderer.AddViewProp(self._actor)
        self._interactor.GetRenderWindow().Render()

    def hide(self) -> None:
        """Nothing is drawn any more."""
        if self._renderer is not None:
            self._renderer.RemoveViewProp(self._actor)
            self._renderer = None
            self._interactor.GetRenderWindow().Render()
