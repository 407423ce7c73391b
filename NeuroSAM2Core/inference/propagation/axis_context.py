"""Model, slices, features and options along one axis of a volume, and an object's memories resampled to a crop."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop, CropPlanner, logits_in_crop
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureCache
from NeuroSAM2Core.inference.propagation.memory_bank import SliceMemory
from NeuroSAM2Core.inference.propagation.memory_selection import MemoryConfig
from NeuroSAM2Core.inference.propagation.track import SliceState
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
    slice_mm: float
    """From one slice to the next."""

    @property
    def num_slices(self) -> int:
        """Slices of the stack."""
        return len(self.stack)

    @property
    def memory_config(self) -> MemoryConfig:
        """The memory configuration of this model."""
        return MemoryConfig(
            num_slots=self.model.config.num_mask_memories,
            max_pointers=self.model.config.max_object_pointers,
            max_conditioning=self.options.max_conditioning,
            stride=self.options.memory_stride,
            signed_offsets=self.model.config.has_pointer_time,
        )

    def diameters_between(self, one: int, other: int, area: float) -> float:
        """The distance of two slices as a multiple of the diameter of a disc of some area, given in pixels of a slice."""
        diameter_mm = 2 * math.sqrt(max(area, 1) * math.prod(self.crops.pixel_mm) / math.pi)
        return abs(one - other) * self.slice_mm / diameter_mm

    def encode_memory(
        self, features: ImageFeatures, answer: MaskPrediction, crop: Crop, *, is_prompted: bool
    ) -> SliceState:
        """A prediction with its encoded memory."""
        memory = self.model.write_memory(
            features,
            answer.logits,
            answer.object_score_logits,
            binarize=is_prompted and self.options.binarize_prompted,
        )
        return SliceState(
            answer.logits,
            float(answer.iou),
            float(answer.object_score_logits),
            SliceMemory(memory.bfloat16() if self.options.half_memory else memory, answer.pointer),
            crop,
        )

    def memory_in(self, state: SliceState, number: int, crop: Crop, *, is_prompted: bool) -> SliceMemory:
        """The memory of a slice re-encoded in another crop, as memories of different crops never mix."""
        if state.crop == crop:
            return state.memory
        logits = logits_in_crop(state.logits, state.crop, crop)
        memory = self.model.write_memory(
            self.features.get(number, crop),
            logits,
            logits.new_tensor([[state.object_score_logits]]),
            binarize=is_prompted and self.options.binarize_prompted,
        )
        return replace(state.memory, features=memory.bfloat16() if self.options.half_memory else memory)


@dataclass(slots=True)
class CropMemories(Mapping[int, SliceMemory]):
    """The memories of some slices in the frame of one crop, computed on demand."""

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
