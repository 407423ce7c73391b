"""Dragging a box in a slice view."""

import slicer
import vtk

from NeuroSAM2Lib.presenters.drag import Drag
from NeuroSAM2Lib.presenters.rubber_band import Place
from NeuroSAM2Lib.scene.views.slice_views import ras_of
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import BOX, COLOURS

MIN_DRAG_PX = 3
"""A drag shorter than this, in screen pixels, is no box."""


class BoxDrag(Drag):
    """Waits for one box in one view; see `Drag`."""

    def __init__(
        self, session: SessionController, view: slicer.vtkMRMLSliceNode, interactor: vtk.vtkRenderWindowInteractor
    ) -> None:
        super().__init__(session, view, interactor, COLOURS[BOX])

    def line(self, path: list[Place]) -> list[Place]:
        """See `Drag`."""
        (left, low), (right, high) = path[0], path[-1]
        return [(left, low), (right, low), (right, high), (left, high), (left, low)]

    def finish(self, path: list[Place]) -> None:
        """See `Drag`."""
        start, end = path[0], path[-1]
        if max(abs(a - b) for a, b in zip(start, end, strict=True)) < MIN_DRAG_PX:
            return
        self.cancel()
        self.is_done = True
        self.session.drag_box(ras_of(self.view, start), ras_of(self.view, end), view=self.view)
