"""The losses of a prediction: focal and Dice on the mask, the error of the expected IoU, and the object score.

SAM 2's recipe supervises, of several candidate masks, only the one with the least mask loss, but every expected IoU; and nothing but
the object score where the object is not. Sums over objects are divided by their number; steps and slices add up. Earlier recipes for
medical volumes (plain cross-entropy on the chosen mask) are settings of the same losses, for comparison.

Source: Ravi et al. 2024, appendix D.2; Lin et al., "Focal Loss for Dense Object Detection", 2017; Milletari et al., "V-Net", 2016;
Zhu et al., "Medical SAM 2", 2024 (cross-entropy).
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

from NeuroSAM2Core.training.config.step import LossConfig

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
BCE_POSITIVE_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts, unweighted: scalars."""

    focal: Float[Tensor, ""]
    dice: Float[Tensor, ""]
    iou: Float[Tensor, ""]
    object_score: Float[Tensor, ""]
    bce: Float[Tensor, ""]

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(*(a + b for a, b in zip(_parts(self), _parts(other), strict=True)))

    def __mul__(self, factor: float) -> "Losses":
        return Losses(*(factor * part for part in _parts(self)))

    def total(self, config: LossConfig) -> Float[Tensor, ""]:
        """The number that is minimised."""
        return (
            config.focal * self.focal
            + config.dice * self.dice
            + config.iou * self.iou
            + config.object_score * self.object_score
            + config.bce * self.bce
        )


def _parts(losses: Losses) -> list[Tensor]:
    return [getattr(losses, field.name) for field in dataclasses.fields(losses)]


def focal_loss(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n m"]:
    """Mean over pixels of the binary cross-entropy, weighted towards hard pixels."""
    target = target.expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    wrong = p + target - 2 * p * target
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (alpha * wrong**FOCAL_GAMMA * bce).mean(dim=(-2, -1))


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


def bce_loss(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n m"]:
    """Mean over pixels of the binary cross-entropy, object pixels weighted by `BCE_POSITIVE_WEIGHT`."""
    weight = logits.new_tensor(BCE_POSITIVE_WEIGHT)
    losses = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none", pos_weight=weight)
    return losses.mean(dim=(-2, -1))


def prediction_losses(
    logits: Float[Tensor, "n m h w"],
    expected_iou: Float[Tensor, "n m"],
    object_score_logits: Float[Tensor, "n 1"],
    target: Bool[Tensor, "n h w"],
    config: LossConfig,
    *,
    num_objects: float,
    is_real: Bool[Tensor, " n"] | None = None,
) -> Losses:
    """The losses of one answer of the mask decoder.

    Args:
        logits: M candidate masks of N objects, at the size of `target`.
        expected_iou: What the model expects of each.
        object_score_logits: Above 0 the object is there.
        target: The truth.
        config: Weights, and which candidate is supervised.
        num_objects: What sums over objects are divided by: their number, averaged over processes, at least 1.
        is_real: False for objects that only fill the batch and count nowhere; None if there are none.
    """
    truth = target[:, None].float()
    counts = torch.ones_like(truth[:, 0, 0, 0]) if is_real is None else is_real.float()
    is_present = truth.flatten(1).any(dim=1)
    logits, expected_iou = logits.float(), expected_iou.float()
    focal, dice = focal_loss(logits, truth), dice_loss(logits, truth)
    bce = bce_loss(logits, truth) if config.bce else torch.zeros_like(dice)
    if config.supervised == "least_loss":
        best = (config.focal * focal + config.dice * dice + config.bce * bce).argmin(dim=1, keepdim=True)
    else:
        best = expected_iou.argmax(dim=1, keepdim=True)
    with torch.no_grad():
        true_iou = iou(logits, truth)
    error = expected_iou - true_iou
    error = error.abs() if config.iou_error == "l1" else error.square()
    error = error.mean(dim=1) if config.supervise_all_iou else error.gather(1, best)[:, 0]

    def over(objects: Float[Tensor, " n"], values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        return (values * objects).sum() / num_objects

    object_score = F.binary_cross_entropy_with_logits(
        object_score_logits[:, 0].float(), is_present.float(), reduction="none"
    )
    return Losses(
        focal=over(counts * is_present, focal.gather(1, best)[:, 0]),
        dice=over(counts * is_present, dice.gather(1, best)[:, 0]),
        iou=over(counts if config.supervise_absent_iou else counts * is_present, error),
        object_score=over(counts, object_score),
        bce=over(counts, bce.gather(1, best)[:, 0]),
    )
