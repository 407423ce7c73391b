"""The session state on the client's side: prompts and masks, for scripts that have no scene to keep them in."""

from dataclasses import replace

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote.messages import SliceAnswered
from NeuroSAM2Core.remote.state_sync import SliceSnapshot
from NeuroSAM2Core.volume import SliceMask, SlicePlane

Place = tuple[int, SlicePlane]
"""An object on a slice."""


class SessionState:
    """Prompts and masks of one volume; a `StateSource`."""

    def __init__(self) -> None:
        self._slices: dict[Place, SliceSnapshot] = {}

    @property
    def masks(self) -> list[SliceMask]:
        """All current masks."""
        return [one.mask for one in self._slices.values() if one.mask is not None]

    @property
    def object_ids(self) -> list[int]:
        """The objects with prompts or masks."""
        return sorted({object_id for object_id, _ in self._slices})

    @property
    def unanswered(self) -> dict[int, list[SlicePlane]]:
        """See `StateSource`."""
        waiting: dict[int, list[SlicePlane]] = {}
        for (object_id, plane), one in self._slices.items():
            if one.unanswered is not None:
                waiting.setdefault(object_id, []).append(plane)
        return waiting

    def snapshots(self, object_id: int) -> list[SliceSnapshot]:
        """See `StateSource`; slices with prompts come in the order in which they were first prompted."""
        return [one for place, one in self._slices.items() if place[0] == object_id]

    def prompt_set(self, object_id: int, plane: SlicePlane) -> PromptSet:
        """The latest prompts of an object on a slice, answered or not; an empty set where there are none."""
        one = self._slices.get((object_id, plane), SliceSnapshot())
        return one.unanswered or one.prompts or PromptSet(object_id=object_id, plane=plane)

    def set_prompts(self, prompts: PromptSet) -> None:
        """Sets the prompts of an object on a slice; they have no answer yet."""
        place = prompts.object_id, prompts.plane
        self._slices[place] = replace(self._slices.get(place, SliceSnapshot()), unanswered=prompts)

    def remove(self, object_id: int) -> None:
        """Forgets an object."""
        for place in [place for place in self._slices if place[0] == object_id]:
            del self._slices[place]

    def put(self, mask: SliceMask) -> None:
        """Keeps a mask that was tracked."""
        place = mask.object_id, mask.plane
        self._slices[place] = replace(self._slices.get(place, SliceSnapshot()), mask=mask)

    def answer(self, prompts: PromptSet, event: SliceAnswered) -> None:
        """Keeps the answer to the latest prompts of a slice; tracked masks that it has made stale are gone."""
        place = prompts.object_id, prompts.plane
        if prompts.is_empty:
            del self._slices[place]
        else:
            self._slices[place] = SliceSnapshot(mask=event.mask, prompts=prompts)
        for other, one in list(self._slices.items()):
            is_between = event.stale_first <= other[1].index <= event.stale_last
            if other[0] == prompts.object_id and is_between and one.prompts is None:
                self._keep(other, replace(one, mask=None))

    def refuse(self, prompts: PromptSet) -> None:
        """The latest prompts of a slice cannot be answered: what was there before counts again."""
        place = prompts.object_id, prompts.plane
        self._keep(place, replace(self._slices[place], unanswered=None))

    def _keep(self, place: Place, one: SliceSnapshot) -> None:
        """Stores a slice's snapshot, or removes an empty one."""
        if one == SliceSnapshot():
            self._slices.pop(place, None)
        else:
            self._slices[place] = one
