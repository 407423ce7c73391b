"""Masks of objects in the scene: written where the editor allows it, and distinguished from manual edits."""

import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.volume import SliceMask, SlicePlane, Volume, pack_mask
from NeuroSAM2Lib.scene.segments.segment_display import SURFACE, SurfaceUpdater
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy, Overwrite, SegmentWriter
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.objects.scene_objects import SegmentedObjects
from NeuroSAM2Lib.view_state import SliceQuality

Mask = NDArray[np.bool_]


def digest_of(mask: Mask) -> int:
    """A number that another mask would not have."""
    return zlib.crc32(pack_mask(mask))


@dataclass(frozen=True, slots=True, eq=False)
class WrittenMask:
    """An answer that was put into the scene."""

    quality: SliceQuality
    mask: Mask
    """(H, W), what is there now."""
    digest_before: int
    """Of what was there before."""


class SegmentSliceIO:
    """The slices of all objects of a session.

    Args:
        host: Knows the editor's settings.
        objects: The objects.
        volume_node: The image.
        volume: The same, read.
        surfaces: Hear of what has changed.
    """

    def __init__(
        self,
        host: Host,
        objects: SegmentedObjects,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        volume: Volume,
        surfaces: SurfaceUpdater,
    ) -> None:
        self._host, self._objects, self._surfaces = host, objects, surfaces
        self._writer = SegmentWriter(objects.node, volume_node, volume)

    def read(self, object_id: int, plane: SlicePlane) -> Mask:
        """An object on a slice."""
        return self._writer.read(self._objects.segment_id(object_id), plane)

    def read_whole(self, object_id: int) -> Mask:
        """An object on the image's grid, (K, J, I)."""
        return self._writer.read_whole(self._objects.segment_id(object_id))

    def reach(self, object_id: int) -> tuple[int, int, int]:
        """How large the part of the image's grid is at most that an object can be on, (K, J, I)."""
        return self._writer.reach(self._objects.segment_id(object_id))

    def together(self) -> AbstractContextManager[None]:
        """The scene hears of all slices that are written meanwhile at the end."""
        return self._writer.together()

    def is_on_image_grid(self, object_id: int) -> bool:
        """The object's voxels are the image's, so that slices hold all of it."""
        return self._writer.is_on_image_grid(self._objects.segment_id(object_id))

    def write(self, object_id: int, mask: SliceMask, policy: EditPolicy | None = None) -> WrittenMask:
        """Puts an answer into the scene.

        Args:
            object_id: The object.
            mask: What it is on a slice.
            policy: Where may be painted and what is overwritten; the editor's own settings if None.

        Raises:
            DataError: The segment is gone.
            GeometryError: It cannot hold that slice.
        """
        policy = policy or EditPolicy.of(self._host.editor_node())
        overwrites = policy.overwrite is not Overwrite.NONE
        segment_id, plane = self._objects.segment_id(object_id), mask.plane
        kept = self._kept_by_others(object_id, plane) if overwrites else ()
        written = self._writer.write(segment_id, plane, mask.mask, policy=policy, keeping=kept)
        self._surfaces.note(written.changed)
        if overwrites:
            self._record_other_edits(object_id, plane)
        digest = digest_of(written.after)
        return WrittenMask(
            SliceQuality.of(mask, digest), written.after, digest_of(written.before) if written.changed else digest
        )

    def clear(self, object_id: int) -> None:
        """Takes all of an object's voxels away."""
        node, segment_id = self._objects.node, self._objects.segment_id(object_id)
        node.GetSegmentation().RemoveRepresentation(SURFACE)  # Slicer would try to make one of no voxels
        slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(node, segment_id)
        self._surfaces.note([segment_id])

    def digest(self, object_id: int, plane: SlicePlane) -> int:
        """A number that another mask there would not have."""
        return digest_of(self.read(object_id, plane))

    def edited_by_hand(self, object_id: int) -> Iterator[SlicePlane]:
        """Slices along the object's axis that hold something else than what was written there."""
        record = self._objects.record(object_id)
        axis = record.prompts.axis
        if axis is None:
            return
        in_use = self._writer.slices_in_use(self._objects.segment_id(object_id), axis)
        for index in sorted({*in_use, *(plane.index for plane in record.quality if plane.axis == axis)}):
            plane = SlicePlane(axis, index)
            quality = record.quality.get(plane)
            if quality is None and plane not in record.unanswered:
                if self.read(object_id, plane).any():
                    yield plane
            elif quality is not None and quality.digest != self.digest(object_id, plane):
                yield plane

    def _kept_by_others(self, object_id: int, plane: SlicePlane) -> set[str]:
        """The segments of other objects that give nothing away on a slice."""
        return {
            segment_id
            for other, segment_id in self._objects.segments.items()
            if other != object_id
            and (self._objects.record(other).prompts.confirms(plane) or self._objects.is_locked(other))
        }

    def _record_other_edits(self, object_id: int, plane: SlicePlane) -> None:
        """Voxels that went to this object are no manual edit of the others."""
        for other, record in self._objects.records.items():
            quality = record.quality.get(plane)
            if other == object_id or quality is None or other not in self._objects.segments:
                continue
            changed = replace(quality, digest=self.digest(other, plane))
            unanswered = record.unanswered
            self._objects.records[other] = record.with_quality(plane, changed).with_unanswered(unanswered)
