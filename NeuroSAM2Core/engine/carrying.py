"""What the mask of one slice says about the next one: its box as a prompt, and which candidate keeps most of it.

Source: tight boxes carried from slice to slice, measured in docs/adr/0013; memory alone lets small masks grow or dissolve.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from NeuroSAM2Core.model import Chooser, Points
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, TOP_LEFT


def carried_box(mask: Bool[Tensor, "1 1 h w"], image_size: int, margin_px: float) -> Points | None:
    """The tight box of a mask, a little wider, as a prompt in pixels of the model's input; None for an empty mask.

    Args:
        mask: On the slice before, as seen in the crop of this slice.
        image_size: Side of the model's input, pixels.
        margin_px: How much wider the box is on each side, likewise.
    """
    rows, cols = (torch.where(mask[0, 0].any(dim=d))[0] for d in (1, 0))
    if not len(rows):
        return None
    scale = image_size / mask.shape[-1]
    low = torch.stack((cols[0], rows[0])) * scale - margin_px
    high = (torch.stack((cols[-1], rows[-1])) + 1) * scale - 1 + margin_px
    corners = torch.stack((low, high))[None].clamp(0, image_size - 1.0)
    return Points(corners, corners.new_tensor([[TOP_LEFT, BOTTOM_RIGHT]]))


def keeping(mask: Bool[Tensor, "1 1 h w"], weight: float) -> Chooser:
    """Chooses the candidate with the largest expected IoU plus `weight` times its Dice with the mask of the slice before."""

    def choose(logits: Float[Tensor, "1 m h w"], ious: Float[Tensor, "1 m"]) -> Int[Tensor, " 1"]:
        return torch.argmax(ious + weight * dice(logits > 0, mask), dim=1)

    return choose


def dice(masks: Bool[Tensor, "1 m h w"], mask: Bool[Tensor, "1 1 h w"]) -> Float[Tensor, "1 m"]:
    """Dice of each mask with another; 0 where both are empty."""
    common = (masks & mask).sum(dim=(2, 3))
    return 2 * common / (masks.sum(dim=(2, 3)) + mask.sum(dim=(2, 3))).clamp(min=1)
