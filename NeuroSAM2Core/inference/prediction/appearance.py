"""The appearance model of an object: fitted on its confirmed slices, it suppresses background during propagation.

Memory is coarse: at 256 pixels one of its cells covers 16 x 16 of them, too much for a sheet of white matter or a faint lesion, and
masks spread from slice to slice. The fine features know better. A linear discriminant between the object and what is around it, fitted
on the confirmed slices in milliseconds, takes from a propagated mask what looks like the surroundings. It never adds to one.

Source: a target model learned online from the first frame, as in Robinson et al., "Learning Fast and Robust Target Models for Video
Object Segmentation", 2020; Fisher, "The use of multiple measurements in taxonomic problems", 1936.

Histograms of the intensities of an object and of its surroundings, and which of the two an intensity speaks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from NeuroSAM2Core.model import ImageFeatures, MaskPrediction

NUM_BINS = 24
BLUR_BINS = 1.5
FLOOR = 1e-3
"""Added to every bin, so that an intensity that was never seen excludes nothing."""
MAX_LOG_RATIO = 2.0
MIN_DIFFERENCE = 0.15
"""Between object and surroundings (total variation of the histograms); below it intensities say nothing."""
MIN_PART_RATIO = 0.15
"""Parts of a mask smaller than this share of the largest one are dropped."""
MIN_CELLS = 8
"""Fewer cells of the object or of its surroundings say nothing."""

Cells = NDArray[np.float64]
"""(h, w), a value for each cell of the decoder's grid."""
Histogram = NDArray[np.float64]
"""(NUM_BINS,), shares that add up to 1."""


@dataclass(frozen=True, slots=True)
class IntensityBins:
    """Equal bins between two intensities; what lies beyond is in the outermost ones."""

    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> "IntensityBins":
        """Bins between the percentiles 1 and 99 of some intensities."""
        low, high = np.percentile(values, (1, 99))
        return cls(float(low), float(high))

    def number(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The bin of each intensity."""
        shares = np.clip((values - self.low) / max(self.high - self.low, 1e-6), 0, 1)
        return np.minimum((shares * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def weighted_counts(bins: NDArray[np.int64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The sum of the weights in each bin, (NUM_BINS,)."""
    return np.bincount(bins.ravel(), weights.ravel(), NUM_BINS).astype(np.float64)


def smooth_histogram(counts: NDArray[np.float64]) -> Histogram:
    """The histogram of some counts, blurred as intensities vary, and above 0 everywhere."""
    shares = (counts + 1e-9) / (counts + 1e-9).sum()
    smooth = ndimage.gaussian_filter1d(shares, BLUR_BINS, mode="nearest") + FLOOR
    return np.asarray(smooth / smooth.sum())


def log_ratio(of_object: Histogram, of_others: Histogram) -> NDArray[np.float64]:
    """For each bin how much its intensities speak for the object, (NUM_BINS,) within ±MAX_LOG_RATIO."""
    return np.asarray(np.log(of_object / of_others).clip(-MAX_LOG_RATIO, MAX_LOG_RATIO))


def differ(of_object: Histogram, of_others: Histogram) -> bool:
    """Object and surroundings differ so much that intensities tell them apart."""
    return bool(np.abs(of_object - of_others).sum() / 2 >= MIN_DIFFERENCE)


def without_small_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask without the parts that are small beside its largest one."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    return mask & np.isin(labels, 1 + np.flatnonzero(sizes >= MIN_PART_RATIO * sizes.max()))


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
