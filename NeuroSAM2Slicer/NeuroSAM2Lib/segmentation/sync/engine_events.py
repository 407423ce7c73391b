"""Handles the engine's events: masks into segments, messages to the user.

A new engine in place of a dead one is told everything here.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.remote import Disconnected, Event
from NeuroSAM2Core.volume import SliceMask
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.objects.object_record import ObjectRecord
from NeuroSAM2Lib.segmentation.sync.engine_results import (
    Answered,
    Cleaned,
    Previewed,
    Problem,
    PropagationFinished,
    Tracked,
    VolumeLost,
)
from NeuroSAM2Lib.segmentation.sync.engine_sync import EngineSync
from NeuroSAM2Lib.segmentation.sync.preview import Preview
from NeuroSAM2Lib.view_state import ending_message

TURN_S = 0.03
"""Events are taken in for so long at a time, so that a window stays alive however many come at once."""
RESTARTED = _("the engine ended unexpectedly and was started again; nothing is lost")
STOPPED = _("stopped; what is done stays")


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


class SessionEvents:
    """Handles events.

    Args:
        document: The segmentation document.
        engine_sync: The engine synchronisation.
        preview: Gets answers that change nothing.
    """

    def __init__(self, document: SegmentationDocument, engine_sync: EngineSync, preview: Preview) -> None:
        self._document, self._engine_sync, self._preview = document, engine_sync, preview
        self._pending: deque[Event] = deque()

    @property
    def has_more(self) -> bool:
        """Some events have not been taken in yet."""
        return bool(self._pending)

    def handle(self, events: Iterable[Event]) -> list[Notice]:
        """Does what events ask for, for a moment; what is left then is for the next time.

        Args:
            events: Those that have come since.

        Returns:
            What they mean for the person, in their order.
        """
        self._pending.extend(events)
        until, notice = time.monotonic() + TURN_S, []
        while self._pending:
            notice.append(self._take(self._pending.popleft()))
            if time.monotonic() >= until:
                break
        return notice

    def _take(self, event: Event) -> Notice:
        try:
            return Notice(self._reopen(event)) if isinstance(event, Disconnected) else self._read(event)
        except NeuroSAM2Error as error:
            return Notice(str(error))

    def _read(self, event: Event) -> Notice:
        is_mask = False
        match self._engine_sync.read(event):
            case Answered(mask, first, last):
                self._document.put(
                    mask, (first, last), review_iou_threshold=self._engine_sync.link.review_iou_threshold
                )
                self._document.node.note_model(self._engine_sync.link.model.model, self._engine_sync.link.sha256)
                self._document.remember(self._engine_sync.revision)
                is_mask = True
            case Tracked(mask):
                is_mask = True
                self._document.node.note_model(self._engine_sync.link.model.model, self._engine_sync.link.sha256)
                self._write_unconfirmed(mask)
            case Cleaned(mask, is_first):
                if is_first:
                    self._document.start_step(_("Clean up"))
                self._write_unconfirmed(mask)
            case Previewed(shown):
                self._preview.take(shown)
            case PropagationFinished(was_stopped):
                self._document.remember(self._engine_sync.revision)
                return Notice(STOPPED if was_stopped else _endings_message(self._document.active_record))
            case VolumeLost(reason):
                self._resume()
                return Notice(reason, is_error=True)
            case Problem(sentence):
                return Notice(sentence, is_error=True)
            case None:
                pass
        return Notice(self._document.journal.problem, is_error=True, is_mask=is_mask)

    def _write_unconfirmed(self, mask: SliceMask) -> None:
        if mask.plane not in self._document.objects.record(mask.object_id).prompts.planes:
            self._document.put(mask, review_iou_threshold=self._engine_sync.link.review_iou_threshold)

    def _reopen(self, event: Disconnected) -> str:
        """The engine has died: another one is told everything, if there is anything to do."""
        self._engine_sync.invalidate_volume()
        if self._resume():
            return RESTARTED
        return _("the engine ended: {reason}; the next prompt starts it again").format(reason=event.reason)

    def _resume(self) -> bool:
        """Tells the engine everything again, if there is anything to do; says whether there is."""
        has_work = self._engine_sync.propagation_request is not None or any(
            record.unanswered for record in self._document.records.values()
        )
        if has_work:
            self._engine_sync.sync()
        return has_work
