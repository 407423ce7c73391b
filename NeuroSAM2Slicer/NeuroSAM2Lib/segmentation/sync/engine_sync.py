"""Synchronises a volume's objects with the engine: sends prompts, restores state, and reads answers.

The scene is the only truth and the engine a cache: `sync` tells it whatever it does not know yet, everything if it is new,
or if undo has changed what it knew. Answers to anything older than the last prompt set are dropped here.
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote import (
    AUTOMATIC,
    EngineSwitches,
    Event,
    Failed,
    Precompute,
    PredictSlice,
    PreviewSlice,
    RemoveObject,
    SliceAnswered,
    SlicePreviewed,
    Superseded,
    VolumeClosed,
    VolumeOpened,
)
from NeuroSAM2Core.remote.state_sync import SliceSnapshot, restore_requests
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, SliceMask, SlicePlane, Volume
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.segmentation.objects.object_record import ObjectRecord
from NeuroSAM2Lib.segmentation.sync.engine_results import (
    Answered,
    Cleaned,
    EngineResult,
    Previewed,
    Problem,
    PropagationRequest,
    VolumeLost,
)
from NeuroSAM2Lib.segmentation.sync.propagation_sync import PropagationSync

MAX_PREVIEW_SLICES = 32
"""At most this many slices of an object are restored for a preview; more would take a while."""
Key = tuple[int, SlicePlane]
ReadMask = Callable[[int, SlicePlane], NDArray[np.bool_]]
"""The object on a slice as the scene has it."""


class EngineSync:
    """Synchronises one volume with the engine.

    Args:
        link: The connection to the engine.
        read_mask: Reads masks of the scene, to restore them on the engine.
    """

    def __init__(self, link: EngineLink, read_mask: ReadMask) -> None:
        self.link = link
        self.revision = 0
        """Of the last prompt set; only ever grows."""
        self.cleanup = DEFAULT_CLEANUP
        """How masks are cleaned from the next answer on."""
        self.switches = AUTOMATIC
        """What the engine does for the volume; see `switch`."""
        self._propagation = PropagationSync(link)
        self._read_mask = read_mask
        self._volume_id = ""
        self._is_open = False
        self._generation = -1
        self._current: set[int] = set()
        self._expected: dict[Key, int] = {}
        self._predictions: dict[int, Key] = {}
        self._preview_number = 0
        self._visible_plane: SlicePlane | None = None

    @property
    def propagation_request(self) -> PropagationRequest | None:
        """The current propagation."""
        return self._propagation.propagation_request

    @property
    def progress(self) -> tuple[int, int]:
        """Slices of it that are done, and slices at most."""
        return self._propagation.progress

    @property
    def is_stopping(self) -> bool:
        """It is about to stop."""
        return self._propagation.is_stopping

    @property
    def is_starting(self) -> bool:
        """The volume is not open yet."""
        return self.link.engine is not None and not self._is_open

    @property
    def is_waiting(self) -> bool:
        """Some click has no answer yet."""
        return bool(self._expected)

    @property
    def _is_current(self) -> bool:
        """The engine that runs was told of the volume, under the model that it has."""
        is_sent = bool(self._volume_id) and self._generation == self.link.generation
        return is_sent and self.link.engine is not None

    def invalidate_volume(self) -> None:
        """Invalidates everything that the engine knows, including the volume."""
        self._volume_id = ""
        self._invalidate_all()

    def switch(self, switches: EngineSwitches) -> bool:
        """The engine does these things from now on; says whether it must be told of everything anew for that."""
        is_other = switches != self.switches
        self.switches = switches
        if is_other and self._is_current:
            self.invalidate_volume()
            return True
        return False

    def forget(self, object_id: int) -> None:
        """Invalidates an object on the engine; answers under way about it are void."""
        self._current.discard(object_id)
        for key in [key for key in self._expected if key[0] == object_id]:
            del self._expected[key]

    def open(self, volume: Volume) -> None:
        """Makes sure that an engine runs and has the volume.

        Raises:
            WorkerError: None can be had.
        """
        if self._is_current:
            return
        self._volume_id = self.link.open(volume, self.switches)
        self._generation = self.link.generation
        self._invalidate_all()

    def sync(self, volume: Volume, records: dict[int, ObjectRecord]) -> None:
        """Sends all requests that are pending.

        Raises:
            WorkerError: The engine cannot be started.
        """
        self.open(volume)
        for object_id, record in records.items():
            if object_id not in self._current and record.unanswered:
                self._send_object(object_id, record)
            else:
                for plane in _in_order(record.unanswered):
                    self._request_mask(object_id, record, plane)
        if self._propagation.is_due:
            self._start_propagation(records)

    def propagate(
        self, volume: Volume, records: dict[int, ObjectRecord], propagation_request: PropagationRequest
    ) -> None:
        """Starts a propagation; see `sync` for what is raised."""
        self._propagation.ask(propagation_request)
        self.sync(volume, records)

    def stop(self) -> None:
        """Asks the engine to stop the propagation; what it still sends until then counts."""
        self._propagation.stop()

    def abandon(self) -> None:
        """Ends the propagation at once: what the engine still sends does not count."""
        self._propagation.abandon()

    def set_visible_plane(self, plane: SlicePlane) -> None:
        """Sets the visible slice, whose features may be precomputed."""
        if self._is_current and plane != self._visible_plane:
            self._visible_plane = plane
            self.link.submit(Precompute(volume_id=self._volume_id, axis=plane.axis, index=plane.index))

    def preview(self, prompts: PromptSet, record: ObjectRecord) -> bool:
        """Requests a preview of prompts without keeping it; false while the engine is busy or not ready.

        Args:
            prompts: All prompts that an object would have on a slice.
            record: What is known of the object.
        """
        is_quiet = not self.is_waiting and self.propagation_request is None and not self._preview_number
        is_free = self._is_current and self._is_open and is_quiet
        is_known = prompts.object_id in self._current or len(record.quality) <= MAX_PREVIEW_SLICES
        if not is_free or not is_known or record.unanswered:
            return False
        if prompts.object_id not in self._current:
            self._send_object(prompts.object_id, record)
        request = PreviewSlice(volume_id=self._volume_id, prompts=prompts, cleanup=self.cleanup)
        self._preview_number = self.link.submit(request)
        return True

    def lost(self) -> None:
        """Handles the end of the engine: open requests will not be answered."""
        self.invalidate_volume()

    def read(self, event: Event) -> EngineResult | None:
        """The result of an event for the scene; None if it has none."""
        if self._preview_number and getattr(event, "request_id", 0) == self._preview_number:
            self._preview_number = 0
            return Previewed(event.mask if isinstance(event, SlicePreviewed) else None)
        if self._propagation.is_about(event):
            return self._read_propagation(event)
        match event:
            case VolumeOpened() if event.volume_id == self._volume_id:
                self._is_open = True
            case SliceAnswered() if event.request_id in self._predictions:
                return self._read_answer(event)
            case Superseded():
                self._predictions.pop(event.request_id, None)
            case Failed():
                return self._read_failure(event)
            case VolumeClosed() if event.volume_id == self._volume_id and self._is_open and self._is_current:
                self.invalidate_volume()
                return VolumeLost(event.reason)
            case _:
                pass
        return None

    def _invalidate_all(self) -> None:
        self._is_open = False
        self._current.clear()
        self._expected.clear()
        self._predictions.clear()
        self._preview_number = 0
        self._propagation.forget()
        self._visible_plane = None

    def _start_propagation(self, records: dict[int, ObjectRecord]) -> None:
        asked = () if self.propagation_request is None else self.propagation_request.object_ids
        there = tuple(one for one in asked if one in records and records[one].prompts.indices)
        for object_id in there:
            if object_id not in self._current:
                self._send_object(object_id, records[object_id])
        self._propagation.start(self._volume_id, there, self.cleanup)

    def _send_object(self, object_id: int, record: ObjectRecord) -> None:
        """Sends the complete state of an object, as to a worker that knows nothing."""
        self.link.submit(RemoveObject(volume_id=self._volume_id, object_id=object_id))
        axis = record.prompts.axis
        planes = {plane for plane in record.quality if plane.axis == axis} | record.unanswered
        snapshots = [self._snapshot(object_id, record, plane) for plane in _in_order(planes)]
        for request in restore_requests(self._volume_id, tuple(snapshots), self.cleanup):
            number = self.link.submit(request)
            if isinstance(request, PredictSlice):
                self._predictions[number] = object_id, request.prompts.plane
        self._current.add(object_id)

    def _snapshot(self, object_id: int, record: ObjectRecord, plane: SlicePlane) -> SliceSnapshot:
        quality = record.quality.get(plane)
        has_prompts = plane in record.prompts.planes
        mask = None
        is_open = plane in record.unanswered and quality is not None and quality.num_readings > 1
        if quality is not None and not quality.is_stale and not is_open:  # a click is read on a slice without a mask
            mask = SliceMask(
                object_id=object_id,
                plane=plane,
                mask=self._read_mask(object_id, plane),
                predicted_iou=quality.predicted_iou,
                object_score=quality.object_score,
                num_readings=quality.num_readings,
                ending=quality.ending,
            )
        if plane in record.unanswered:
            return SliceSnapshot(
                mask=mask if has_prompts else None, unanswered=self._prompt_set(object_id, record, plane)
            )
        prompts = self._prompt_set(object_id, record, plane, expects=False) if has_prompts else None
        return SliceSnapshot(mask=mask, prompts=prompts)

    def _request_mask(self, object_id: int, record: ObjectRecord, plane: SlicePlane) -> None:
        if (object_id, plane) in self._expected:
            return
        prompts = self._prompt_set(object_id, record, plane)
        request = PredictSlice(volume_id=self._volume_id, prompts=prompts, cleanup=self.cleanup)
        self._predictions[self.link.submit(request)] = object_id, plane

    def invalidate_slice(self, object_id: int, plane: SlicePlane) -> None:
        """The prompts of a slice have changed: an answer under way is void."""
        self._expected.pop((object_id, plane), None)

    def _prompt_set(
        self, object_id: int, record: ObjectRecord, plane: SlicePlane, *, expects: bool = True
    ) -> PromptSet:
        self.revision += 1
        is_kept = plane in record.prompts.planes and plane.index in record.prompts.kept
        mask = self._read_mask(object_id, plane) if is_kept else None
        prompts = record.prompts.prompt_set(object_id, plane, revision=self.revision, mask=mask)
        if expects:
            self._expected[object_id, plane] = self.revision
        return prompts

    def _read_answer(self, event: SliceAnswered) -> EngineResult | None:
        key = event.mask.object_id, event.mask.plane
        self._predictions.pop(event.request_id, None)
        if self._expected.get(key) != event.mask.revision:
            return None
        del self._expected[key]
        return Answered(event.mask, event.stale_first, event.stale_last)

    def _read_propagation(self, event: Event) -> EngineResult | None:
        result = self._propagation.read(event)
        if isinstance(result, Cleaned):  # the engine does not know of it
            self._current.discard(result.mask.object_id)
        return result

    def _read_failure(self, event: Failed) -> EngineResult | None:
        key = self._predictions.pop(event.request_id, None)
        if key is not None:
            self._expected.pop(key, None)
            self._current.discard(key[0])
        if self.link.is_setup(event.request_id):
            self.invalidate_volume()
        return Problem(str(event.to_error()))


def _in_order(planes: Collection[SlicePlane]) -> list[SlicePlane]:
    return sorted(planes, key=lambda plane: (plane.axis, plane.index))
