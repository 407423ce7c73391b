"""What the engine has to say, put where it belongs: masks into segments, sentences to the person.

A new engine in place of a dead one is told everything here.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.protocol import Disconnected, Event
from NeuroSAM2Core.volume import SliceMask
from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.objects.record import ObjectRecord
from NeuroSAM2MRML.session.desk import SessionDesk
from NeuroSAM2MRML.session.engine_talk import EngineTalk
from NeuroSAM2MRML.session.outcomes import Answered, Cleaned, JourneyEnded, Previewed, Problem, Tracked, VolumeGone
from NeuroSAM2MRML.session.preview import Preview
from NeuroSAM2MRML.view_state import ending_sentence

TURN_S = 0.03
"""Events are taken in for so long at a time, so that a window stays alive however many come at once."""
RESTARTED = _("the engine ended unexpectedly and was started again; nothing is lost")
STOPPED = _("stopped; what is done stays")


@dataclass(frozen=True, slots=True)
class News:
    """What an event means for the person."""

    sentence: str = ""
    """Empty where there is nothing to say."""
    is_trouble: bool = False
    """Something is wrong with the engine or the journal; the next mask shows that it is over."""
    is_mask: bool = False
    """A mask has come."""


def _sentence_on_ends(record: ObjectRecord) -> str:
    """Where an object ends and why; empty where that is not known."""
    ends = [(plane.index, record.quality[plane].ending) for plane in record.ends()]
    said = [
        _("on slice {index} ({why})").format(index=index, why=ending_sentence(ending))
        for index, ending in ends
        if ending
    ]
    return _("the object ends {places}").format(places=_(" and ").join(said)) if said else ""


class SessionEvents:
    """Takes in events.

    Args:
        desk: The scene's side.
        talk: The engine's side.
        preview: Gets answers that change nothing.
    """

    def __init__(self, desk: SessionDesk, talk: EngineTalk, preview: Preview) -> None:
        self._desk, self._talk, self._preview = desk, talk, preview
        self._pending: deque[Event] = deque()

    @property
    def has_more(self) -> bool:
        """Some events have not been taken in yet."""
        return bool(self._pending)

    def take_in(self, events: Iterable[Event]) -> list[News]:
        """Does what events ask for, for a moment; what is left then is for the next time.

        Args:
            events: Those that have come since.

        Returns:
            What they mean for the person, in their order.
        """
        self._pending.extend(events)
        until, news = time.monotonic() + TURN_S, []
        while self._pending:
            news.append(self._take(self._pending.popleft()))
            if time.monotonic() >= until:
                break
        return news

    def _take(self, event: Event) -> News:
        try:
            return News(self._revive(event)) if isinstance(event, Disconnected) else self._read(event)
        except NeuroSAM2Error as error:
            return News(str(error))

    def _read(self, event: Event) -> News:
        is_mask = False
        match self._talk.read(event):
            case Answered(mask, first, last):
                self._desk.put(mask, (first, last), sure_iou=self._talk.link.sure_iou)
                self._desk.node.note_model(self._talk.link.model.model, self._talk.link.sha256)
                self._desk.remember(self._talk.revision)
                is_mask = True
            case Tracked(mask):
                is_mask = True
                self._desk.node.note_model(self._talk.link.model.model, self._talk.link.sha256)
                self._put_unconfirmed(mask)
            case Cleaned(mask, is_first):
                if is_first:
                    self._desk.begin_step(_("Clean up"))
                self._put_unconfirmed(mask)
            case Previewed(shown):
                self._preview.take(shown)
            case JourneyEnded(was_stopped):
                self._desk.remember(self._talk.revision)
                return News(STOPPED if was_stopped else _sentence_on_ends(self._desk.active_record))
            case VolumeGone(reason):
                self._resume()
                return News(reason, is_trouble=True)
            case Problem(sentence):
                return News(sentence, is_trouble=True)
            case None:
                pass
        return News(self._desk.journal.problem, is_trouble=True, is_mask=is_mask)

    def _put_unconfirmed(self, mask: SliceMask) -> None:
        if mask.plane not in self._desk.objects.record(mask.object_id).prompts.planes:
            self._desk.put(mask, sure_iou=self._talk.link.sure_iou)

    def _revive(self, event: Disconnected) -> str:
        """The engine has died: another one is told everything, if there is anything to do."""
        self._talk.lost()
        if self._resume():
            return RESTARTED
        return _("the engine ended: {reason}; the next prompt starts it again").format(reason=event.reason)

    def _resume(self) -> bool:
        """Tells the engine everything again, if there is anything to do; says whether there is."""
        records = self._desk.records
        has_work = self._talk.journey is not None or any(record.unanswered for record in records.values())
        if has_work:
            self._talk.catch_up(self._desk.volume, records)
        return has_work
