"""How segments are shown in the slice and 3D views. Kept in its display node, which Slicer's modules change, too."""

from dataclasses import dataclass
from enum import Enum

import slicer


class Fill(Enum):
    """What slice views show of a segment."""

    BOTH = "both"
    FILL = "fill"
    OUTLINE = "outline"


@dataclass(frozen=True, kw_only=True, slots=True)
class DisplayStyle:
    """How all segments of a segmentation are shown."""

    opacity: float = 1.0
    """0 to 1, in slice and 3D views."""
    fill: Fill = Fill.BOTH
    is_hidden: bool = False
    """None is shown, whatever is set for each."""


class SegmentDisplay:
    """The display of one segmentation.

    Args:
        segmentation_node: The segmentation; gets a display node with the first change where it has none.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
        self._node = segmentation_node

    @property
    def style(self) -> DisplayStyle:
        """How all segments are shown."""
        display = self._node.GetDisplayNode()
        if display is None:
            return DisplayStyle()
        kinds = {(True, False): Fill.FILL, (False, True): Fill.OUTLINE}
        return DisplayStyle(
            opacity=display.GetOpacity(),
            fill=kinds.get((bool(display.GetVisibility2DFill()), bool(display.GetVisibility2DOutline())), Fill.BOTH),
            is_hidden=not display.GetVisibility(),
        )

    def set_opacity(self, opacity: float) -> None:
        """All segments are so opaque from now on, 0 to 1."""
        self._display().SetOpacity(min(1.0, max(0.0, opacity)))

    def set_fill(self, fill: Fill) -> None:
        """Slice views show this of all segments."""
        display = self._display()
        was_modifying = display.StartModify()
        display.SetVisibility2DFill(fill is not Fill.OUTLINE)
        display.SetVisibility2DOutline(fill is not Fill.FILL)
        display.EndModify(was_modifying)

    def toggle_all(self) -> None:
        """Hides all segments, or shows them again as they were."""
        display = self._display()
        display.SetVisibility(not display.GetVisibility())

    def is_shown(self, segment_id: str) -> bool:
        """A segment is shown wherever the segmentation is."""
        display = self._node.GetDisplayNode()
        return display is None or bool(display.GetSegmentVisibility(segment_id))

    def show(self, segment_id: str, *, is_shown: bool) -> None:
        """Shows or hides a segment."""
        self._display().SetSegmentVisibility(segment_id, is_shown)

    def show_only(self, segment_id: str) -> None:
        """Hides all segments but this one; where they are hidden already, shows all."""
        display = self._display()
        was_modifying = display.StartModify()
        is_alone = tuple(display.GetVisibleSegmentIDs()) == (segment_id,)
        display.SetAllSegmentsVisibility(is_alone)
        display.SetSegmentVisibility(segment_id, True)
        display.SetVisibility(True)
        display.EndModify(was_modifying)

    def keep_deleted(self) -> None:
        """A segment that is deleted and comes back by undo is shown as before from now on."""
        self._display().SetRemoveUnusedDisplayProperties(False)

    def _display(self) -> slicer.vtkMRMLSegmentationDisplayNode:
        if self._node.GetDisplayNode() is None:
            self._node.CreateDefaultDisplayNodes()
        return self._node.GetDisplayNode()
