"""What the engine works with along one axis of a volume, and an object's memories as a crop sees them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from NeuroSAM2Core.engine.crop import Crop, CropPlanner, logits_in_crop
from NeuroSAM2Core.engine.feature_cache import FeatureCache
from NeuroSAM2Core.engine.memory_bank import SliceMemory
from NeuroSAM2Core.engine.memory_selection import MemoryRules
from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.track import SliceState
from NeuroSAM2Core.model import SAM2, ImageFeatures, MaskPrediction
from NeuroSAM2Core.volume import SliceStack


@dataclass(frozen=True, slots=True)
class AxisContext:
    """One axis of a volume under a model."""

    model: SAM2
    stack: SliceStack
    features: FeatureCache
    crops: CropPlanner
    options: EngineOptions
    """Every open choice is made."""

    @property
    def num_slices(self) -> int:
        """Slices of the stack."""
        return len(self.stack)

    @property
    def memory_rules(self) -> MemoryRules:
        """How far memory reaches for this model."""
        return MemoryRules(
            num_slots=self.model.config.num_mask_memories,
            max_pointers=self.model.config.max_object_pointers,
            max_conditioning=self.options.max_conditioning,
            stride=self.options.memory_stride,
            signed_offsets=self.model.config.has_pointer_time,
        )

    def remember(self, features: ImageFeatures, answer: MaskPrediction, crop: Crop, *, is_prompted: bool) -> SliceState:
        """An answer with the memory made of it."""
        memory = self.model.write_memory(
            features,
            answer.logits,
            answer.presence_logit,
            binarize=is_prompted and self.options.binarize_prompted,
        )
        return SliceState(
            answer.logits,
            float(answer.iou),
            float(answer.presence_logit),
            SliceMemory(memory.bfloat16() if self.options.half_memory else memory, answer.pointer),
            crop,
        )

    def memory_in(self, state: SliceState, number: int, crop: Crop, *, is_prompted: bool) -> SliceMemory:
        """What is remembered of a slice, as if it had been seen in another crop: memories of different crops never mix."""
        if state.crop == crop:
            return state.memory
        logits = logits_in_crop(state.logits, state.crop, crop)
        memory = self.model.write_memory(
            self.features.get(number, crop),
            logits,
            logits.new_tensor([[state.presence_logit]]),
            binarize=is_prompted and self.options.binarize_prompted,
        )
        return replace(state.memory, features=memory.bfloat16() if self.options.half_memory else memory)


@dataclass(slots=True)
class CropMemories(Mapping[int, SliceMemory]):
    """The memories of some slices as one crop sees them, made when they are asked for."""

    context: AxisContext
    states: Mapping[int, SliceState]
    crop: Crop
    is_prompted: bool
    _made: dict[int, SliceMemory] = field(default_factory=dict)

    def __getitem__(self, number: int) -> SliceMemory:
        state = self.states[number]
        if state.crop == self.crop:
            return state.memory
        if number not in self._made:
            self._made[number] = self.context.memory_in(state, number, self.crop, is_prompted=self.is_prompted)
        return self._made[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)
