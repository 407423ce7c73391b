"""The masks of propagated slices and of corrections, refined by what is known beside the model's answer.

A small model loses the border of a structure within a few slices and then its shape. Better known are the mask of the slice before, and
the intensities of the object and of its surroundings on the slices that a person has confirmed. On a propagated slice the mask refiner
puts them together with the pixels. The refined logit of a corrected slice is the sum of the model's, the signed distance to the border
of the mask before, the click, and the logarithm of how much more often its intensity was seen in the object than around it.

Source: for corrections the data term of region-based level sets with a shape prior, as in Cremers, Rousson and Deriche, "A review of
statistical approaches to level set segmentation", 2007.

The mask of the first box on a slice, refined by what the mask refiner makes of the box.

A small model tends to fill the box. The refiner sees the pixels and which of their intensities are in the box rather than around it.
On propagated slices the mask of the slice before says where the object is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from NeuroSAM2Core.inference.prediction.appearance import (
    MIN_CELLS,
    IntensityBins,
    differ,
    log_ratio,
    smooth_histogram,
    weighted_counts,
    without_small_parts,
)
from NeuroSAM2Core.inference.prediction.mask_transfer import overlap_over_union, signed_distance
from NeuroSAM2Core.inference.prediction.refiner_view import (
    CellBox,
    box_differs,
    normalised,
    view_of_box,
    view_of_mask,
)
from NeuroSAM2Core.inference.prediction.slice_answer import PRESENT_SCORE_LOGIT
from NeuroSAM2Core.model import MaskPrediction
from NeuroSAM2Core.model.layers import resized
from NeuroSAM2Core.model.mask_refiner import SIDE, MaskRefiner

PROPAGATED_WEIGHT = 0.5
"""Of the model's logits beside the refiner's, on propagated slices."""
MAX_SHARE = 0.85
"""Of a crop's side; a larger object hides its surroundings."""
MARGIN = 3
"""How far beyond the box of the mask before the object can reach on the next slice, cells."""
MODEL_WEIGHT, DISTANCE_WEIGHT = 0.5, 0.5
MAX_EVIDENCE = 4.0
"""Of the model's logits and of the signed distance in cells; nothing is surer than this alone."""
SCALE = 2.0
"""Brings the sum to the size of the model's logits, which memory reads."""
CLICK_WEIGHT = 9.0
POSITIVE_REACH = 1.5
"""How much farther a positive click reaches than the border of the mask before; the object goes on beyond what was clicked."""
MAX_RADIUS_RATIO = 0.6
"""Of a positive click, as a share of the radius of a disc of the mask's area."""
MIN_CLICK_RADIUS = 1.5
"""Cells."""
MAX_LOGIT, OUTSIDE_LOGIT = 10.0, -3.0

Picture = Float[np.ndarray, "s4 s4"]
"""Intensities of a slice on the grid of the decoder's logits, in the volume's own units."""
Mask = Bool[np.ndarray, "s4 s4"]


@dataclass(frozen=True, slots=True)
class IntensityContrast:
    """How the intensities of an object differ from those around it."""

    bins: IntensityBins
    log_ratios: NDArray[np.float64]
    """(NUM_BINS,), above 0 where an intensity speaks for the object."""

    @classmethod
    def of(cls, examples: Sequence[tuple[Picture, Mask]]) -> "IntensityContrast | None":
        """The contrast on some slices; None where object and surroundings hardly differ, or too little of them was seen."""
        shown = [(picture, mask, _with_ring(mask) & ~mask) for picture, mask in examples if mask.any()]
        if not shown:
            return None
        bins = IntensityBins.of(np.concatenate([picture.ravel() for picture, _, _ in shown]))
        numbers = [bins.number(picture) for picture, _, _ in shown]
        inside = np.sum([weighted_counts(n, mask) for n, (_, mask, _) in zip(numbers, shown, strict=True)], axis=0)
        around = np.sum([weighted_counts(n, ring) for n, (_, _, ring) in zip(numbers, shown, strict=True)], axis=0)
        if min(inside.sum(), around.sum()) < MIN_CELLS:
            return None
        of_object, of_others = smooth_histogram(inside), smooth_histogram(around)
        return cls(bins, log_ratio(of_object, of_others)) if differ(of_object, of_others) else None

    def evidence(self, picture: Picture) -> NDArray[np.float64]:
        """For each cell how much its intensity speaks for the object."""
        return np.asarray(self.log_ratios[self.bins.number(picture)])


@dataclass(frozen=True, slots=True)
class CellClick:
    """A click on the grid of the decoder's logits."""

    row: int
    col: int
    positive: bool


@dataclass(frozen=True, slots=True)
class RefinerPicture:
    """A slice in a crop as the refiner sees it."""

    intensities: Float[np.ndarray, "64 64"]
    """In the volume's own units."""
    normalised: Float[np.ndarray, "64 64"]

    @classmethod
    def of(cls, intensities: Float[np.ndarray, "64 64"]) -> "RefinerPicture":
        """With its intensities normalised."""
        return cls(intensities, normalised(intensities))


@dataclass(frozen=True, slots=True)
class RefinedMask:
    """An answer with the mask that the refiner found."""

    answer: MaskPrediction
    certainty: float | None = None
    """The refiner's mean logit within the mask, 0 for an empty one; None where the mask is not the refiner's."""


@dataclass(frozen=True, slots=True)
class PropagatedMask:
    """A propagated answer for one object, and what is known beside it."""

    answer: MaskPrediction
    before: Bool[torch.Tensor, "1 1 s4 s4"]
    """The mask of the slice before in the same crop, not empty."""
    picture: RefinerPicture
    """The slice in that crop."""
    neighbour: RefinerPicture
    """The slice before in that crop."""
    contrast: IntensityContrast | None
    """Of the object on its confirmed slices; None where it does not differ."""

    def cells_before(self) -> Bool[np.ndarray, "64 64"]:
        """The mask of the slice before in cells of the refiner's view; may be empty."""
        return np.asarray(resized(self.before.float(), SIDE, SIDE)[0, 0].cpu().numpy() >= 0.5)

    def view(self, cells: Bool[np.ndarray, "64 64"]) -> Float[np.ndarray, "5 64 64"]:
        """What the refiner sees."""
        evidence = None if self.contrast is None else self.contrast.evidence(self.picture.intensities)
        return view_of_mask(self.picture.normalised, self.neighbour.normalised, cells, evidence)

    def refined(self, cells: Bool[np.ndarray, "64 64"], logits: NDArray[np.float64]) -> RefinedMask:
        """The answer with the mask that follows from the refiner's logits.

        What is found is present. The answer's expected IoU is for its own mask: the refined one is expected to be right as far as the two
        agree.
        """
        own = resized(self.answer.logits.float(), SIDE, SIDE)[0, 0].cpu().numpy().clip(-MAX_EVIDENCE, MAX_EVIDENCE)
        found = with_posterior(self.answer, logits + PROPAGATED_WEIGHT * own, _box_mask(cells, MARGIN))
        mask = resized(found.logits.float(), SIDE, SIDE)[0, 0].cpu().numpy() > 0
        iou = self.answer.iou * overlap_over_union(self.answer.logits > 0, found.logits > 0)
        return RefinedMask(replace(found, iou=iou), float(logits[mask].mean()) if mask.any() else 0.0)


def refine_propagated_masks(several: Sequence[PropagatedMask], refiner: MaskRefiner) -> list[RefinedMask]:
    """Propagated answers with the masks that the refiner finds beside the masks of the slices before, where those fill a cell.

    Args:
        several: One of each object.
        refiner: On the answers' device.
    """
    refined = [RefinedMask(one.answer) for one in several]
    cells = [one.cells_before() for one in several]
    rows = [row for row, mask in enumerate(cells) if mask.any()]
    if rows:
        logits = logits_of_views(refiner, np.stack([several[row].view(cells[row]) for row in rows]))
        for row, found in zip(rows, logits, strict=True):
            refined[row] = several[row].refined(cells[row], found)
    return refined


def logits_of_views(refiner: MaskRefiner, views: Float[np.ndarray, "b 5 64 64"]) -> NDArray[np.float64]:
    """What the refiner makes of some views, (B, 64, 64)."""
    device = next(refiner.parameters()).device
    return np.asarray(refiner(torch.from_numpy(views).to(device))[:, 0].float().cpu().numpy(), np.float64)


def refine_clicked_mask(
    answer: MaskPrediction,
    before: Bool[torch.Tensor, "1 1 s4 s4"],
    click: CellClick,
    evidence: Float[np.ndarray, "s4 s4"] | None,
) -> MaskPrediction:
    """The answer to a correction with the mask that the click, the mask before and the intensities suggest.

    A person clicks in the middle of what is wrong: a click speaks for all that is as close to it as the border of the mask before. One that
    the mask before agrees with speaks for its own place.

    Args:
        answer: The model's, for one object. Its expected IoU is kept; what is found is present.
        before: The mask that is corrected, in the same crop, not empty.
        click: The correction.
        evidence: How much each cell's intensity speaks for the object; None where that is not known.
    """
    last = before[0, 0].cpu().numpy()
    distances = signed_distance(last)
    row, col = np.mgrid[: last.shape[0], : last.shape[1]]
    squared = (row - click.row) ** 2 + (col - click.col) ** 2
    depth = distances[click.row, click.col]
    radius = max(-depth if click.positive else depth, 0.0)  # 0 where the mask before agrees with the click
    if click.positive:
        radius = min(POSITIVE_REACH * radius, MAX_RADIUS_RATIO * np.sqrt(last.sum() / np.pi))
    radius = max(radius, MIN_CLICK_RADIUS)
    effect = CLICK_WEIGHT * np.exp(-squared / (2 * radius**2))
    posterior = _evidence_of_masks(answer, distances) + (effect if click.positive else -effect)
    if evidence is not None:
        posterior += evidence
    reach = _box_mask(last | (squared <= (2 * radius) ** 2), 1) if click.positive else _box_mask(last, 1)
    if click.positive:
        reach |= (answer.logits[0, 0] > 0).cpu().numpy()
    return with_posterior(answer, posterior, reach)


def _evidence_of_masks(answer: MaskPrediction, distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the model and a mask that is known say of each cell."""
    logits = answer.logits[0, 0].float().cpu().numpy().astype(np.float64)
    return np.asarray(
        MODEL_WEIGHT * logits.clip(-MAX_EVIDENCE, MAX_EVIDENCE)
        + DISTANCE_WEIGHT * distances.clip(-MAX_EVIDENCE, MAX_EVIDENCE)
    )


def with_posterior(answer: MaskPrediction, posterior: NDArray[np.float64], reach: Mask) -> MaskPrediction:
    """An answer whose mask is where a posterior logit is above 0, within reach and without small parts."""
    mask = without_small_parts(reach & (posterior > 0))
    scaled = (SCALE * posterior).clip(-MAX_LOGIT, MAX_LOGIT)
    refined = np.where(mask, scaled, np.minimum(scaled, OUTSIDE_LOGIT)).astype(np.float32)
    logits = resized(torch.from_numpy(refined)[None, None], *answer.logits.shape[-2:])
    score = answer.object_score_logits
    return replace(
        answer,
        logits=logits.to(answer.logits.device),
        object_score_logits=score.clamp(min=PRESENT_SCORE_LOGIT) if mask.any() else score,
    )


def shows_surroundings(logits: Float[torch.Tensor, "1 1 s4 s4"]) -> bool:
    """The object of some logits leaves room in their crop, so that the refiner sees what it is to be told from."""
    box = CellBox.around((logits[0, 0] > 0).cpu().numpy())
    return box is None or box.longer_side <= MAX_SHARE * logits.shape[-1]


def _with_ring(mask: Mask) -> Mask:
    """The box of a mask with what is looked at around it."""
    box = CellBox.around(mask)
    assert box is not None
    return box.widened_mask(box.ring_width, len(mask))


def _box_mask(mask: Mask, margin: int) -> Mask:
    """The cells in the box of a mask, so much wider on each side."""
    box = CellBox.around(mask)
    assert box is not None
    return box.widened_mask(margin, len(mask))


BOX_MARGIN = 1
"""So far beyond the box the object can reach, cells."""


def refine_box_mask(
    answer: MaskPrediction,
    picture: Float[np.ndarray, "64 64"],
    bounds: tuple[float, float, float, float],
    refiner: MaskRefiner,
) -> MaskPrediction:
    """The answer to a box with the mask that the refiner finds in it; where intensities do not differ there the model's mask stays.

    Args:
        answer: The model's, for one object. Its expected IoU is kept; what is found is present.
        picture: The crop that it saw.
        bounds: The box on that picture: top, left, bottom, right, borders of the outermost cells.
        refiner: On the answer's device.
    """
    box = CellBox.of(bounds, SIDE)
    if not box_differs(picture, box):
        return answer
    posterior = logits_of_views(refiner, view_of_box(picture, box)[None])[0]
    reach = box.widened_mask(BOX_MARGIN, SIDE)
    return with_posterior(answer, posterior, reach) if (reach & (posterior > 0)).any() else answer
