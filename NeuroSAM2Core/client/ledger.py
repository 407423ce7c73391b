"""Keeps the truth about a volume for owners of prompts and masks that have no scene to keep it in."""

from dataclasses import dataclass, field, replace

from NeuroSAM2Core.client.replay import SliceStatement, Statement
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.protocol.messages import (
    Event,
    Failed,
    LoadModel,
    PredictSlice,
    RemoveObject,
    Request,
    RestoreSlice,
    SliceAnswered,
    SliceTracked,
)
from NeuroSAM2Core.protocol.switches import AUTOMATIC, EngineSwitches
from NeuroSAM2Core.volume import IntensityWindow, SliceMask, SlicePlane, Volume

Place = tuple[int, SlicePlane]
"""An object on a slice."""


@dataclass(slots=True)
class Ledger:
    """The truth about one volume, gathered from what is asked and answered."""

    model: LoadModel
    volume: Volume
    window: IntensityWindow | None = None
    switches: EngineSwitches = AUTOMATIC
    _slices: dict[Place, SliceStatement] = field(default_factory=dict)
    _asked: dict[int, PromptSet] = field(default_factory=dict)

    @property
    def statement(self) -> Statement:
        """The truth as it stands."""
        return Statement(
            model=self.model,
            volume=self.volume,
            window=self.window,
            switches=self.switches,
            slices=tuple(self._slices.values()),
        )

    @property
    def masks(self) -> list[SliceMask]:
        """All masks as they stand."""
        return [one.mask for one in self._slices.values() if one.mask is not None]

    @property
    def object_ids(self) -> list[int]:
        """The objects of which something is known."""
        return sorted({object_id for object_id, _ in self._slices})

    def prompts(self, object_id: int, plane: SlicePlane) -> PromptSet:
        """The latest that was said about an object on a slice; an empty set where nothing was."""
        one = self._slices.get((object_id, plane), SliceStatement())
        return one.unanswered or one.prompts or PromptSet(object_id=object_id, plane=plane)

    def note_request(self, number: int, request: Request) -> None:
        """Notes what is asked and under which number."""
        match request:
            case PredictSlice(prompts=prompts):
                place = prompts.object_id, prompts.plane
                self._asked[number] = prompts
                self._slices[place] = replace(self._slices.get(place, SliceStatement()), unanswered=prompts)
            case RestoreSlice(mask=mask, prompts=prompts):
                self._slices[mask.object_id, mask.plane] = SliceStatement(prompts=prompts, mask=mask)
            case RemoveObject(object_id=object_id):
                for place in [place for place in self._slices if place[0] == object_id]:
                    del self._slices[place]
            case LoadModel():
                self.model = request
            case _:
                pass

    def note_event(self, event: Event) -> None:
        """Notes what is answered; an answer to older prompts changes nothing."""
        match event:
            case SliceAnswered():
                self._note_answer(event)
            case SliceTracked(mask=mask):
                place = mask.object_id, mask.plane
                self._slices[place] = replace(self._slices.get(place, SliceStatement()), mask=mask)
            case Failed(request_id=number) if number in self._asked:
                self._note_failure(self._asked.pop(number))
            case _:
                pass

    def _note_answer(self, event: SliceAnswered) -> None:
        self._asked.pop(event.request_id, None)
        place = event.mask.object_id, event.mask.plane
        said = self._slices.get(place, SliceStatement()).unanswered
        if said is None or said.revision != event.mask.revision:
            return
        if said.is_empty:
            del self._slices[place]
        else:
            self._slices[place] = SliceStatement(mask=event.mask, prompts=said)
        for other, one in list(self._slices.items()):
            is_between = event.stale_first <= other[1].index <= event.stale_last
            if other[0] == place[0] and is_between and one.prompts is None:
                self._keep(other, replace(one, mask=None))

    def _note_failure(self, said: PromptSet) -> None:
        place = said.object_id, said.plane
        one = self._slices.get(place, SliceStatement())
        if one.unanswered is said:
            self._keep(place, replace(one, unanswered=None))

    def _keep(self, place: Place, one: SliceStatement) -> None:
        """Keeps what is known, if anything is."""
        if one == SliceStatement():
            self._slices.pop(place, None)
        else:
            self._slices[place] = one
