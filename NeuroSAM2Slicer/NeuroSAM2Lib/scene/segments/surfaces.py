"""Keeps the closed surfaces of Show 3D while labelmaps change, and updates them when idle.

Slicer throws every representation but the labelmap away once a labelmap says that it has changed, and undo brings back those that
there were when the state was kept. Either would switch Show 3D on or off behind the person's back.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.segments.layers import LABELMAP

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
        segmentation, states = self.node.GetSegmentation(), {}
        for segment_id in segmentation.GetSegmentIDs():
            segment = segmentation.GetSegment(segment_id)
            states[segment_id] = SurfaceState(
                segment.GetRepresentation(SURFACE), segment.GetRepresentation(LABELMAP), segment.GetLabelValue()
            )
        return states

    def _keep(self, before: dict[str, SurfaceState]) -> None:
        segmentation, after = self.node.GetSegmentation(), self._surface_states()
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
