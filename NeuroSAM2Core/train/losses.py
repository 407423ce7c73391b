"""SAM 2's losses: focal and Dice on the mask, the error of the expected IoU, and presence.

Of several candidate masks only the one with the least mask loss is taught, but every expected IoU is. Nothing but presence is taught
where the object is not. Sums over objects are divided by their number; steps and slices add up.

Source: Ravi et al. 2024, appendix D.2; Lin et al., "Focal Loss for Dense Object Detection", 2017; Milletari et al., "V-Net", 2016.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """How much each part counts."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts, unweighted: scalars."""

    focal: Float[Tensor, ""]
    dice: Float[Tensor, ""]
    iou: Float[Tensor, ""]
    presence: Float[Tensor, ""]

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(
            self.focal + other.focal, self.dice + other.dice, self.iou + other.iou, self.presence + other.presence
        )

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """The number that is minimised."""
        return (
            weights.focal * self.focal
            + weights.dice * self.dice
            + weights.iou * self.iou
            + weights.presence * self.presence
        )


def focal_loss(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n m"]:
    """Mean over pixels of the binary cross-entropy, weighted towards hard pixels."""
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    wrong = p + target - 2 * p * target
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (alpha * wrong**FOCAL_GAMMA * entropy).mean(dim=(-2, -1))


def dice_loss(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n m"]:
    """One minus the soft Dice overlap."""
    p = logits.sigmoid()
    overlap = (p * target).sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (p.sum(dim=(-2, -1)) + target.sum(dim=(-2, -1)) + 1)


def iou(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n m"]:
    """Overlap over union of the thresholded masks; 0 where both are empty."""
    mask, truth = logits > 0, target > 0.5
    overlap = (mask & truth).sum(dim=(-2, -1)).float()
    return overlap / (mask | truth).sum(dim=(-2, -1)).clamp(min=1)


def prediction_losses(
    logits: Float[Tensor, "n m h w"],
    expected_iou: Float[Tensor, "n m"],
    presence_logit: Float[Tensor, "n 1"],
    target: Bool[Tensor, "n h w"],
    weights: LossWeights,
    *,
    num_objects: float,
) -> Losses:
    """The losses of one answer of the mask decoder.

    Args:
        logits: M candidate masks of N objects, at the size of `target`.
        expected_iou: What the model expects of each.
        presence_logit: Above 0 the object is there.
        target: The truth.
        weights: Choose the best candidate.
        num_objects: What sums over objects are divided by: their number, averaged over processes, at least 1.
    """
    truth = target[:, None].float()
    is_present = truth.flatten(1).any(dim=1)
    logits = logits.float()
    focal, dice = focal_loss(logits, truth), dice_loss(logits, truth)
    best = (weights.focal * focal + weights.dice * dice).argmin(dim=1, keepdim=True)
    with torch.no_grad():
        true_iou = iou(logits, truth)
    iou_error = (expected_iou.float() - true_iou).abs().mean(dim=1)

    def over_present(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        return (values * is_present).sum() / num_objects

    presence = F.binary_cross_entropy_with_logits(presence_logit[:, 0].float(), is_present.float(), reduction="sum")
    return Losses(
        focal=over_present(focal.gather(1, best)[:, 0]),
        dice=over_present(dice.gather(1, best)[:, 0]),
        iou=over_present(iou_error),
        presence=presence / num_objects,
    )
