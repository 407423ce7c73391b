"""The preview of a click at the pointer: shown at once, and recorded nowhere.

One preview is under way at a time; of the places that the pointer reaches meanwhile only the last one counts. Nothing here changes
the prompts, known or saved.

A preview outline in the slice views that is no segment: not listed, not saved, not edited.

It is a segmentation node of its own, so that every view that shows segmentations shows it, at the right place of any volume.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.volume import SliceMask, SlicePlane, Volume
from NeuroSAM2Lib.scene.arrays import Matrix, set_voxels, to_vtk
from NeuroSAM2Lib.scene.nodes import remove_node
from NeuroSAM2Lib.scene.segments.layers import LABELMAP, Grid, slab
from NeuroSAM2Lib.scene.views.slice_views import pick_pixel
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.sync.engine_sync import EngineSync

NAME, SEGMENT = "NeuroSAM2 preview", "preview"
COLOUR = (1.0, 0.2, 0.85)
FADED = 0.35
LINE_PX = 2
"""Empty, where masks are filled, and in a colour that is seen on black and on white and that neither prompts nor tissues have."""


class PreviewOutline:
    """One outline on one slice at a time.

    Args:
        scene: Whose views show it.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self._node: slicer.vtkMRMLSegmentationNode | None = None

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The node, while it is in the scene."""
        return self._node if self._node is not None and self.scene.IsNodePresent(self._node) else None

    @property
    def is_shown(self) -> bool:
        """There is something to see."""
        return self.node is not None

    def show(self, volume: Volume, plane: SlicePlane, mask: NDArray[np.bool_]) -> None:
        """Shows the outline of a mask.

        Args:
            volume: The image in the world.
            plane: A slice of it.
            mask: (H, W).
        """
        node = self.node or self._add()
        k, j, i = volume.shape
        extent = slab(Grid(volume.ijk_to_ras, (0, i - 1, 0, j - 1, 0, k - 1)), plane)
        a, b, c, d, e, f = extent
        image = slicer.vtkOrientedImageData()
        image.SetImageToWorldMatrix(to_vtk(volume.ijk_to_ras))
        set_voxels(image, mask.astype(np.uint8).reshape(f - e + 1, d - c + 1, b - a + 1), (a, c, e))
        node.GetSegmentation().GetSegment(SEGMENT).AddRepresentation(LABELMAP, image)
        self._set_opacity(1.0)
        node.Modified()

    def fade(self) -> None:
        """Marks the outline as one of a place that the pointer has left."""
        self._set_opacity(FADED)

    @property
    def is_faded(self) -> bool:
        """The outline is marked as out of date."""
        node = self.node
        return node is not None and node.GetDisplayNode().GetOpacity2DOutline() < 1.0

    def hide(self) -> None:
        """Shows nothing, and leaves nothing in the scene, which may be saved at any time."""
        node, hierarchy = self.node, self._hierarchy
        self._node = None
        if node is None:
            return
        if hierarchy is not None and (item := hierarchy.GetItemByDataNode(node)):
            hierarchy.RemoveItem(item, False, False)
        remove_node(self.scene, node)

    def _set_opacity(self, opacity: float) -> None:
        node = self.node
        if node is not None and node.GetDisplayNode().GetOpacity2DOutline() != opacity:
            node.GetDisplayNode().SetOpacity2DOutline(opacity)

    @property
    def _hierarchy(self) -> slicer.vtkMRMLSubjectHierarchyNode | None:
        return self.scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")

    def _add(self) -> slicer.vtkMRMLSegmentationNode:
        node = self.scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        node.UnRegister(None)
        node.SetName(NAME)
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        node.SetSelectable(False)
        self.scene.AddNode(node)
        hierarchy = self._hierarchy
        if (
            hierarchy is not None
        ):  # hidden nodes get no item of their own, and Slicer looks for the one of every segmentation
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        node.CreateDefaultDisplayNodes()
        segment = slicer.vtkSegment()
        segment.SetName(SEGMENT)
        segment.SetColor(*COLOUR)
        segment.AddRepresentation(LABELMAP, slicer.vtkOrientedImageData())
        node.GetSegmentation().SetSourceRepresentationName(LABELMAP)
        node.GetSegmentation().AddSegment(segment, SEGMENT)
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility3D(False)
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetSliceIntersectionThickness(LINE_PX)
        self._node = node
        return node


QUICK_S = 0.3
"""An outline that comes later than this is no answer to where the pointer is."""
REST = 10.0
"""After a slow answer nothing is asked for this many times as long as it took, so that clicks find the model free."""


STALE_S = 0.3
"""An outline that the pointer has left for so long without a new one is marked as out of date."""


@dataclass(frozen=True, slots=True)
class PreviewThrottle:
    """Throttles previews by the speed of the model."""

    rests_until_s: float = 0.0
    """Seconds of any clock that only goes forward."""

    def may_ask(self, now_s: float) -> bool:
        """It is time for another one."""
        return now_s >= self.rests_until_s

    def after(self, asked_s: float, now_s: float) -> "PreviewThrottle":
        """What an answer that has come now, or failed to, shows."""
        took = now_s - asked_s
        return PreviewThrottle(0.0 if took <= QUICK_S else now_s + REST * took)


@dataclass(frozen=True, slots=True)
class HoveredPixel:
    """The pixel under the pointer."""

    object_id: int
    plane: SlicePlane
    point: PointPrompt


class Preview:
    """The preview of one session.

    Args:
        document: The segmentation document.
        engine_sync: The engine synchronisation.
        clock: Seconds.
    """

    def __init__(
        self, document: SegmentationDocument, engine_sync: EngineSync, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.outline = PreviewOutline(document.host.scene)
        self._document, self._engine_sync, self._clock = document, engine_sync, clock
        self._throttle = PreviewThrottle()
        self._last: HoveredPixel | None = None
        self._wanted: HoveredPixel | None = None
        self._asked: HoveredPixel | None = None
        self._shown: HoveredPixel | None = None
        """What the outline is of."""
        self._asked_s = self._moved_s = 0.0
        self._is_void = False

    def point(self, ras: Matrix, *, positive: bool = True, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Previews a click at the pointer; see `SessionController.place_point`. Outside the volume nothing is shown."""
        hovered = self._hovered_pixel(ras, positive, view)
        if hovered is None:
            self.leave()
        elif hovered != self._last:
            if self._last == self._shown:
                self._moved_s = self._clock()
            self._last = self._wanted = hovered
            self.resume()

    def leave(self) -> None:
        """The pointer has left, or a click has landed: nothing is shown, and an answer under way does not count."""
        self._last = self._wanted = None
        self._is_void = True
        self.outline.hide()

    def resume(self) -> None:
        """Asks for what the pointer is at, if it is time and the engine is free."""
        self._mark_stale()
        hovered = self._wanted
        if hovered is None or not self._throttle.may_ask(self._clock()):
            return
        prompts = self._document.objects.record(hovered.object_id).prompts.with_point(hovered.plane, hovered.point)
        prompt_set = prompts.prompt_set(hovered.object_id, hovered.plane, revision=0, mask=None)
        try:
            is_asked = self._engine_sync.preview(prompt_set)
        except NeuroSAM2Error:  # the next action reports it
            return
        if is_asked:
            self._wanted, self._asked, self._asked_s, self._is_void = None, hovered, self._clock(), False

    def take(self, mask: SliceMask | None) -> None:
        """An answer has come; None where there will be none."""
        self._throttle = self._throttle.after(self._asked_s, self._clock())
        if mask is not None and not self._is_void:
            self.outline.show(self._document.volume, mask.plane, mask.mask)
            self._shown = self._asked
            if self._shown != self._last:
                self._moved_s = self._asked_s
            if self._throttle.may_ask(self._clock()):  # a quick model has time for the slices around
                self._engine_sync.set_visible_plane(mask.plane)
        self.resume()

    def _mark_stale(self) -> None:
        is_old = self._last is not None and self._last != self._shown and self._clock() - self._moved_s >= STALE_S
        if is_old and self.outline.is_shown:
            self.outline.fade()

    def _hovered_pixel(self, ras: Matrix, positive: bool, view: slicer.vtkMRMLSliceNode | None) -> HoveredPixel | None:
        document = self._document
        if document.objects.is_locked(document.active):
            return None
        try:
            if document.has_new_image:
                return None
            picked = pick_pixel(document.volume, ras, axis=document.axis_of(document.active), view=view)
        except NeuroSAM2Error:
            return None
        if picked.is_across:
            return None
        number = document.active or document.next_number
        return HoveredPixel(number, picked.plane, PointPrompt(picked.row, picked.col, positive))
