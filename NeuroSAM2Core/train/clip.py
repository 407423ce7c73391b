"""A batch of clips: runs of consecutive slices with the objects to find in them, in a batch dimension where none sees another."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """B clips of T slices with O objects each."""

    images: Float[Tensor, "b t h w"]
    """Grey slices, 0 to 1."""
    masks: Bool[Tensor, "b o t h w"]
    """The truth."""

    @classmethod
    def stack(cls, clips: list["ClipBatch"]) -> "ClipBatch":
        """Several batches of clips of one shape as one."""
        return cls(torch.cat([c.images for c in clips]), torch.cat([c.masks for c in clips]))

    def to(self, device: torch.device) -> "ClipBatch":
        """The same batch on another device."""
        return ClipBatch(self.images.to(device, non_blocking=True), self.masks.to(device, non_blocking=True))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in memory that a GPU reads by itself; a data loader asks for it."""
        return ClipBatch(self.images.pin_memory(), self.masks.pin_memory())
