"""The appearance model of an object: fitted on its confirmed slices, it suppresses background during propagation.

Memory is coarse: at 256 pixels one of its cells covers 16 x 16 of them, too much for a sheet of white matter or a faint lesion, and masks
spread from slice to slice. The fine features know better. A linear discriminant between the object and what is around it, fitted on the
confirmed slices in milliseconds, takes from a propagated mask what looks like the surroundings. It never adds to one.

Source: a target model learned online from the first frame, as in Robinson et al., "Learning Fast and Robust Target Models for Video
Object Segmentation", 2020; Fisher, "The use of multiple measurements in taxonomic problems", 1936.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

from NeuroSAM2Core.model import ImageFeatures, MaskPrediction

REACH = 4
"""How far around the object its surroundings are looked at, in pixels of the logits."""
MIN_PIXELS = 4
RIDGE = 0.01
RECALL_WEIGHT = 2.0
"""How much more a lost pixel of the object counts than one too many, where the boundary is drawn (beta squared of the F measure)."""
TYPICAL_LOGIT = 4.0
"""Of a pixel that looks like the object's mean."""
ABSENT = -1.0

Logits = Float[Tensor, "1 1 s4 s4"]


@dataclass(frozen=True, slots=True)
class AppearanceModel:
    """A linear function of a slice's fine features: above 0 where it looks like the object."""

    fine: Float[Tensor, "c8"]
    """Weights of the features at stride 4."""
    middle: Float[Tensor, "c4"]
    """Weights of the features at stride 8."""
    offset: Float[Tensor, ""]

    def logits(self, features: ImageFeatures) -> Logits:
        """The appearance logits of every pixel of a slice."""
        near = torch.einsum("bchw,c->bhw", features.stride4.float(), self.fine)[:, None]
        wide = torch.einsum("bchw,c->bhw", features.stride8.float(), self.middle)[:, None]
        return near + F.interpolate(wide, size=near.shape[-2:], mode="bilinear") + self.offset

    def suppress_background(self, answer: MaskPrediction, features: ImageFeatures) -> MaskPrediction:
        """The prediction without pixels that do not look like the object; an absent object where nothing is left."""
        before = answer.logits.float()
        logits = torch.minimum(before, self.logits(features))
        is_gone = (before > 0).any() & ~(logits > 0).any()
        object_score = torch.where(is_gone, answer.object_score_logits.clamp(max=ABSENT), answer.object_score_logits)
        return replace(answer, logits=logits, object_score_logits=object_score)


def fit_appearance_model(examples: Sequence[tuple[ImageFeatures, Logits]]) -> AppearanceModel | None:
    """Fits the appearance model of an object on some slices; None where there are too few pixels.

    Half of what it is told from is near the object, half is everything else, so that both the boundary and far places are right.

    Args:
        examples: Features and mask of each confirmed slice.
    """
    if not examples:
        return None
    pixels = torch.cat([_pixels(features) for features, _ in examples])
    inside = torch.cat([(logits > 0).flatten() for _, logits in examples])
    near = torch.cat([_near(logits > 0).flatten() for _, logits in examples])
    around = near & ~inside
    if inside.sum() < MIN_PIXELS or around.sum() < MIN_PIXELS:
        return None
    mean, deviation = pixels.mean(dim=0), pixels.std(dim=0).clamp(min=1e-4)
    normal = (pixels - mean) / deviation
    others = around.float() / around.sum() + (~inside).float() / (~inside).sum()
    axis = _discriminant(normal, inside.float() / inside.sum(), others / 2)
    scores = normal @ axis
    boundary = _best_boundary(scores[near], inside[near])
    slope = TYPICAL_LOGIT / (scores[inside].mean() - boundary).clamp(min=1e-3)
    weights = slope * axis / deviation
    fine, middle = weights.split((examples[0][0].stride4.shape[1], examples[0][0].stride8.shape[1]))
    return AppearanceModel(fine, middle, -slope * boundary - weights @ mean)


def _pixels(features: ImageFeatures) -> Float[Tensor, "n c"]:
    """One row of features for each pixel of the logits."""
    fine = features.stride4.float()
    middle = F.interpolate(features.stride8.float(), size=fine.shape[-2:], mode="bilinear")
    return torch.cat([fine, middle], dim=1)[0].flatten(1).T


def _near(mask: Bool[Tensor, "1 1 h w"]) -> Bool[Tensor, "1 1 h w"]:
    return F.max_pool2d(mask.float(), 2 * REACH + 1, stride=1, padding=REACH) > 0


def _discriminant(
    pixels: Float[Tensor, "n c"], inside: Float[Tensor, " n"], others: Float[Tensor, " n"]
) -> Float[Tensor, " c"]:
    """Fisher's: the difference of two means, seen through the spread within both; `inside` and `others` are weights that sum to 1."""
    (mean, spread), (other_mean, other_spread) = _moments(pixels, inside), _moments(pixels, others)
    within = (spread + other_spread) / 2 + RIDGE * torch.eye(pixels.shape[1], device=pixels.device)
    axis = torch.linalg.solve(within.cpu(), (mean - other_mean).cpu())  # so few numbers that no device is faster
    return axis.to(pixels.device)


def _moments(
    pixels: Float[Tensor, "n c"], weights: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " c"], Float[Tensor, "c c"]]:
    mean = weights @ pixels
    centred = pixels - mean
    return mean, (centred * weights[:, None]).T @ centred


def _best_boundary(scores: Float[Tensor, " n"], inside: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    """The score above which most is right, by the F measure."""
    order = scores.argsort(descending=True)
    found = inside[order].cumsum(dim=0)
    taken = torch.arange(1, len(order) + 1, device=scores.device)
    measure = (1 + RECALL_WEIGHT) * found / (taken + RECALL_WEIGHT * inside.sum())
    return scores[order][measure.argmax()]
