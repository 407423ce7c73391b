"""What a stroke of the mouse does: a prompt, a repair of a part, or paint. The same in every panel."""

from collections.abc import Sequence

import slicer

from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.tools import Tool
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.repair_actions import RepairActions
from NeuroSAM2Lib.segmentation.stroke_actions import StrokeActions


def act_on_stroke(
    session: SessionController,
    tool: Tool,
    path: Sequence[Matrix],
    *,
    view: slicer.vtkMRMLSliceNode | None,
    plane: SlicePlane,
    settings: PanelSettings,
) -> None:
    """Does what a tool does along a path.

    Args:
        session: The session.
        tool: In hand.
        path: World positions, (3,) in mm each, from the press of the button to its release.
        view: Where it was drawn.
        plane: The slice that is looked at.
        settings: How repairs are done, and how wide the brush is.

    Raises:
        PromptError: It cannot be done there.
        DataError: The object is locked.
    """
    repairs, prompts = RepairActions(session, plane, settings.repair), StrokeActions(session, view)
    match tool:
        case Tool.SCRIBBLE | Tool.NEGATIVE_SCRIBBLE:
            prompts.scribble(path, positive=tool is Tool.SCRIBBLE)
        case Tool.LASSO:
            prompts.lasso(path)
        case Tool.KEEP_PART:
            repairs.keep_part(path[-1], view)
        case Tool.REMOVE_PART:
            repairs.remove_part(path[-1], view)
        case Tool.BRUSH | Tool.ERASER:
            repairs.paint(path, settings.brush, view, adds=tool is Tool.BRUSH)
        case Tool.CUT:
            repairs.cut(path, view)
