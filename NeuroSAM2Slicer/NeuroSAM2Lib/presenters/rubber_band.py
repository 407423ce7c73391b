"""The rectangle that grows under the pointer while a box is dragged in a slice view; the scene knows nothing of it."""

import vtk

from NeuroSAM2Lib.segmentation.objects.prompt_nodes import BOX, COLOURS

LINE_PX = 2
Place = tuple[int, int]
"""In the view's own pixels, from its lower left."""


class RubberBand:
    """One rectangle in one view.

    Args:
        interactor: Of the view.
    """

    def __init__(self, interactor: vtk.vtkRenderWindowInteractor) -> None:
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
        self._actor.GetProperty().SetColor(*COLOURS[BOX])
        self._actor.GetProperty().SetLineWidth(LINE_PX)

    def show(self, start: Place, end: Place) -> None:
        """The rectangle between two opposite corners."""
        (left, low), (right, high) = start, end
        corners = (left, low), (right, low), (right, high), (left, high), (left, low)
        self._points.SetNumberOfPoints(len(corners))
        for number, (x, y) in enumerate(corners):
            self._points.SetPoint(number, x, y, 0)
        self._points.Modified()
        self._source.Modified()
        if self._renderer is None:
            self._renderer = self._interactor.FindPokedRenderer(*start)
            self._renderer.AddViewProp(self._actor)
        self._interactor.GetRenderWindow().Render()

    def hide(self) -> None:
        """Nothing is drawn any more."""
        if self._renderer is not None:
            self._renderer.RemoveViewProp(self._actor)
            self._renderer = None
            self._interactor.GetRenderWindow().Render()
