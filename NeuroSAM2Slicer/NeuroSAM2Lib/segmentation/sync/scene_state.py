"""The prompts and masks of a document, as an engine is told them."""

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote.state_sync import SliceSnapshot, in_order
from NeuroSAM2Core.volume import SliceMask, SlicePlane
from NeuroSAM2Lib.segmentation.document import SegmentationDocument


class SceneState:
    """A `StateSource` over a document.

    Args:
        document: The segmentation document.
    """

    def __init__(self, document: SegmentationDocument) -> None:
        self._document = document
        self.revision = document.node.revision
        """Of the last prompt set; only ever grows."""

    @property
    def unanswered(self) -> dict[int, frozenset[SlicePlane]]:
        """See `StateSource`; a locked object waits until it is unlocked."""
        is_locked = self._document.objects.is_locked
        return {number: record.unanswered for number, record in self._document.records.items() if not is_locked(number)}

    def snapshots(self, object_id: int) -> list[SliceSnapshot]:
        """See `StateSource`."""
        record = self._document.objects.record(object_id)
        planes = {plane for plane in record.quality if plane.axis == record.prompts.axis} | record.unanswered
        return [self._snapshot(object_id, plane) for plane in in_order(planes)]

    def prompt_set(self, object_id: int, plane: SlicePlane) -> PromptSet:
        """See `StateSource`."""
        self.revision += 1
        prompts = self._document.objects.record(object_id).prompts
        is_kept = plane in prompts.planes and plane.index in prompts.kept
        mask = self._document.slice_io.read(object_id, plane) if is_kept else None
        shape = plane.of(self._document.volume.voxels).shape
        return prompts.prompt_set(object_id, plane, revision=self.revision, mask=mask, shape=(shape[0], shape[1]))

    def _snapshot(self, object_id: int, plane: SlicePlane) -> SliceSnapshot:
        record = self._document.objects.record(object_id)
        has_prompts = plane in record.prompts.planes
        mask = self._mask(object_id, plane)
        if plane in record.unanswered:
            return SliceSnapshot(mask=mask if has_prompts else None, unanswered=self.prompt_set(object_id, plane))
        return SliceSnapshot(mask=mask, prompts=self.prompt_set(object_id, plane) if has_prompts else None)

    def _mask(self, object_id: int, plane: SlicePlane) -> SliceMask | None:
        """The mask of a slice; None where it is not known, out of date, or would settle which reading of a new click is meant."""
        record = self._document.objects.record(object_id)
        quality = record.quality.get(plane)
        if quality is None or quality.is_stale or (plane in record.unanswered and quality.num_readings > 1):
            return None
        return SliceMask(
            object_id=object_id,
            plane=plane,
            mask=self._document.slice_io.read(object_id, plane),
            predicted_iou=quality.predicted_iou,
            object_score=quality.object_score,
            num_readings=quality.num_readings,
            ending=quality.ending,
        )
