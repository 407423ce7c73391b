"""The state of one object: its prompts and masks, slice by slice."""

from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.inference.imported_mask import ImportedMask
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.inference.prediction.slice_predictor import PromptHistory
from NeuroSAM2Core.inference.propagation.ending import Ending
from NeuroSAM2Core.inference.propagation.passes import Pass, neighbours
from NeuroSAM2Core.prompts import PromptSet


@dataclass(slots=True, eq=False)
class KeptMemory:
    """The memory of a slice, empty until it is first read: a click is answered without it."""

    encoded: Float[Tensor, "1 cm s s"] | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return 0 if self.encoded is None else self.encoded.numel() * self.encoded.element_size()


@dataclass(frozen=True, slots=True)
class SliceState:
    """The answer on one slice and what is remembered of it."""

    logits: Float[Tensor, "1 1 s4 s4"]
    iou: float
    object_score_logits: float
    pointer: Float[Tensor, "1 c"]
    """The object pointer."""
    memory: KeptMemory
    """In the state's own crop; `AxisContext.memory_of` reads it."""
    crop: Crop
    """What the model saw of the slice; the logits are its."""
    ending: Ending | None = None
    """Why the object is not on this slice; None where it is, or where a person removed it."""

    @property
    def area(self) -> float:
        """Of the mask, pixels of the slice."""
        height, width = self.logits.shape[-2:]
        return float((self.logits > 0).sum()) * self.crop.height * self.crop.width / (height * width)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.memory.nbytes + sum(t.numel() * t.element_size() for t in (self.logits, self.pointer))


@dataclass(slots=True)
class ObjectTrack:
    """Everything about one object along one axis."""

    prompts: dict[int, PromptSet] = field(default_factory=dict)
    """By slice, in the order in which the slices were first prompted."""
    confirmed: dict[int, SliceState] = field(default_factory=dict)
    """Answers on prompted slices, in the same order."""
    tracked: dict[int, SliceState] = field(default_factory=dict)
    """Answers on the others."""
    imported: dict[int, ImportedMask] = field(default_factory=dict)
    """Masks from before this session. Such a slice has a state once that is needed."""
    prompt_histories: dict[int, PromptHistory] = field(default_factory=dict)
    """What the answers on prompted slices were made of, so that one more click goes on from there."""
    progress: dict[Pass, int] = field(default_factory=dict)
    """Passes that were begun, and how many of their slices are done or need not be done."""

    def scratch_copy(self) -> "ObjectTrack":
        """A copy to try things on: what becomes of it does not become of this one."""
        return ObjectTrack(
            prompts=dict(self.prompts),
            confirmed=dict(self.confirmed),
            tracked=dict(self.tracked),
            imported=dict(self.imported),
            prompt_histories={
                n: replace(
                    one,
                    look=one.look.copy(),
                    prompts=[*one.prompts],
                    answers=[*one.answers],
                    readings=[*one.readings],
                )
                for n, one in self.prompt_histories.items()
            },
            progress=dict(self.progress),
        )

    def state(self, number: int) -> SliceState | None:
        """The answer on a slice."""
        return self.confirmed.get(number) or self.tracked.get(number)

    @property
    def known(self) -> set[int]:
        """The slices that have a mask."""
        return self.confirmed.keys() | self.tracked.keys() | self.imported.keys()

    def done_of(self, run: Pass, *, stop_after_absent: int | None) -> int:
        """How many slices of a pass are done or need not be done: as noted, or as the slices that have a mask say.

        Args:
            run: The pass.
            stop_after_absent: The pass ends after this many slices in a row without the object.
        """
        if run in self.progress:
            return self.progress[run]
        absent = 0
        for count, number in enumerate(run.slices):
            if number not in self.tracked and number not in self.imported:
                return count
            absent = 0 if self._is_present(number) else absent + 1
            if absent == stop_after_absent:
                break
        return len(run.slices)

    def num_absent_before(self, run: Pass, done: int) -> int:
        """How many slices in a row are without the object at the end of the part of a pass that is done.

        Args:
            run: The pass.
            done: So many of its slices.
        """
        known = (n in self.confirmed or self._is_present(n) for n in reversed(run.slices[:done]))
        return next((count for count, is_present in enumerate(known) if is_present), done)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes. The states of tracked slices are alike: the latest speaks for all, however many there are."""
        states = sum(state.nbytes for state in self.confirmed.values())
        if self.tracked:
            states += len(self.tracked) * next(reversed(self.tracked.values())).nbytes
        return states + sum(len(imported.bits) for imported in self.imported.values()) + self.nbytes_of_histories

    @property
    def nbytes_of_histories(self) -> int:
        """Memory that is held so that one more click goes on from those before, bytes."""
        return sum(history.nbytes for history in self.prompt_histories.values())

    def _is_present(self, number: int) -> bool:
        if number in self.imported:
            return self.imported[number].object_score_logits > 0
        return self.tracked[number].object_score_logits > 0

    def has_ended_on(self, number: int) -> bool:
        """A pass has found that the object is not on a slice any more."""
        state = self.imported.get(number) or self.tracked.get(number)
        return number not in self.confirmed and state is not None and bool(state.ending)

    def changed_by(self, number: int, num_slices: int) -> tuple[int, int]:
        """What changes with the prompts of a slice lies strictly between two others.

        These are the nearest confirmed slices. Where there is none on a side, and another confirmed slice shows the object, it is the slice
        on which the object has ended: a correction does not make an object longer.
        """
        low, high = neighbours(self.confirmed, number, num_slices)
        if not any(state.area > 0 for n, state in self.confirmed.items() if n != number):
            return low, high
        if low < 0:
            low = next((n for n in range(number - 1, -1, -1) if self.has_ended_on(n)), low)
        if high == num_slices:
            high = next((n for n in range(number + 1, num_slices) if self.has_ended_on(n)), high)
        return low, high

    def forget(self, number: int) -> None:
        """Drops all that is known of a slice."""
        self.prompts.pop(number, None)
        self.prompt_histories.pop(number, None)
        self.confirmed.pop(number, None)
        self.tracked.pop(number, None)
        self.imported.pop(number, None)

    def forget_between(self, low: int, high: int) -> None:
        """Drops what was tracked strictly between two slices, and the passes through there."""
        for number in [n for n in self.tracked.keys() | self.imported.keys() if low < n < high]:
            self.tracked.pop(number, None)
            self.imported.pop(number, None)
        for done in [p for p in self.progress if p.touches(low, high)]:
            del self.progress[done]
