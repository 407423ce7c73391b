"""What the mask refiner is trained by and what it is measured by: cross-entropy and Dice against shares of cells.

Source: Milletari, Navab and Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical image segmentation", 2016 (Dice).
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

CROSS_ENTROPY_WEIGHT = 0.15
MIN_SHARE = 0.02
"""Cross-entropy counts by the share of a view that the object fills, and this much more: small objects count as much as large ones."""
MIN_CELLS = 1.0
"""A view that shows less of its object shows none."""


def refiner_loss(logits: Float[Tensor, "b 1 64 64"], truths: Float[Tensor, "b 1 64 64"]) -> Float[Tensor, ""]:
    """The mean over views of cross-entropy and, where the object is there, of one minus Dice."""
    shares, areas = logits.sigmoid(), truths.flatten(1).sum(1)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truths, reduction="none").flatten(1).mean(1)
    weight = CROSS_ENTROPY_WEIGHT / (truths.flatten(1).mean(1) + MIN_SHARE)
    common = (shares * truths).flatten(1).sum(1)
    soft_dice = (2 * common + 1) / (shares.flatten(1).sum(1) + areas + 1)
    return (weight * cross_entropy + (1 - soft_dice) * is_present(truths)).mean()


def is_present(truths: Float[Tensor, "b 1 64 64"]) -> Bool[Tensor, "b"]:
    """Which views show their object."""
    return truths.flatten(1).sum(1) > MIN_CELLS


def dice(masks: Bool[Tensor, "b 1 64 64"], truths: Float[Tensor, "b 1 64 64"]) -> Float[Tensor, "b"]:
    """Of masks with shares of cells, 0 to 1."""
    masks = masks.float()
    common = torch.minimum(masks, truths).flatten(1).sum(1)
    return 2 * common / (masks.flatten(1).sum(1) + truths.flatten(1).sum(1)).clamp(min=1e-6)
