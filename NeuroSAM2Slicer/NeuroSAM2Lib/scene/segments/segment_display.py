"""How segments are shown in the slice and 3D views. Kept in its display node, which Slicer's modules change, too.

Keeps the closed surfaces of Show 3D while labelmaps change, and updates them when idle.

Slicer throws every representation but the labelmap away once a labelmap says that it has changed, and undo brings back those that
there were when the state was kept. Either would switch Show 3D on or off behind the person's back.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import numpy as np
import slicer
import vtk

from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.segments.layers import LABELMAP, SegmentWatch


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


SURFACE = "Closed surface"
PAUSE_S = 1.0
"""Between two conversions while a propagation is under way, at least."""
REST = 10
"""As many times as long as a conversion took is the pause after it, so that the window stays alive."""


@dataclass(frozen=True, slots=True)
class SurfaceState:
    """Surface and labelmap of a segment."""

    surface: vtk.vtkPolyData | None
    labelmap: slicer.vtkOrientedImageData | None
    label: int


class SurfaceUpdater:
    """The surfaces of one segmentation.

    Args:
        segmentation_node: Whose segments they are of.
        clock: Seconds.
    """

    def __init__(
        self, segmentation_node: slicer.vtkMRMLSegmentationNode, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.node, self._clock = segmentation_node, clock
        self._is_shown = False
        self._stale: set[str] = set()
        self._due_s = 0.0
        self._watch = SceneObserver()
        self._segments = SegmentWatch(segmentation_node)

    def note(self, segment_ids: Collection[str]) -> None:
        """The labelmaps of these segments have changed where they are."""
        self._stale.update(segment_ids)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever happens inside, every segment has a surface afterwards exactly if the segments had one before."""
        before = self._surface_states()
        if before:
            self._is_shown = all(states.surface is not None for states in before.values())
        yield
        self._keep(before)

    def follow(self, *, is_resting: bool) -> None:
        """Converts the segments that have changed.

        Args:
            is_resting: Nothing is under way; otherwise it is done now and then only.
        """
        if not self._stale or not (is_resting or self._clock() >= self._due_s):
            return
        began = self._clock()
        changed, filled = [], []
        for segment_id, states in self._surface_states().items():
            if segment_id in self._stale and states.surface is not None:
                changed.append(segment_id)
                states.surface.ShallowCopy(vtk.vtkPolyData())
                if (
                    states.labelmap is not None and not states.labelmap.IsEmpty()
                ):  # one without voxels cannot be converted
                    filled.append(segment_id)
        self._stale.clear()
        if filled:
            slicer.vtkSlicerSegmentationsModuleLogic.ReconvertAllRepresentations(self.node, filled)
        self._announce(changed)
        self._due_s = self._clock() + max(PAUSE_S, REST * (self._clock() - began))

    def _surface_states(self) -> dict[str, SurfaceState]:
        return self._segments.kept("surfaces", self._read_surface_states)

    def _read_surface_states(self) -> dict[str, SurfaceState]:
        segmentation, states = self.node.GetSegmentation(), {}
        for segment_id in segmentation.GetSegmentIDs():
            segment = segmentation.GetSegment(segment_id)
            states[segment_id] = SurfaceState(
                segment.GetRepresentation(SURFACE), segment.GetRepresentation(LABELMAP), segment.GetLabelValue()
            )
        return states

    def _keep(self, before: dict[str, SurfaceState]) -> None:
        segmentation, after = self.node.GetSegmentation(), self._surface_states()
        if after is before and all((states.surface is not None) is self._is_shown for states in after.values()):
            return
        changed = []
        self._watch.on(segmentation, segmentation.SegmentModified, self._on_modified, priority=FIRST)
        for segment_id, now in after.items():
            wanted = None
            if self._is_shown:
                known = before.get(segment_id)
                wanted = known.surface if known is not None else now.surface or vtk.vtkPolyData()
            if wanted is now.surface:
                continue
            segment = segmentation.GetSegment(segment_id)
            if wanted is None:
                segment.RemoveRepresentation(SURFACE)
            else:
                segment.AddRepresentation(SURFACE, wanted)
            changed.append(segment_id)
        self._watch.off()
        if self._is_shown:
            self._stale.update(_with_other_voxels(before, after))
        if changed:
            segmentation.InvokeEvent(segmentation.ContainedRepresentationNamesModified)
            self._announce(changed)

    def _on_modified(self, segmentation: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        """No event is sent for a surface that is put back; the history would forget what can be redone."""
        self._watch.keep(segmentation, slicer.vtkSegmentation.SegmentModified)

    def _announce(self, segment_ids: Collection[str]) -> None:
        segmentation = self.node.GetSegmentation()
        for segment_id in segment_ids:
            segmentation.InvokeEvent(segmentation.RepresentationModified, segment_id)


def _with_other_voxels(before: dict[str, SurfaceState], after: dict[str, SurfaceState]) -> Iterator[str]:
    """Segments that are new, or whose labelmap was replaced by one that differs for them."""
    known: dict[tuple[int, int], set[int] | None] = {}
    for segment_id, now in after.items():
        was = before.get(segment_id)
        if was is None:
            yield segment_id
        elif was.labelmap is not now.labelmap:
            pair = id(was.labelmap), id(now.labelmap)
            if pair not in known:
                known[pair] = _labels_that_differ(was.labelmap, now.labelmap)
            labels = known[pair]
            if labels is None or was.label != now.label or now.label in labels:
                yield segment_id


def _labels_that_differ(
    one: slicer.vtkOrientedImageData | None, other: slicer.vtkOrientedImageData | None
) -> set[int] | None:
    """The labels whose voxels differ between two labelmaps; None for all."""
    if one is None or other is None or one.IsEmpty() or other.IsEmpty() or one.GetExtent() != other.GetExtent():
        return None
    a, b = voxels_of(one), voxels_of(other)
    differ = a != b
    return {*np.unique(a[differ]).tolist(), *np.unique(b[differ]).tolist()}
