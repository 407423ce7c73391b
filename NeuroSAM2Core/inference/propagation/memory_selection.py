"""Selects the slices that memory attention uses. Integers only, no tensors.

A slice sees every conditioning slice (those with prompts), the few slices that were done just before it, and the object pointers of
both. The engine and the trainer ask the same function.

Source: Ravi et al. 2024, section 4 ("Memory bank") and appendix D.1.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


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
