"""The propagation under way: asked for, stopped, given up, and, where that is wanted, its objects cleaned as a whole at the end."""

from NeuroSAM2Core.protocol import (
    Cancel,
    CleanObject,
    Event,
    Failed,
    Finished,
    Progress,
    Propagate,
    SliceCleaned,
    SliceTracked,
)
from NeuroSAM2Core.volume import Cleaning
from NeuroSAM2MRML.engine.link import EngineLink
from NeuroSAM2MRML.session.outcomes import Cleaned, Journey, JourneyEnded, Outcome, Problem, Tracked

NOT_SAID = 0
"""The number of a request that is still to be made."""


class JourneyTalk:
    """One propagation at a time.

    Args:
        link: The way to the engine.
    """

    def __init__(self, link: EngineLink) -> None:
        self.journey: Journey | None = None
        """As it was asked for; None while nothing is under way."""
        self.progress = (0, 0)
        """Slices done and slices at most."""
        self.is_stopping = False
        self._link = link
        self._number = NOT_SAID
        self._propagation: Propagate | None = None
        self._to_clean: list[int] = []
        self._has_cleaned = False

    @property
    def is_due(self) -> bool:
        """It was asked for, and the engine has not been told."""
        return self.journey is not None and self._number == NOT_SAID

    def ask(self, journey: Journey) -> None:
        """A new one, in place of whatever was under way."""
        self.journey, self.progress, self.is_stopping, self._number = journey, (0, 0), False, NOT_SAID
        self._has_cleaned = False

    def set_out(self, volume_id: str, object_ids: tuple[int, ...], cleaning: Cleaning) -> None:
        """Tells the engine, for those objects that there are; without any, the journey is over."""
        if self.journey is None or not object_ids:
            self._end()
            return
        self._propagation = Propagate(
            volume_id=volume_id,
            object_ids=object_ids,
            first=self.journey.first,
            last=self.journey.last,
            direction=self.journey.direction,
            beyond=self.journey.beyond,
            cleaning=cleaning,
        )
        self._to_clean = list(object_ids) if cleaning.is_whole else []
        self._number = self._link.submit(self._propagation)

    def stop(self) -> None:
        """Asks the engine to stop; what it still sends until then counts."""
        if self.is_due:
            self.abandon()
        elif self.journey is not None and not self.is_stopping:
            self.is_stopping = True
            self._link.submit(Cancel(target=self._number))

    def abandon(self) -> None:
        """Ends it at once: what the engine still sends does not count."""
        if self._number != NOT_SAID and self._link.engine is not None:
            self._link.submit(Cancel(target=self._number))
        self._end()

    def forget(self) -> None:
        """The engine knows nothing of it any more; it is to be told again."""
        self._number = NOT_SAID

    def is_about(self, event: Event) -> bool:
        """The event belongs to what is under way."""
        return self._number != NOT_SAID and getattr(event, "request_id", NOT_SAID) == self._number

    def read(self, event: Event) -> Outcome | None:
        """What an event means for the scene; None if nothing."""
        match event:
            case SliceTracked():
                return Tracked(event.mask)
            case SliceCleaned():
                is_first, self._has_cleaned = not self._has_cleaned, True
                return Cleaned(event.mask, is_first)
            case Progress():
                self.progress = event.done, event.total
            case Finished(was_cancelled=was_stopped):
                if was_stopped or not self._clean_next():
                    self._end()
                    return JourneyEnded(was_stopped)
            case Failed():
                self._end()
                return Problem(str(event.to_error()))
            case _:
                pass
        return None

    def _clean_next(self) -> bool:
        """The slices are done: one object after the other is looked at as a whole."""
        if not self._to_clean or self._propagation is None:
            return False
        volume_id, cleaning = self._propagation.volume_id, self._propagation.cleaning
        request = CleanObject(volume_id=volume_id, object_id=self._to_clean.pop(0), cleaning=cleaning)
        self._number = self._link.submit(request)
        return True

    def _end(self) -> None:
        self.journey, self._number, self.is_stopping = None, NOT_SAID, False
