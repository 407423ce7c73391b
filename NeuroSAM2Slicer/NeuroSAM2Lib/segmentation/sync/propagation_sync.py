"""The propagation under way: asked for, stopped, given up, and, where that is wanted, its objects cleaned as a whole at the end."""

from dataclasses import dataclass

from NeuroSAM2Core.remote import Cancel, CleanObject, Event, Propagate
from NeuroSAM2Core.volume import Direction, MaskCleanup
from NeuroSAM2Lib.engine.link import EngineLink

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
