"""What the engine has been told of a volume's objects, what it was asked, and what its answers mean.

The scene is the only truth and the engine a cache: `catch_up` tells it whatever it does not know yet, everything if it is new,
or if undo has changed what it knew. Answers to anything older than the last statement are dropped here.
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.client.replay import SliceStatement, restoring
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.protocol import (
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
from NeuroSAM2Core.volume import BY_ITSELF, SliceMask, SlicePlane, Volume
from NeuroSAM2MRML.engine.link import EngineLink
from NeuroSAM2MRML.objects.record import ObjectRecord
from NeuroSAM2MRML.session.journey_talk import JourneyTalk
from NeuroSAM2MRML.session.outcomes import Answered, Cleaned, Journey, Outcome, Previewed, Problem, VolumeGone

FEW = 32
"""Slices of an object that the engine is told of again for a preview; more would take a while."""
Key = tuple[int, SlicePlane]
ReadMask = Callable[[int, SlicePlane], NDArray[np.bool_]]
"""The object on a slice as the scene has it."""


class EngineTalk:
    """The conversation about one volume.

    Args:
        link: The way to the engine.
        read_mask: The scene's masks, for telling the engine what there is.
    """

    def __init__(self, link: EngineLink, read_mask: ReadMask) -> None:
        self.link = link
        self.revision = 0
        """Of the last statement; only ever grows."""
        self.cleaning = BY_ITSELF
        """How masks are cleaned from the next answer on."""
        self.switches = AUTOMATIC
        """What the engine does for the volume; see `switch`."""
        self._travel = JourneyTalk(link)
        self._read_mask = read_mask
        self._volume_id = ""
        self._is_open = False
        self._generation = -1
        self._current: set[int] = set()
        self._expected: dict[Key, int] = {}
        self._predictions: dict[int, Key] = {}
        self._preview_number = 0
        self._looked_at: SlicePlane | None = None

    @property
    def journey(self) -> Journey | None:
        """The propagation that is under way."""
        return self._travel.journey

    @property
    def progress(self) -> tuple[int, int]:
        """Slices of it that are done, and slices at most."""
        return self._travel.progress

    @property
    def is_stopping(self) -> bool:
        """It is about to stop."""
        return self._travel.is_stopping

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
        is_told = bool(self._volume_id) and self._generation == self.link.generation
        return is_told and self.link.engine is not None

    def forget_volume(self) -> None:
        """The engine must be told everything anew, the volume included."""
        self._volume_id = ""
        self._forget_all()

    def switch(self, switches: EngineSwitches) -> bool:
        """The engine does these things from now on; says whether it must be told of everything anew for that."""
        is_other = switches != self.switches
        self.switches = switches
        if is_other and self._is_current:
            self.forget_volume()
            return True
        return False

    def forget(self, object_id: int) -> None:
        """What the engine knows of an object is not so any more; answers under way about it are void."""
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
        self._forget_all()

    def catch_up(self, volume: Volume, records: dict[int, ObjectRecord]) -> None:
        """Tells and asks whatever has not been.

        Raises:
            WorkerError: The engine cannot be started.
        """
        self.open(volume)
        for object_id, record in records.items():
            if object_id not in self._current and record.unanswered:
                self._tell(object_id, record)
            else:
                for plane in _in_order(record.unanswered):
                    self._ask(object_id, record, plane)
        if self._travel.is_due:
            self._set_out(records)

    def propagate(self, volume: Volume, records: dict[int, ObjectRecord], journey: Journey) -> None:
        """Sets out; see `catch_up` for what is raised."""
        self._travel.ask(journey)
        self.catch_up(volume, records)

    def stop(self) -> None:
        """Asks the engine to stop the propagation; what it still sends until then counts."""
        self._travel.stop()

    def abandon(self) -> None:
        """Ends the propagation at once: what the engine still sends does not count."""
        self._travel.abandon()

    def look_at(self, plane: SlicePlane) -> None:
        """The person looks at this slice: its features may be prepared."""
        if self._is_current and plane != self._looked_at:
            self._looked_at = plane
            self.link.submit(Precompute(volume_id=self._volume_id, axis=plane.axis, index=plane.index))

    def preview(self, said: PromptSet, record: ObjectRecord) -> bool:
        """Asks what prompts would give, of which nothing is kept; false where the engine is busy or not ready for it.

        Args:
            said: All that would be said about an object on a slice.
            record: What is known of the object.
        """
        is_quiet = not self.is_waiting and self.journey is None and not self._preview_number
        is_free = self._is_current and self._is_open and is_quiet
        is_known = said.object_id in self._current or len(record.quality) <= FEW
        if not is_free or not is_known or record.unanswered:
            return False
        if said.object_id not in self._current:
            self._tell(said.object_id, record)
        request = PreviewSlice(volume_id=self._volume_id, prompts=said, cleaning=self.cleaning)
        self._preview_number = self.link.submit(request)
        return True

    def lost(self) -> None:
        """The engine has ended: nothing that was asked will be answered."""
        self.forget_volume()

    def read(self, event: Event) -> Outcome | None:
        """What an event means for the scene; None if nothing."""
        if self._preview_number and getattr(event, "request_id", 0) == self._preview_number:
            self._preview_number = 0
            return Previewed(event.mask if isinstance(event, SlicePreviewed) else None)
        if self._travel.is_about(event):
            return self._read_travel(event)
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
                self.forget_volume()
                return VolumeGone(event.reason)
            case _:
                pass
        return None

    def _forget_all(self) -> None:
        self._is_open = False
        self._current.clear()
        self._expected.clear()
        self._predictions.clear()
        self._preview_number = 0
        self._travel.forget()
        self._looked_at = None

    def _set_out(self, records: dict[int, ObjectRecord]) -> None:
        asked = () if self.journey is None else self.journey.object_ids
        there = tuple(one for one in asked if one in records and records[one].prompts.indices)
        for object_id in there:
            if object_id not in self._current:
                self._tell(object_id, records[object_id])
        self._travel.set_out(self._volume_id, there, self.cleaning)

    def _tell(self, object_id: int, record: ObjectRecord) -> None:
        """Everything about an object, as if nothing had been said before."""
        self.link.submit(RemoveObject(volume_id=self._volume_id, object_id=object_id))
        axis = record.prompts.axis
        planes = {plane for plane in record.quality if plane.axis == axis} | record.unanswered
        statements = [self._statement(object_id, record, plane) for plane in _in_order(planes)]
        for request in restoring(self._volume_id, tuple(statements), self.cleaning):
            number = self.link.submit(request)
            if isinstance(request, PredictSlice):
                self._predictions[number] = object_id, request.prompts.plane
        self._current.add(object_id)

    def _statement(self, object_id: int, record: ObjectRecord, plane: SlicePlane) -> SliceStatement:
        quality = record.quality.get(plane)
        is_said = plane in record.prompts.planes
        mask = None
        is_open = plane in record.unanswered and quality is not None and quality.num_readings > 1
        if quality is not None and not quality.is_stale and not is_open:  # a click is read on a slice without a mask
            mask = SliceMask(
                object_id=object_id,
                plane=plane,
                mask=self._read_mask(object_id, plane),
                predicted_iou=quality.predicted_iou,
                presence=quality.presence,
                num_readings=quality.num_readings,
                ending=quality.ending,
            )
        if plane in record.unanswered:
            return SliceStatement(mask=mask if is_said else None, unanswered=self._said(object_id, record, plane))
        said = self._said(object_id, record, plane, expects=False) if is_said else None
        return SliceStatement(mask=mask, prompts=said)

    def _ask(self, object_id: int, record: ObjectRecord, plane: SlicePlane) -> None:
        if (object_id, plane) in self._expected:
            return
        prompts = self._said(object_id, record, plane)
        request = PredictSlice(volume_id=self._volume_id, prompts=prompts, cleaning=self.cleaning)
        self._predictions[self.link.submit(request)] = object_id, plane

    def restate(self, object_id: int, plane: SlicePlane) -> None:
        """What was said about a slice has changed: an answer under way is void."""
        self._expected.pop((object_id, plane), None)

    def _said(self, object_id: int, record: ObjectRecord, plane: SlicePlane, *, expects: bool = True) -> PromptSet:
        self.revision += 1
        is_kept = plane in record.prompts.planes and plane.index in record.prompts.kept
        mask = self._read_mask(object_id, plane) if is_kept else None
        said = record.prompts.statement(object_id, plane, revision=self.revision, mask=mask)
        if expects:
            self._expected[object_id, plane] = self.revision
        return said

    def _read_answer(self, event: SliceAnswered) -> Outcome | None:
        key = event.mask.object_id, event.mask.plane
        self._predictions.pop(event.request_id, None)
        if self._expected.get(key) != event.mask.revision:
            return None
        del self._expected[key]
        return Answered(event.mask, event.stale_first, event.stale_last)

    def _read_travel(self, event: Event) -> Outcome | None:
        outcome = self._travel.read(event)
        if isinstance(outcome, Cleaned):  # the engine does not know of it
            self._current.discard(outcome.mask.object_id)
        return outcome

    def _read_failure(self, event: Failed) -> Outcome | None:
        key = self._predictions.pop(event.request_id, None)
        if key is not None:
            self._expected.pop(key, None)
            self._current.discard(key[0])
        if self.link.is_setup(event.request_id):
            self.forget_volume()
        return Problem(str(event.to_error()))


def _in_order(planes: Collection[SlicePlane]) -> list[SlicePlane]:
    return sorted(planes, key=lambda plane: (plane.axis, plane.index))
