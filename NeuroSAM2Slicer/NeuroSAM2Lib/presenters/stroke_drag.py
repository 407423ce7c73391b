"""Drawing in a slice view, stroke after stroke."""

from collections.abc import Callable, Sequence

import slicer
import vtk

from NeuroSAM2Lib.presenters.drag import Drag
from NeuroSAM2Lib.presenters.rubber_band import Place
from NeuroSAM2Lib.presenters.tools import Tool
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import ras_of
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import COLOURS, LASSO, NEGATIVE_SCRIBBLE, SCRIBBLE

STROKE_COLOURS = {
    Tool.SCRIBBLE: COLOURS[SCRIBBLE],
    Tool.NEGATIVE_SCRIBBLE: COLOURS[NEGATIVE_SCRIBBLE],
    Tool.REMOVE_PART: COLOURS[NEGATIVE_SCRIBBLE],
    Tool.ERASER: COLOURS[NEGATIVE_SCRIBBLE],
    Tool.CUT: COLOURS[NEGATIVE_SCRIBBLE],
}
CLOSED = (Tool.LASSO, Tool.CUT)


class StrokeDrag(Drag):
    """Waits for strokes in one view; see `Drag`.

    Args:
        session: Gets a notice where something is wrong.
        view: The slice view.
        interactor: Of the view.
        tool: In hand.
        draw: Gets the world positions of each stroke, (3,) in mm.
    """

    def __init__(
        self,
        session: SessionController,
        view: slicer.vtkMRMLSliceNode,
        interactor: vtk.vtkRenderWindowInteractor,
        tool: Tool,
        draw: Callable[[Sequence[Matrix]], None],
    ) -> None:
        super().__init__(session, view, interactor, STROKE_COLOURS.get(tool, COLOURS[LASSO]))
        self._tool, self._draw = tool, draw

    def line(self, path: list[Place]) -> list[Place]:
        """See `Drag`."""
        return [*path, path[0]] if self._tool in CLOSED else path

    def finish(self, path: list[Place]) -> None:
        """See `Drag`."""
        self._draw([ras_of(self.view, place) for place in path])
