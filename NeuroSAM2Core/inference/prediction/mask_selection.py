"""Selects which of the model's four masks answers a correction click.

After the first prompt the reference takes the single mask, whatever it is. A small model's single mask may shrug the click off, or jump to
another object for it; one of its three readings of the prompt often does neither. So all four are scored: what the model expects of a
mask, how many of the clicks it agrees with, and how much of the mask so far it keeps (docs/adr/0012).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from NeuroSAM2Core.inference.prediction.click_enforcement import agreement
from NeuroSAM2Core.model import MaskSelector
from NeuroSAM2Core.prompts import PointPrompt

CLICK_WEIGHT, OVERLAP_WEIGHT = 0.5, 0.25
"""The weights of agreement with all clicks, and of full overlap with the mask so far, beside an expected IoU of 1."""


def select_mask(
    before: Float[Tensor, "1 1 h w"], points: Sequence[PointPrompt], shape: tuple[int, int]
) -> MaskSelector:
    """Chooses an answer to corrections.

    Args:
        before: The answer to the prompts before.
        points: All clicks on the slice, in pixels of the slice.
        shape: The slice, (H, W).
    """

    def choose(logits: Float[Tensor, "1 m h w"], ious: Float[Tensor, "1 m"]) -> Int[Tensor, " 1"]:
        click_agreement = agreement(logits, points, shape).float().mean(dim=1)
        masks, mask = logits > 0, before > 0
        common = (masks & mask).sum(dim=(2, 3))
        overlap = 2 * common / (masks.sum(dim=(2, 3)) + mask.sum(dim=(2, 3))).clamp(min=1)
        return torch.argmax(ious + CLICK_WEIGHT * click_agreement + OVERLAP_WEIGHT * overlap, dim=1)

    return choose
