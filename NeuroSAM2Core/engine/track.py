"""One object in the making: what was said about it, slice by slice, and what was answered."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.engine.memory_bank import SliceMemory
from NeuroSAM2Core.engine.passes import Pass
from NeuroSAM2Core.prompts import PromptSet


@dataclass(frozen=True, slots=True)
class SliceState:
    """The answer on one slice and what is remembered of it."""

    logits: Float[Tensor, "1 1 s4 s4"]
    iou: float
    presence_logit: float
    memory: SliceMemory


@dataclass(slots=True)
class ObjectTrack:
    """Everything about one object along one axis."""

    prompts: dict[int, PromptSet] = field(default_factory=dict)
    """By slice, in the order in which the slices were first prompted."""
    confirmed: dict[int, SliceState] = field(default_factory=dict)
    """Answers on prompted slices, in the same order."""
    tracked: dict[int, SliceState] = field(default_factory=dict)
    """Answers on the others."""
    progress: dict[Pass, int] = field(default_factory=dict)
    """Passes that were begun, and how many of their slices are done or need not be done."""

    def state(self, number: int) -> SliceState | None:
        """The answer on a slice."""
        return self.confirmed.get(number) or self.tracked.get(number)

    def forget_between(self, low: int, high: int) -> None:
        """Drops what was tracked strictly between two slices, and the passes through there."""
        for number in [n for n in self.tracked if low < n < high]:
            del self.tracked[number]
        for done in [p for p in self.progress if p.touches(low, high)]:
            del self.progress[done]
