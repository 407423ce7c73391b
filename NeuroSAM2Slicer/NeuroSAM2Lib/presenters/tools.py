"""The tools of the mouse in the slice views: what their buttons say in both panels, and what a stroke does.

A stroke is a prompt for the active object (a scribble or a lasso), a repair of a part, or paint; each is one undo step. The repairs that
both panels offer are listed in their order: what a button says, which key presses it, and what it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import LassoPrompt, ScribblePrompt
from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import path_on
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.repair_actions import RepairActions, Scope


class Tool(Enum):
    """What the mouse does."""

    LOOK = "look"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    BOX = "box"
    SCRIBBLE = "scribble"
    NEGATIVE_SCRIBBLE = "scribble-out"
    LASSO = "lasso"
    KEEP_PART = "keep-part"
    REMOVE_PART = "remove-part"
    BRUSH = "brush"
    ERASER = "eraser"
    CUT = "cut"


POINT_TOOLS = (Tool.POSITIVE, Tool.NEGATIVE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolButton:
    """The button of a tool that is drawn with: press, move, release."""

    tool: Tool
    title: str
    key: str
    tip: str
    is_closed: bool = False
    """The line that is drawn ends where it began."""


DRAWN_PROMPTS = (
    ToolButton(
        tool=Tool.SCRIBBLE,
        title=_("Scribble"),
        key="W",
        tip=_("Draw a line through what belongs to the object: it becomes a chain of clicks"),
    ),
    ToolButton(
        tool=Tool.NEGATIVE_SCRIBBLE,
        title=_("Scribble out"),
        key="Shift+W",
        tip=_("Draw a line through what does not belong to the object"),
    ),
    ToolButton(
        tool=Tool.LASSO,
        title=_("Lasso"),
        key="L",
        tip=_("Draw around the object: what is within the line is its outline on this slice"),
        is_closed=True,
    ),
)
PART_TOOLS = (
    ToolButton(
        tool=Tool.KEEP_PART,
        title=_("Keep part"),
        key="K",
        tip=_("Click on a part of the object: all others are removed"),
    ),
    ToolButton(
        tool=Tool.REMOVE_PART,
        title=_("Remove part"),
        key="Shift+K",
        tip=_("Click on a part of the object: it is removed"),
    ),
)
PAINT_TOOLS = (
    ToolButton(tool=Tool.BRUSH, title=_("Brush"), key="Shift+P", tip=_("Paint what belongs to the object")),
    ToolButton(tool=Tool.ERASER, title=_("Eraser"), key="Shift+E", tip=_("Rub out what does not belong to the object")),
    ToolButton(
        tool=Tool.CUT,
        title=_("Scissors"),
        key="Shift+L",
        tip=_("Draw around what does not belong to the object on this slice: it is cut out"),
        is_closed=True,
    ),
)
"""Slicer has these as effects of its Segment Editor."""
STROKE_TOOLS = {one.tool: one for one in (*DRAWN_PROMPTS, *PART_TOOLS, *PAINT_TOOLS)}

SCOPES = {Scope.OBJECT: _("Whole object"), Scope.SLICE: _("This slice")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """One button."""

    name: str
    title: str
    tip: str
    act: Callable[[RepairActions], SlicePlane | None]
    """Gives the slice that is to be shown then; None to stay."""
    key: str = ""
    """Such as U or Shift+N; empty for none."""


REPAIRS = (
    Repair(
        name="largest",
        title=_("Keep largest"),
        tip=_("Remove all parts but the largest"),
        act=RepairActions.keep_largest,
    ),
    Repair(
        name="small",
        title=_("Remove small"),
        tip=_("Remove parts that are narrower than the length above"),
        act=RepairActions.remove_small,
    ),
    Repair(
        name="split",
        title=_("Split"),
        tip=_("Make an object of each part; the largest stays this object"),
        act=RepairActions.split,
    ),
    Repair(name="holes", title=_("Fill holes"), tip=_("Fill what the object encloses"), act=RepairActions.fill_holes),
    Repair(
        name="smooth",
        title=_("Smooth"),
        tip=_("Smooth the outline over the length above (median)"),
        act=RepairActions.smooth,
    ),
    Repair(
        name="open",
        title=_("Cut thin parts"),
        tip=_("Remove what is thinner than twice the length above (opening)"),
        act=RepairActions.open,
    ),
    Repair(
        name="close",
        title=_("Close gaps"),
        tip=_("Fill gaps that are narrower than twice the length above (closing)"),
        act=RepairActions.close,
    ),
    Repair(
        name="grow",
        title=_("Grow"),
        tip=_("Make the object larger all around by the length above"),
        act=RepairActions.grow,
    ),
    Repair(
        name="shrink",
        title=_("Shrink"),
        tip=_("Make the object smaller all around by the length above"),
        act=RepairActions.shrink,
    ),
    Repair(
        name="between",
        title=_("Fill between"),
        tip=_("Draw the slices between confirmed ones from their shapes, without the model"),
        act=RepairActions.fill_between,
        key="Shift+F",
    ),
    Repair(
        name="absent",
        title=_("Not on this slice"),
        tip=_("The object is not on the shown slice; the model is told so"),
        act=RepairActions.remove_from_slice,
        key="Shift+N",
    ),
    Repair(
        name="copy-up",
        title=_("Copy up"),
        tip=_("What is on the shown slice is on the next one, too"),
        act=lambda repairs: repairs.copy_to_neighbour(1),
        key="U",
    ),
    Repair(
        name="copy-down",
        title=_("Copy down"),
        tip=_("What is on the shown slice is on the one before, too"),
        act=lambda repairs: repairs.copy_to_neighbour(-1),
        key="J",
    ),
)
BY_NAME = {one.name: one for one in REPAIRS}


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
