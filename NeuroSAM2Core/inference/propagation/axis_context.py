"""Model, slices, features and options along one axis of a volume, and an object's memories resampled to a crop."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop, CropPlanner, logits_in_crop
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureCache
from NeuroSAM2Core.inference.propagation.memory_bank import MemoryConfig
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

    def states_with_memory(
        self, features: Sequence[ImageFeatures], answers: Sequence[MaskPrediction], crops: Sequence[Crop]
    ) -> list[SliceState]:
        """The states of the slices of several objects, with their memories encoded together while their features are at hand.

        Each holds what is its own: none keeps the rest of the batch from being let go of.
        """
        states = [
            replace(self.state_of(answer, crop), logits=answer.logits.clone(), pointer=answer.pointer.clone())
            for answer, crop in zip(answers, crops, strict=True)
        ]
        logits, scores = (
            torch.cat(rows) for rows in zip(*((one.logits, one.object_score_logits) for one in answers), strict=True)
        )
        memories = self._encoded(ImageFeatures.joined(features), logits, scores, is_prompted=False)
        for state, memory in zip(states, memories, strict=True):
            state.memory.encoded = memory
        return states

    def memory_of(self, state: SliceState, number: int, crop: Crop, *, is_prompted: bool) -> Float[Tensor, "1 cm s s"]:
        """The memory of a slice in a crop. Memories of different crops never mix: in another crop it is encoded anew."""
        if state.crop == crop and state.memory.encoded is not None:
            return state.memory.encoded
        logits = logits_in_crop(state.logits, state.crop, crop)
        object_score = logits.new_tensor([[state.object_score_logits]])
        (memory,) = self._encoded(self.features.get(number, crop), logits, object_score, is_prompted=is_prompted)
        if state.crop == crop:
            state.memory.encoded = memory
        return memory

    def _encoded(
        self,
        features: ImageFeatures,
        logits: Float[Tensor, "b 1 s4 s4"],
        object_score_logits: Float[Tensor, "b 1"],
        *,
        is_prompted: bool,
    ) -> list[Float[Tensor, "1 cm s s"]]:
        """A memory for each object."""
        binarize = is_prompted and self.options.binarize_prompted
        memories = self.model.write_memory(features, logits, object_score_logits, binarize=binarize)
        dtype = torch.bfloat16 if self.options.half_memory else memories.dtype
        return [one.to(dtype, copy=True) for one in memories.split(1)]


@dataclass(slots=True)
class MemoryInCrop:
    """The memory of a slice in the frame of a crop, encoded when it is first looked at; its pointer is there already."""

    context: AxisContext
    state: SliceState
    number: int
    crop: Crop
    is_prompted: bool
    _encoded: Float[Tensor, "1 cm s s"] | None = None

    @property
    def features(self) -> Float[Tensor, "1 cm s s"]:
        """The grid of memory tokens."""
        if self._encoded is None:
            self._encoded = self.context.memory_of(self.state, self.number, self.crop, is_prompted=self.is_prompted)
        return self._encoded

    @property
    def pointer(self) -> Float[Tensor, "1 c"]:
        """The object pointer, which belongs to no crop."""
        return self.state.pointer


@dataclass(slots=True)
class CropMemories(Mapping[int, MemoryInCrop]):
    """The memories of some slices in the frame of one crop, computed on demand."""

    context: AxisContext
    states: Mapping[int, SliceState]
    crop: Crop
    is_prompted: bool
    _made: dict[int, MemoryInCrop] = field(default_factory=dict)

    def __getitem__(self, number: int) -> MemoryInCrop:
        if number not in self._made:
            state = self.states[number]
            self._made[number] = MemoryInCrop(self.context, state, number, self.crop, self.is_prompted)
        return self._made[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)
