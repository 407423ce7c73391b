"""The session state on the client's side: prompts and masks, for scripts that have no scene to keep them in."""

from dataclasses import dataclass, field, replace

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote.messages import (
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
from NeuroSAM2Core.remote.state_sync import SliceSnapshot, StateSnapshot
from NeuroSAM2Core.remote.switches import AUTOMATIC, EngineSwitches
from NeuroSAM2Core.volume import IntensityWindow, SliceMask, SlicePlane, Volume

Place = tuple[int, SlicePlane]
"""An object on a slice."""


@dataclass(slots=True)
class SessionState:
    """Prompts and masks of one volume, recorded from requests and events."""

    model: LoadModel
    volume: Volume
    window: IntensityWindow | None = None
    switches: EngineSwitches = AUTOMATIC
    _slices: dict[Place, SliceSnapshot] = field(default_factory=dict)
    _asked: dict[int, PromptSet] = field(default_factory=dict)

    @property
    def snapshot(self) -> StateSnapshot:
        """A snapshot of the current state."""
        return StateSnapshot(
            model=self.model,
            volume=self.volume,
            window=self.window,
            switches=self.switches,
            slices=tuple(self._slices.values()),
        )

    @property
    def masks(self) -> list[SliceMask]:
        """All current masks."""
        return [one.mask for one in self._slices.values() if one.mask is not None]

    @property
    def object_ids(self) -> list[int]:
        """The objects with prompts or masks."""
        return sorted({object_id for object_id, _ in self._slices})

    def prompts(self, object_id: int, plane: SlicePlane) -> PromptSet:
        """The latest prompts of an object on a slice; an empty set where there are none."""
        one = self._slices.get((object_id, plane), SliceSnapshot())
        return one.unanswered or one.prompts or PromptSet(object_id=object_id, plane=plane)

    def note_request(self, number: int, request: Request) -> None:
        """Records a request and its number."""
        match request:
            case PredictSlice(prompts=prompts):
                place = prompts.object_id, prompts.plane
                self._asked[number] = prompts
                self._slices[place] = replace(self._slices.get(place, SliceSnapshot()), unanswered=prompts)
            case RestoreSlice(mask=mask, prompts=prompts):
                self._slices[mask.object_id, mask.plane] = SliceSnapshot(prompts=prompts, mask=mask)
            case RemoveObject(object_id=object_id):
                for place in [place for place in self._slices if place[0] == object_id]:
                    del self._slices[place]
            case LoadModel():
                self.model = request
            case _:
                pass

    def note_event(self, event: Event) -> None:
        """Records an event; an answer to older prompts changes nothing."""
        match event:
            case SliceAnswered():
                self._note_answer(event)
            case SliceTracked(mask=mask):
                place = mask.object_id, mask.plane
                self._slices[place] = replace(self._slices.get(place, SliceSnapshot()), mask=mask)
            case Failed(request_id=number) if number in self._asked:
                self._note_failure(self._asked.pop(number))
            case _:
                pass

    def _note_answer(self, event: SliceAnswered) -> None:
        self._asked.pop(event.request_id, None)
        place = event.mask.object_id, event.mask.plane
        prompts = self._slices.get(place, SliceSnapshot()).unanswered
        if prompts is None or prompts.revision != event.mask.revision:
            return
        if prompts.is_empty:
            del self._slices[place]
        else:
            self._slices[place] = SliceSnapshot(mask=event.mask, prompts=prompts)
        for other, one in list(self._slices.items()):
            is_between = event.stale_first <= other[1].index <= event.stale_last
            if other[0] == place[0] and is_between and one.prompts is None:
                self._keep(other, replace(one, mask=None))

    def _note_failure(self, prompts: PromptSet) -> None:
        place = prompts.object_id, prompts.plane
        one = self._slices.get(place, SliceSnapshot())
        if one.unanswered is prompts:
            self._keep(place, replace(one, unanswered=None))

    def _keep(self, place: Place, one: SliceSnapshot) -> None:
        """Stores a slice's snapshot, or removes an empty one."""
        if one == SliceSnapshot():
            self._slices.pop(place, None)
        else:
            self._slices[place] = one
