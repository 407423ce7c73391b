"""The tools of the mouse in the slice views, and what their buttons say in both panels."""

from dataclasses import dataclass
from enum import Enum

from NeuroSAM2Lib.i18n import tr as _


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
    ),
)
"""Slicer has these as effects of its Segment Editor."""
STROKE_TOOLS = tuple(one.tool for one in (*DRAWN_PROMPTS, *PART_TOOLS, *PAINT_TOOLS))
