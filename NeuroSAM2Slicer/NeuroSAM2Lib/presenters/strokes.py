"""What a stroke of the mouse does: a prompt, a repair of a part, or paint. The same in every panel.

Prompts that are drawn in a slice view for the active object: scribbles and lassos. Each is one undo step.
"""

from collections.abc import Sequence

import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import LassoPrompt, ScribblePrompt
from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.tools import Tool
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import path_on
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.repair_actions import RepairActions


class StrokeActions:
    """What can be drawn in one view.

    Every action raises `PromptError` where the view is not along the object's slices or the stroke begins outside the volume, and
    `DataError` where the object is locked.

    Args:
        session: The session.
        view: The slice view; says along which axis a new object is segmented.
    """

    def __init__(self, session: SessionController, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        self._session, self._view = session, view

    def scribble(self, path: Sequence[Matrix], *, positive: bool = True) -> None:
        """A line through what belongs to the object, or through what does not; it ends where it leaves the slice.

        Args:
            path: World positions, (3,) in mm each.
            positive: It belongs to the object.
        """
        with self._session.action():
            document = self._session.document
            plane = self._session.pick_drawn(path[0], self._view).plane
            height, width = plane.of(document.volume.voxels).shape
            inside = []
            for row, col in path_on(document.volume, plane, path):
                if not (-0.5 <= row <= height - 0.5 and -0.5 <= col <= width - 0.5):
                    break
                inside.append((row, col))
            prompts = document.active_record.prompts.with_scribble(
                plane, ScribblePrompt.drawn(inside, positive=positive)
            )
            self._session.set_prompts(document.active, prompts, _("Scribble") if positive else _("Negative scribble"))

    def lasso(self, path: Sequence[Matrix]) -> None:
        """A closed outline; what is within it is the object on that slice.

        Raises:
            PromptError: There is no pixel within it.
        """
        with self._session.action():
            document = self._session.document
            plane = self._session.pick_drawn(path[0], self._view).plane
            lasso = LassoPrompt.drawn(path_on(document.volume, plane, path))
            height, width = plane.of(document.volume.voxels).shape
            if not lasso.mask((height, width)).any():
                raise PromptError(_("there is nothing within this lasso"), hint=_("draw it around the object"))
            self._session.set_prompts(
                document.active, document.active_record.prompts.with_lasso(plane, lasso), _("Lasso")
            )


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
