"""A batch of clips: runs of consecutive slices with the objects to find in them, in a batch dimension where none sees another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """B clips of T slices with O objects each; clips with fewer objects are filled up with ones that are not real."""

    images: Float[Tensor, "b t h w"]
    """Grey slices, 0 to 1."""
    masks: Bool[Tensor, "b o t h w"]
    """The truth."""
    is_real: Bool[Tensor, "b o"] = field(default=cast(Tensor, None))
    """False for an object that only fills the batch and counts nowhere; all True unless given."""

    def __post_init__(self) -> None:
        if self.is_real is None:
            every = torch.ones(self.masks.shape[:2], dtype=torch.bool, device=self.masks.device)
            object.__setattr__(self, "is_real", every)

    @classmethod
    def stack(cls, clips: list["ClipBatch"]) -> "ClipBatch":
        """Several batches of clips of one length and size as one; those with fewer objects are filled up."""
        most = max(clip.masks.shape[1] for clip in clips)
        filled = [clip.padded_to(most) for clip in clips]
        return cls(
            torch.cat([c.images for c in filled]),
            torch.cat([c.masks for c in filled]),
            torch.cat([c.is_real for c in filled]),
        )

    def padded_to(self, num_objects: int) -> "ClipBatch":
        """The same clips with empty objects that are not real added, up to the given number."""
        missing = num_objects - self.masks.shape[1]
        if missing <= 0:
            return self
        return ClipBatch(
            self.images, F.pad(self.masks, (0, 0) * 3 + (0, missing)), F.pad(self.is_real, (0, missing), value=False)
        )

    def to(self, device: torch.device) -> "ClipBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in memory that a GPU reads by itself; a data loader asks for it."""
        return self._each(lambda tensor: tensor.pin_memory())

    def share_memory(self) -> None:
        """Moves the tensors to where other processes can have them."""
        for tensor in (self.images, self.masks, self.is_real):
            tensor.share_memory_()

    def _each(self, change: Callable[[Tensor], Tensor]) -> "ClipBatch":
        return ClipBatch(change(self.images), change(self.masks), change(self.is_real))
