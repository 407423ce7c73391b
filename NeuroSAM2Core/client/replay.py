"""What must be said again to a worker that knows nothing: after a crash, a reconnection, or for a scene that is opened again.

A `Statement` is the whole truth about one volume, as the owner of prompts and masks knows it. `restate` tells it. Owners that have no
scene to keep the truth in can let a `Ledger` watch what goes out and comes in.
"""

from dataclasses import dataclass, field, replace

from NeuroSAM2Core.client.client import EngineClient
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.protocol.messages import (
    CloseVolume,
    Event,
    LoadModel,
    PredictSlice,
    RemoveObject,
    Request,
    RestoreSlice,
    SliceAnswered,
    SliceTracked,
)
from NeuroSAM2Core.volume import IntensityWindow, SliceMask, SlicePlane, Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceStatement:
    """What is known of one object on one slice."""

    mask: SliceMask | None = None
    """What it looks like."""
    prompts: PromptSet | None = None
    """What was said there and answered with that mask; None for a slice that was tracked."""
    unanswered: PromptSet | None = None
    """What was said since and has no answer yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """All that a worker must know of one volume."""

    model: LoadModel
    volume: Volume
    window: IntensityWindow | None = None
    slices: tuple[SliceStatement, ...] = ()
    """Slices with prompts in the order in which they were first prompted."""


def restate(client: EngineClient, statement: Statement) -> list[int]:
    """Submits all that brings a new worker to where the old one was, and returns the requests' numbers.

    First the slices that are confirmed, then those that were tracked, then the prompts that were not answered, so that these correct what
    is there. What is exact afterwards and what is only close is said in docs/protocol.md.
    """
    numbers = [
        client.submit(statement.model),
        client.open_volume(statement.volume, window=statement.window),
    ]
    key = client.volume_id(numbers[-1])
    numbers += [client.submit(request) for request in restoring(key, statement.slices)]
    return numbers


def restoring(volume_id: str, slices: tuple[SliceStatement, ...]) -> list[RestoreSlice | PredictSlice]:
    """The requests that tell what is known of an open volume, in the order in which they must be sent."""
    confirmed = [one for one in slices if one.prompts is not None]
    tracked = [one for one in slices if one.prompts is None]
    return [
        *(
            RestoreSlice(volume_id=volume_id, mask=one.mask, prompts=one.prompts)
            for one in confirmed + tracked
            if one.mask is not None
        ),
        *(PredictSlice(volume_id=volume_id, prompts=one.unanswered) for one in slices if one.unanswered is not None),
    ]


@dataclass(slots=True)
class Ledger:
    """The truth about one volume, gathered from what is asked and answered."""

    model: LoadModel
    volume: Volume
    window: IntensityWindow | None = None
    _slices: dict[tuple[int, SlicePlane], SliceStatement] = field(default_factory=dict)

    def note_request(self, request: Request) -> None:
        """Notes what was asked."""
        match request:
            case PredictSlice(prompts=prompts):
                key = prompts.object_id, prompts.plane
                self._slices[key] = replace(self._slices.get(key, SliceStatement()), unanswered=prompts)
            case RestoreSlice(mask=mask, prompts=prompts):
                self._slices[mask.object_id, mask.plane] = SliceStatement(prompts=prompts, mask=mask)
            case RemoveObject(object_id=object_id):
                for key in [key for key in self._slices if key[0] == object_id]:
                    del self._slices[key]
            case CloseVolume():
                self._slices.clear()
            case LoadModel():
                self.model = request
            case _:
                pass

    def note_event(self, event: Event) -> None:
        """Notes what was answered; an answer to older prompts changes nothing."""
        match event:
            case SliceAnswered():
                self._note_answer(event)
            case SliceTracked(mask=mask):
                self._slices[mask.object_id, mask.plane] = replace(
                    self._slices.get((mask.object_id, mask.plane), SliceStatement()), mask=mask
                )
            case _:
                pass

    def _note_answer(self, event: SliceAnswered) -> None:
        key = event.mask.object_id, event.mask.plane
        there = self._slices.get(key, SliceStatement())
        said = there.unanswered
        if said is None or said.revision != event.mask.revision:
            return
        if said.is_empty:
            self._slices.pop(key)
        else:
            self._slices[key] = SliceStatement(mask=event.mask, prompts=said)
        for other, one in list(self._slices.items()):
            is_between = event.stale_first <= other[1].index <= event.stale_last
            if other[0] == key[0] and is_between and one.prompts is None:
                if one.unanswered is None:
                    del self._slices[other]
                else:
                    self._slices[other] = replace(one, mask=None)

    @property
    def statement(self) -> Statement:
        """The truth as it stands."""
        return Statement(model=self.model, volume=self.volume, window=self.window, slices=tuple(self._slices.values()))

    @property
    def masks(self) -> list[SliceMask]:
        """All masks as they stand."""
        return [one.mask for one in self._slices.values() if one.mask is not None]
