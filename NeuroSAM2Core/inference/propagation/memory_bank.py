"""The memory bank: the memory of each slice, and how a selection conditions the image features.

The bank holds one object's memories, or those of a batch of objects that go through the same slices together. Which of them a slice
may look at is decided in `memory_selection`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.inference.propagation.memory_selection import MemoryConfig, MemorySelection, select_memory
from NeuroSAM2Core.model import SAM2, ImageFeatures, PointerMemory, SpatialMemory
from NeuroSAM2Core.model.memory_attention import LayerKeys


@dataclass(frozen=True, slots=True)
class SliceMemory:
    """The memory of one slice."""

    features: Float[Tensor, "b cm s s"]
    pointer: Float[Tensor, "b c"]


@dataclass(slots=True)
class MemoryBank:
    """The memories of one pass through the slices."""

    config: MemoryConfig
    num_slices: int
    conditioning: Mapping[int, SliceMemory] = field(default_factory=dict)
    """Slices with prompts, in the order they were prompted."""
    recent: Mapping[int, SliceMemory] = field(default_factory=dict)
    """Other slices that were done."""
    keys: dict[int, LayerKeys] | None = None
    """Attention keys kept between slices; None where gradients flow."""
    slot_keys: LayerKeys | None = None
    """The temporal slots' share of the keys, kept likewise."""

    def condition(
        self, model: SAM2, features: ImageFeatures, index: int, *, reverse: bool = False
    ) -> Float[Tensor, "b c s s"]:
        """The slice's coarse features conditioned on the selected memories."""
        if not self.conditioning:
            return model.without_memory(features.coarse)
        selection = select_memory(
            index, list(self.conditioning), self.recent, self.config, num_slices=self.num_slices, reverse=reverse
        )
        slices, pointers = self._recall(selection, features.coarse)
        return model.read_memory(
            features.coarse,
            slices,
            pointers,
            slice_keys=self._keys(model, selection, slices),
            slot_keys=self._slot_keys(model, features.coarse.shape[-1]),
        )

    def _recall(
        self, selection: MemorySelection, like: Float[Tensor, "b c s s"]
    ) -> tuple[list[SpatialMemory], list[PointerMemory]]:
        longest = min(self.num_slices, self.config.max_pointers) - 1
        slices = [SpatialMemory(self._of(i).features.to(like.dtype), slot) for i, slot in selection.slices]
        pointers = [
            PointerMemory(self._of(i).pointer, distance / max(longest, 1)) for i, distance in selection.pointers
        ]
        return slices, pointers

    def _of(self, index: int) -> SliceMemory:
        return self.conditioning[index] if index in self.conditioning else self.recent[index]

    def _keys(self, model: SAM2, selection: MemorySelection, slices: list[SpatialMemory]) -> list[LayerKeys] | None:
        if self.keys is None:
            return None
        wanted = [i for i, _ in selection.slices]
        for i in self.keys.keys() - set(wanted):
            del self.keys[i]
        for i, memory in zip(wanted, slices, strict=True):
            if i not in self.keys:
                self.keys[i] = model.memory_attention.keys_of(memory.features)
        return [self.keys[i] for i in wanted]

    def _slot_keys(self, model: SAM2, side: int) -> LayerKeys | None:
        if self.keys is not None and self.slot_keys is None:
            self.slot_keys = model.slot_keys(side)
        return self.slot_keys
