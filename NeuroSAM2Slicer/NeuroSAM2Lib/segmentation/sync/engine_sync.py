"""Synchronises a document with the engine: its volume, its objects, propagation and previews.

The scene is the only truth and the engine a cache: `sync` tells it whatever it does not know yet, everything if it is new, or if undo has
changed what it knew. `handle` writes masks into segments; answers to anything older than the last prompt set are dropped, and a new
engine in place of a dead one is told everything. One propagation at a time is under way: asked for, stopped, given up, and, where that is
wanted, its objects are cleaned as a whole at the end.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote import (
    AUTOMATIC,
    Cancel,
    CleanObject,
    Disconnected,
    EngineSwitches,
    Event,
    Failed,
    Finished,
    Precompute,
    PreviewSlice,
    Progress,
    Propagate,
    SliceAnswered,
    SliceCleaned,
    SlicePreviewed,
    SliceTracked,
    VolumeClosed,
    VolumeOpened,
)
from NeuroSAM2Core.remote.state_sync import SliceSnapshot, StateSync, in_order
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, Direction, MaskCleanup, SliceMask, SlicePlane
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.objects.scene_objects import ObjectRecord
from NeuroSAM2Lib.view_state import ending_message

NOT_SENT = 0
"""The number of a request that is still to be made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PropagationRequest:
    """A request to propagate."""

    object_ids: tuple[int, ...]
    first: int | None = None
    last: int | None = None
    direction: Direction = Direction.BOTH
    beyond: tuple[int, ...] = ()
    """In place of a range: slices where the object has ended, to be done as if it went on there."""


class PropagationSync:
    """One propagation at a time.

    Args:
        link: The connection to the engine.
    """

    def __init__(self, link: EngineLink) -> None:
        self.request: PropagationRequest | None = None
        """As it was asked for; None while nothing is under way."""
        self.progress = (0, 0)
        """Slices done and slices at most."""
        self.is_stopping = False
        self.has_cleaned = False
        """An object was changed when it was looked at as a whole."""
        self._link = link
        self._number = NOT_SENT
        self._propagation: Propagate | None = None
        self._to_clean: list[int] = []

    @property
    def is_due(self) -> bool:
        """True while the request was not sent yet."""
        return self.request is not None and self._number == NOT_SENT

    def ask(self, request: PropagationRequest) -> None:
        """A new one, in place of whatever was under way."""
        self.request, self.progress, self.is_stopping, self._number = (
            request,
            (0, 0),
            False,
            NOT_SENT,
        )
        self.has_cleaned = False

    def start(self, volume_id: str, object_ids: tuple[int, ...], cleanup: MaskCleanup) -> None:
        """Sends the request for the objects that exist; without any, the propagation is over."""
        if self.request is None or not object_ids:
            self.end()
            return
        self._propagation = Propagate(
            volume_id=volume_id,
            object_ids=object_ids,
            first=self.request.first,
            last=self.request.last,
            direction=self.request.direction,
            beyond=self.request.beyond,
            cleanup=cleanup,
        )
        self._to_clean = list(object_ids) if cleanup.is_whole else []
        self._number = self._link.submit(self._propagation)

    def stop(self) -> None:
        """Asks the engine to stop; what it still sends until then counts."""
        if self.is_due:
            self.abandon()
        elif self.request is not None and not self.is_stopping:
            self.is_stopping = True
            self._link.submit(Cancel(target=self._number))

    def abandon(self) -> None:
        """Ends it at once: what the engine still sends does not count."""
        if self._number != NOT_SENT and self._link.engine is not None:
            self._link.submit(Cancel(target=self._number))
        self.end()

    def forget(self) -> None:
        """Marks the request as not sent, after the engine was lost."""
        self._number = NOT_SENT

    def is_about(self, event: Event) -> bool:
        """The event belongs to what is under way."""
        return self._number != NOT_SENT and getattr(event, "request_id", NOT_SENT) == self._number

    def clean_next(self) -> bool:
        """The slices are done: asks for the next object to be looked at as a whole, and says whether there is one."""
        if not self._to_clean or self._propagation is None:
            return False
        volume_id, cleanup = self._propagation.volume_id, self._propagation.cleanup
        request = CleanObject(volume_id=volume_id, object_id=self._to_clean.pop(0), cleanup=cleanup)
        self._number = self._link.submit(request)
        return True

    def end(self) -> None:
        """It is over."""
        self.request, self._number, self.is_stopping = None, NOT_SENT, False


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
        return quality.as_answer(object_id, plane, self._document.slice_io.read(object_id, plane))


TURN_S = 0.03
"""Events are taken in for so long at a time, so that a window stays alive however many come at once."""
RESTARTED = _("the engine ended unexpectedly and was started again; nothing is lost")
STOPPED = _("stopped; what is done stays")
MAX_PREVIEW_SLICES = 32
"""At most this many slices of an object are restored for a preview; more would take a while."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the user about an event."""

    sentence: str = ""
    """Empty where there is nothing to say."""
    is_error: bool = False
    """Something is wrong with the engine or the journal; the next mask shows that it is over."""
    is_mask: bool = False
    """A mask has come."""


def _endings_message(record: ObjectRecord) -> str:
    """Where an object ends and why; empty where that is not known."""
    ends = [(plane.index, record.quality[plane].ending) for plane in record.ends()]
    message = [
        _("on slice {index} ({why})").format(index=index, why=ending_message(ending))
        for index, ending in ends
        if ending
    ]
    return _("the object ends {places}").format(places=_(" and ").join(message)) if message else ""


class EngineSync:
    """Synchronises one volume with the engine.

    Args:
        link: The connection to the engine.
        document: The volume and its objects.
    """

    def __init__(self, link: EngineLink, document: SegmentationDocument) -> None:
        self.link = link
        self.cleanup = DEFAULT_CLEANUP
        """How masks are cleaned from the next answer on."""
        self.switches = AUTOMATIC
        """What the engine does for the volume; see `switch`."""
        self.is_held = False
        """Prompts are not sent for now, so that several can be placed before the engine answers."""
        self._document = document
        self._state = SceneState(document)
        self._objects = StateSync(link.submit)
        self.propagation = PropagationSync(link)
        """The propagation under way; see `propagate`."""
        self._pending: deque[Event] = deque()
        self._is_open = False
        self._generation = -1
        self._preview_number = 0
        self._visible_plane: SlicePlane | None = None

    @property
    def revision(self) -> int:
        """Of the last prompt set; only ever grows."""
        return self._state.revision

    @property
    def volume_id(self) -> str:
        """The volume, as the engine knows it; empty while it was not told of it."""
        return self._objects.volume_id

    @property
    def unanswered(self) -> dict[int, frozenset[SlicePlane]]:
        """Slices whose prompts have no answer yet, by object."""
        return self._state.unanswered

    @property
    def is_starting(self) -> bool:
        """The volume is not open yet."""
        return self.link.engine is not None and not self._is_open

    @property
    def is_waiting(self) -> bool:
        """Some click has no answer yet."""
        return self._objects.is_waiting

    @property
    def has_more(self) -> bool:
        """Some events have not been handled yet."""
        return bool(self._pending)

    @property
    def _is_current(self) -> bool:
        """The engine that runs was told of the volume, under the model that it has."""
        is_sent = bool(self.volume_id) and self._generation == self.link.generation
        return is_sent and self.link.engine is not None

    def invalidate_volume(self) -> None:
        """Invalidates everything that the engine knows, including the volume."""
        self._begin("")

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
        self._objects.forget(object_id)

    def invalidate_slice(self, object_id: int, plane: SlicePlane) -> None:
        """The prompts of a slice have changed: an answer under way is void."""
        self._objects.forget_slice(object_id, plane)

    def sync(self) -> None:
        """Sends all requests that are pending, on a new engine with the volume if there is none.

        Raises:
            WorkerError: The engine cannot be started.
        """
        if not self._is_current:
            volume_id = self.link.open(self._document.volume, self.switches)
            self._generation = self.link.generation
            self._begin(volume_id)
        if not self.is_held or self.propagation.is_due:
            self._objects.sync(self._state, self.cleanup)
        if self.propagation.is_due:
            self._start_propagation()

    def propagate(self, request: PropagationRequest) -> None:
        """Starts a propagation; see `sync` for what is raised."""
        self.propagation.ask(request)
        self.sync()

    def set_visible_plane(self, plane: SlicePlane) -> None:
        """Sets the visible slice, whose features may be precomputed."""
        if self._is_current and plane != self._visible_plane:
            self._visible_plane = plane
            self.link.submit(Precompute(volume_id=self.volume_id, axis=plane.axis, index=plane.index))

    def preview(self, prompts: PromptSet) -> bool:
        """Asks what prompts would give, without keeping it; false while the engine is busy or not ready."""
        record = self._document.objects.record(prompts.object_id)
        is_quiet = not self.is_waiting and self.propagation.request is None and not self._preview_number
        is_free = self._is_current and self._is_open and is_quiet
        is_known = self._objects.knows(prompts.object_id) or len(record.quality) <= MAX_PREVIEW_SLICES
        if not is_free or not is_known or record.unanswered:
            return False
        self._objects.restore(self._state, prompts.object_id, self.cleanup)
        request = PreviewSlice(volume_id=self.volume_id, prompts=prompts, cleanup=self.cleanup)
        self._preview_number = self.link.submit(request)
        return True

    def handle(self, events: Iterable[Event], take_preview: Callable[[SliceMask | None], None]) -> list[Notice]:
        """Does what events ask for, for a moment; what is left then is for the next time.

        Args:
            events: Those that have come since.
            take_preview: Gets the mask of a preview; None where there will be none.

        Returns:
            What they mean for the person, in their order.
        """
        self._pending.extend(events)
        until, notices = time.monotonic() + TURN_S, []
        while self._pending:
            notices.append(self._take(self._pending.popleft(), take_preview))
            if time.monotonic() >= until:
                break
        return notices

    def _take(self, event: Event, take_preview: Callable[[SliceMask | None], None]) -> Notice:
        try:
            if isinstance(event, Disconnected):
                return Notice(self._reopen(event))
            if self._preview_number and getattr(event, "request_id", 0) == self._preview_number:
                self._preview_number = 0
                take_preview(event.mask if isinstance(event, SlicePreviewed) else None)
                return self._journal_notice()
            return self._read_propagation(event) if self.propagation.is_about(event) else self._read(event)
        except NeuroSAM2Error as error:
            return Notice(str(error))

    def _read(self, event: Event) -> Notice:
        prompts = self._objects.settle(event)
        match event:
            case VolumeOpened() if event.volume_id == self.volume_id:
                self._is_open = True
            case SliceAnswered() if prompts is not None:
                self._write(event.mask, (event.stale_first, event.stale_last))
                self._document.remember(self.revision)
                return self._journal_notice(is_mask=True)
            case Failed():
                if self.link.is_setup(event.request_id):
                    self.invalidate_volume()
                return Notice(str(event.to_error()), is_error=True)
            case VolumeClosed() if event.volume_id == self.volume_id and self._is_open and self._is_current:
                self.invalidate_volume()
                self._resume()
                return Notice(event.reason, is_error=True)
            case _:
                pass
        return self._journal_notice()

    def _read_propagation(self, event: Event) -> Notice:
        match event:
            case SliceTracked(mask=mask):
                self._write_unconfirmed(mask)
                return self._journal_notice(is_mask=True)
            case SliceCleaned(mask=mask):
                self._objects.restore_later(mask.object_id)
                if not self.propagation.has_cleaned:
                    self.propagation.has_cleaned = True
                    self._document.start_step(_("Clean up"))
                self._write_unconfirmed(mask)
            case Progress():
                self.propagation.progress = event.done, event.total
            case Finished(was_cancelled=was_stopped) if was_stopped or not self.propagation.clean_next():
                self.propagation.end()
                self._document.remember(self.revision)
                return Notice(STOPPED if was_stopped else _endings_message(self._document.active_record))
            case Failed():
                self.propagation.end()
                return Notice(str(event.to_error()), is_error=True)
            case _:
                pass
        return self._journal_notice()

    def _journal_notice(self, *, is_mask: bool = False) -> Notice:
        return Notice(self._document.journal.problem, is_error=True, is_mask=is_mask)

    def _write_unconfirmed(self, mask: SliceMask) -> None:
        if mask.plane not in self._document.objects.record(mask.object_id).prompts.planes:
            self._write(mask)

    def _write(self, mask: SliceMask, stale: tuple[int, int] | None = None) -> None:
        self._document.put(mask, stale, review_iou_threshold=self.link.review_iou_threshold)
        self._document.node.note_model(self.link.model.model, self.link.sha256)

    def _reopen(self, event: Disconnected) -> str:
        """The engine has died: another one is told everything, if there is anything to do."""
        self.invalidate_volume()
        if self._resume():
            return RESTARTED
        return _("the engine ended: {reason}; the next prompt starts it again").format(reason=event.reason)

    def _resume(self) -> bool:
        """Tells the engine everything again, if there is anything to do; says whether there is."""
        has_work = self.propagation.request is not None or any(self._state.unanswered.values())
        if has_work:
            self.sync()
        return has_work

    def _begin(self, volume_id: str) -> None:
        self._objects.begin(volume_id)
        self._is_open = False
        self._preview_number = 0
        self.propagation.forget()
        self._visible_plane = None

    def _start_propagation(self) -> None:
        asked = () if self.propagation.request is None else self.propagation.request.object_ids
        records = self._document.records
        there = tuple(one for one in asked if one in records and records[one].prompts.indices)
        for object_id in there:
            self._objects.restore(self._state, object_id, self.cleanup)
        self.propagation.start(self.volume_id, there, self.cleanup)
