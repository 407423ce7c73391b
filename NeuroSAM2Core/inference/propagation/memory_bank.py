"""The memory of an object: what is remembered of its slices, and which of them memory attention uses.

`select_memory` works on integers only; the engine and the trainer ask the same function. A slice sees every conditioning slice (those
with prompts), the few slices that were done just before it, and the object pointers of both. The bank holds one object's memories, or
those of a batch of objects that go through the same slices together.

Source: Ravi et al. 2024, section 4 ("Memory bank") and appendix D.1.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.model import SAM2, ImageFeatures, PointerMemory, SpatialMemory
from NeuroSAM2Core.model.memory import LayerKeys


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryConfig:
    """How many memories are used, and how far they reach."""

    num_slots: int = 7
    """Temporal slots: one for conditioning slices, the others for the most recent slices."""
    max_pointers: int = 16
    """Object pointers that are looked at, beside those of conditioning slices."""
    max_conditioning: int | None = None
    """At most this many conditioning slices, the closest ones; None for all. At least 2."""
    stride: int = 1
    """Distance between the recent slices that are looked at, beyond the very last one."""
    past_pointers_only: bool = True
    """Skip pointers of conditioning slices that lie ahead. False while training."""
    signed_offsets: bool = True
    """2.1: pointers of slices that lie ahead have negative offsets. 2.0: False."""


@dataclass(frozen=True, slots=True)
class MemorySelection:
    """The memories that one slice attends to."""

    slices: tuple[tuple[int, int], ...]
    """(slice index, temporal slot) in the order of the memory tokens; slot 0 is a conditioning slice."""
    pointers: tuple[tuple[int, int], ...]
    """(slice index, distance in slices along the pass)."""


def select_memory(
    index: int,
    conditioning: Sequence[int],
    recent: Collection[int],
    config: MemoryConfig,
    *,
    num_slices: int,
    reverse: bool = False,
) -> MemorySelection:
    """The memory of slice `index`.

    Args:
        index: The slice about to be done.
        conditioning: Slices with prompts, in the order they were prompted.
        recent: Other slices that are remembered.
        config: How many memories are used, and how far they reach.
        num_slices: Slices in the volume; bounds the pointers.
        reverse: The pass goes towards lower indices.
    """
    chosen = closest(index, conditioning, config.max_conditioning)
    available = {*recent, *conditioning} - set(chosen)
    slices = [(i, 0) for i in chosen]
    for distance in range(config.num_slots - 1, 0, -1):
        i = _recent_index(index, distance, config.stride, reverse=reverse)
        if i in available:
            slices.append((i, distance))

    sign = -1 if reverse else 1
    pointers = []
    for i in chosen:
        distance = sign * (index - i)
        if distance >= 0 or not config.past_pointers_only:
            pointers.append((i, distance if config.signed_offsets else abs(distance)))
    for distance in range(1, min(num_slices, config.max_pointers)):
        i = index - sign * distance
        if not 0 <= i < num_slices:
            break
        if i in available:
            pointers.append((i, distance))
    return MemorySelection(tuple(slices), tuple(pointers))


def closest(index: int, conditioning: Sequence[int], limit: int | None) -> list[int]:
    """At most `limit` conditioning slices: the nearest before, the nearest at or after, then the nearest of the others."""
    if limit is None or len(conditioning) <= limit:
        return list(conditioning)
    before = [i for i in conditioning if i < index]
    after = [i for i in conditioning if i >= index]
    chosen = ([max(before)] if before else []) + ([min(after)] if after else [])
    others = sorted((i for i in conditioning if i not in chosen), key=lambda i: abs(i - index))
    return (chosen + others)[:limit]


def _recent_index(index: int, distance: int, stride: int, *, reverse: bool) -> int:
    if distance == 1:
        return index + 1 if reverse else index - 1
    if reverse:
        return -(-(index + 2) // stride) * stride + (distance - 2) * stride
    return (index - 2) // stride * stride - (distance - 2) * stride


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
