"""Keeps an engine up to date with the prompts and masks of one volume, and restores one that knows nothing of them.

The engine is a cache: prompts and masks belong to a `StateSource`, which is a scene or the `SessionState` of a script. `StateSync` knows
what the engine was told of them, sends the rest, and tells answers to the latest prompts from those that are out of date.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote.messages import (
    Event,
    Failed,
    PredictSlice,
    RemoveObject,
    Request,
    RestoreSlice,
    SliceAnswered,
    Superseded,
)
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, MaskCleanup, SliceMask, SlicePlane


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceSnapshot:
    """The prompts and mask of one object on one slice."""

    mask: SliceMask | None = None
    """What it looks like."""
    prompts: PromptSet | None = None
    """The prompts there that were answered with that mask; None for a slice that was tracked."""
    unanswered: PromptSet | None = None
    """Prompts set since then, without an answer yet."""


class StateSource(Protocol):
    """The owner of the prompts and masks of a volume."""

    @property
    def unanswered(self) -> Mapping[int, Collection[SlicePlane]]:
        """By object, the slices whose prompts have no answer yet."""

    def snapshots(self, object_id: int) -> list[SliceSnapshot]:
        """All slices of an object; those with prompts in the order in which they are to be answered."""

    def prompt_set(self, object_id: int, plane: SlicePlane) -> PromptSet:
        """The prompts of a slice without an answer, with a revision that no earlier ones of it had."""


class StateSync:
    """Synchronises the objects of one volume with an engine.

    Args:
        submit: Sends a request to the engine and returns its number.
    """

    def __init__(self, submit: Callable[[Request], int]) -> None:
        self.volume_id = ""
        """The volume, as the engine knows it; empty while none is open."""
        self._submit = submit
        self._known: set[int] = set()
        self._expected: dict[tuple[int, SlicePlane], int] = {}
        self._requests: dict[int, PromptSet] = {}

    @property
    def is_waiting(self) -> bool:
        """Some prompts have no answer yet."""
        return bool(self._expected)

    def begin(self, volume_id: str) -> None:
        """The volume is opened on an engine that knows nothing of it; none is open if the id is empty."""
        self.volume_id = volume_id
        self._known.clear()
        self._expected.clear()
        self._requests.clear()

    def sync(self, source: StateSource, cleanup: MaskCleanup = DEFAULT_CLEANUP) -> None:
        """Asks for all answers that are missing and were not asked for yet."""
        for object_id, planes in source.unanswered.items():
            if planes and object_id not in self._known:
                self.restore(source, object_id, cleanup)
            else:
                for plane in in_order(planes):
                    if (object_id, plane) not in self._expected:
                        self.predict(source.prompt_set(object_id, plane), cleanup)

    def restore(self, source: StateSource, object_id: int, cleanup: MaskCleanup = DEFAULT_CLEANUP) -> list[int]:
        """Sends an object completely, unless the engine knows it. Returns the numbers of the requests."""
        if object_id in self._known:
            return []
        removal = self._submit(RemoveObject(volume_id=self.volume_id, object_id=object_id))
        requests = restore_requests(self.volume_id, source.snapshots(object_id), cleanup)
        numbers = [removal, *map(self._send, requests)]
        self._known.add(object_id)
        return numbers

    def predict(self, prompts: PromptSet, cleanup: MaskCleanup = DEFAULT_CLEANUP) -> int:
        """Asks for the mask of a slice. Returns the number of the request."""
        number = self._send(PredictSlice(volume_id=self.volume_id, prompts=prompts, cleanup=cleanup))
        self._known.add(prompts.object_id)
        return number

    def settle(self, event: Event) -> PromptSet | None:
        """The prompts that an event answers or refuses; None where it is about none, or not about the latest ones of their slice."""
        if not isinstance(event, SliceAnswered | Superseded | Failed):
            return None
        prompts = self._requests.pop(event.request_id, None)
        if prompts is None:
            return None
        if isinstance(event, Failed):
            self._known.discard(prompts.object_id)
        place = prompts.object_id, prompts.plane
        if isinstance(event, Superseded) or self._expected.get(place) != prompts.revision:
            return None
        del self._expected[place]
        return prompts

    def knows(self, object_id: int) -> bool:
        """The engine was told of the object, and nothing has changed since that it was not told."""
        return object_id in self._known

    def restore_later(self, object_id: int) -> None:
        """The object has changed without the engine: it is sent completely the next time; answers under way count."""
        self._known.discard(object_id)

    def forget(self, object_id: int) -> None:
        """The object is another one now: it is sent completely the next time, and answers under way about it are void."""
        self.restore_later(object_id)
        for place in [place for place in self._expected if place[0] == object_id]:
            del self._expected[place]

    def forget_slice(self, object_id: int, plane: SlicePlane) -> None:
        """The prompts of a slice have changed: an answer under way is void."""
        self._expected.pop((object_id, plane), None)

    def _send(self, request: RestoreSlice | PredictSlice) -> int:
        number = self._submit(request)
        if isinstance(request, PredictSlice):
            prompts = request.prompts
            self._requests[number] = prompts
            self._expected[prompts.object_id, prompts.plane] = prompts.revision
        return number


def restore_requests(
    volume_id: str, slices: Iterable[SliceSnapshot], cleanup: MaskCleanup = DEFAULT_CLEANUP
) -> list[RestoreSlice | PredictSlice]:
    """The requests that restore the state of an open volume, in the order in which they must be sent.

    First the slices that are confirmed, then those that were tracked, then the prompts that were not answered, so that these correct what
    is there. What is exact afterwards and what is only close is described in docs/protocol.md.

    Args:
        volume_id: The volume.
        slices: What is known of it.
        cleanup: How masks are cleaned.
    """
    known = list(slices)
    return [
        *(
            RestoreSlice(volume_id=volume_id, mask=one.mask, prompts=one.prompts, cleanup=cleanup)
            for one in sorted(known, key=lambda one: one.prompts is None)
            if one.mask is not None
        ),
        *(
            PredictSlice(volume_id=volume_id, prompts=one.unanswered, cleanup=cleanup)
            for one in known
            if one.unanswered is not None
        ),
    ]


def in_order(planes: Collection[SlicePlane]) -> list[SlicePlane]:
    """Slices by axis and index."""
    return sorted(planes, key=lambda plane: (plane.axis, plane.index))
