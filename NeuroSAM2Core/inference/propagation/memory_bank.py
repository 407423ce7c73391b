"""The memory bank: the memory of each slice, and how a selection conditions the image features.

The bank holds one object's memories, or those of a batch of objects that go through the same slices together. Which of them a slice
may look at is decided in `memory_selection`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.inference.propagation.memory_selection import MemoryConfig, MemorySelection, select_memory
from NeuroSAM2Core.model import SAM2, ImageFeatures, PointerMemory, SpatialMemory
from NeuroSAM2Core.model.memory_attention import LayerKeys


class RememberedSlice(Protocol):
    """The memory of one slice, which may be computed when it is asked for."""

    @property
    def features(self) -> Float[Tensor, "b cm s s"]:
        """The grid of memory tokens."""

    @property
    def pointer(self) -> Float[Tensor, "b c"]:
        """The object pointer."""


@dataclass(frozen=True, slots=True)
class SliceMemory:
    """The memory of one slice."""

    features: Float[Tensor, "b cm s s"]
    pointer: Float[Tensor, "b c"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedMemories:
    """The memories that memory attention looks at on one slice, of one object or of several with the same layout."""

    slices: Sequence[SpatialMemory]
    pointers: Sequence[PointerMemory]
    slice_keys: Sequence[LayerKeys] | None
    """Attention keys of the slices where they were kept."""
    slot_keys: LayerKeys | None
    """The temporal slots' share of the keys, likewise."""

    @property
    def layout(self) -> tuple[int, ...]:
        """The slots of the slices and the number of pointers: memories of objects that agree in these are read together."""
        return *(memory.slot for memory in self.slices), len(self.pointers)

    @classmethod
    def joined(cls, several: Sequence["SelectedMemories"]) -> "SelectedMemories":
        """The memories of several objects with the same layout as one batch."""
        first = several[0]
        if len(several) == 1:
            return first
        slices = [
            SpatialMemory(torch.cat([memory.features for memory in rows]), rows[0].slot)
            for rows in zip(*(one.slices for one in several), strict=True)
        ]
        pointers = [
            PointerMemory(
                torch.cat([memory.pointer for memory in rows]),
                torch.tensor([float(memory.offset) for memory in rows]),
            )
            for rows in zip(*(one.pointers for one in several), strict=True)
        ]
        slice_keys = None
        if all(one.slice_keys is not None for one in several):
            slice_keys = [
                tuple(torch.cat(layer) for layer in zip(*rows, strict=True))
                for rows in zip(*(one.slice_keys or () for one in several), strict=True)
            ]
        return cls(slices=slices, pointers=pointers, slice_keys=slice_keys, slot_keys=first.slot_keys)

    def condition(self, model: SAM2, coarse: Float[Tensor, "_ c s s"]) -> Float[Tensor, "b c s s"]:
        """Coarse features, of one slice for all objects or of one for each, conditioned on these memories."""
        if not self.slices:
            return model.without_memory(coarse)
        return model.read_memory(
            coarse, self.slices, self.pointers, slice_keys=self.slice_keys, slot_keys=self.slot_keys
        )


@dataclass(slots=True)
class MemoryBank:
    """The memories of one pass through the slices."""

    config: MemoryConfig
    num_slices: int
    conditioning: Mapping[int, RememberedSlice] = field(default_factory=dict)
    """Slices with prompts, in the order they were prompted."""
    recent: Mapping[int, RememberedSlice] = field(default_factory=dict)
    """Other slices that were done."""
    keys: dict[int, LayerKeys] | None = None
    """Attention keys kept between slices; None where gradients flow."""
    slot_keys: LayerKeys | None = None
    """The temporal slots' share of the keys, kept likewise."""

    def condition(
        self, model: SAM2, features: ImageFeatures, index: int, *, reverse: bool = False
    ) -> Float[Tensor, "b c s s"]:
        """The slice's coarse features conditioned on the selected memories."""
        return self.select(model, features, index, reverse=reverse).condition(model, features.coarse)

    def select(self, model: SAM2, features: ImageFeatures, index: int, *, reverse: bool = False) -> SelectedMemories:
        """The memories that a slice looks at; none where nothing is remembered yet."""
        if not self.conditioning:
            return SelectedMemories(slices=(), pointers=(), slice_keys=None, slot_keys=None)
        selection = select_memory(
            index, list(self.conditioning), self.recent, self.config, num_slices=self.num_slices, reverse=reverse
        )
        slices, pointers = self._recall(selection, features.coarse)
        return SelectedMemories(
            slices=slices,
            pointers=pointers,
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

    def _of(self, index: int) -> RememberedSlice:
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
