"""Model, slices, features and options along one axis of a volume, and an object's memories resampled to a crop."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop, CropPlanner, logits_in_crop
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureCache
from NeuroSAM2Core.inference.propagation.memory_bank import SliceMemory
from NeuroSAM2Core.inference.propagation.memory_selection import MemoryConfig
from NeuroSAM2Core.inference.propagation.track import KeptMemory, SliceState
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

    def state_of(self, answer: MaskPrediction, crop: Crop) -> SliceState:
        """The state of a slice after a prediction; its memory is encoded when it is first read."""
        return SliceState(
            answer.logits, float(answer.iou), float(answer.object_score_logits), answer.pointer, KeptMemory(), crop
        )

    def encode_memory(
        self, features: ImageFeatures, answer: MaskPrediction, crop: Crop, *, is_prompted: bool
    ) -> SliceState:
        """The state of a slice after a prediction, with its memory encoded while its features are at hand."""
        state = self.state_of(answer, crop)
        state.memory.encoded = self._encoded(
            features, answer.logits, answer.object_score_logits, answer.pointer, is_prompted=is_prompted
        )
        return state

    def memory_in(self, state: SliceState, number: int, crop: Crop, *, is_prompted: bool) -> SliceMemory:
        """The memory of a slice in a crop. Memories of different crops never mix: in another crop it is encoded anew."""
        if state.crop == crop and state.memory.encoded is not None:
            return state.memory.encoded
        logits = logits_in_crop(state.logits, state.crop, crop)
        object_score = logits.new_tensor([[state.object_score_logits]])
        memory = self._encoded(
            self.features.get(number, crop), logits, object_score, state.pointer, is_prompted=is_prompted
        )
        if state.crop == crop:
            state.memory.encoded = memory
        return memory

    def _encoded(
        self,
        features: ImageFeatures,
        logits: Float[Tensor, "1 1 s4 s4"],
        object_score_logits: Float[Tensor, "1 1"],
        pointer: Float[Tensor, "1 c"],
        *,
        is_prompted: bool,
    ) -> SliceMemory:
        binarize = is_prompted and self.options.binarize_prompted
        memory = self.model.write_memory(features, logits, object_score_logits, binarize=binarize)
        return SliceMemory(memory.bfloat16() if self.options.half_memory else memory, pointer)


@dataclass(slots=True)
class CropMemories(Mapping[int, SliceMemory]):
    """The memories of some slices in the frame of one crop, computed on demand."""

    context: AxisContext
    states: Mapping[int, SliceState]
    crop: Crop
    is_prompted: bool
    _made: dict[int, SliceMemory] = field(default_factory=dict)

    def __getitem__(self, number: int) -> SliceMemory:
        if number not in self._made:
            state = self.states[number]
            self._made[number] = self.context.memory_in(state, number, self.crop, is_prompted=self.is_prompted)
        return self._made[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)
