"""Which part of a box is the object, by its intensities: the mask that a model gives for the first box on a slice, refined.

A small model tends to fill the box. Inside it the object differs from what surrounds the box more often than not, so the intensities of
both are estimated in turn with the mask, as in GrabCut without its graph: on 64 x 64 cells a few sweeps over two histograms take under
a millisecond. Where the intensities do not differ, the model's mask stays.

On propagated slices the object's intensities are known from its confirmed slices; see `mask_refinement`.

Source: Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from NeuroSAM2Core.inference.prediction.intensity_histograms import (
    MIN_CELLS,
    Cells,
    IntensityBins,
    differ,
    log_ratio,
    smooth_histogram,
    weighted_counts,
    without_small_parts,
)
from NeuroSAM2Core.model import MaskPrediction

NUM_SWEEPS = 4
RING_RATIO = 0.25
"""How far around the box its surroundings are looked at, as a share of its longer side."""
INTENSITY_WEIGHT = 4.0
MASK_WEIGHT = 0.5
CENTRE_WEIGHT, CENTRE_RADIUS, INSIDE_BIAS = 0.5, 0.8, 0.3
"""Cells in the middle of a box are more likely than those in its corners; the squared distance from the middle, in half sides, counts."""
MAX_LOGIT, OUTSIDE_LOGIT = 10.0, -3.0


@dataclass(frozen=True, slots=True)
class CellBox:
    """Outermost rows and columns of a box on the decoder's grid."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def of(cls, bounds: tuple[float, float, float, float], side: int) -> "CellBox":
        """The cells that a box touches.

        Args:
            bounds: top, left, bottom, right in cells, borders of the outermost ones.
            side: Of the grid.
        """
        top, left = (min(max(int(np.floor(low)), 0), side - 1) for low in bounds[:2])
        bottom, right = (min(max(int(np.ceil(high)) - 1, 0), side - 1) for high in bounds[2:])
        return cls(top, left, max(bottom, top), max(right, left))

    @property
    def longer_side(self) -> int:
        """In cells."""
        return max(self.bottom - self.top, self.right - self.left) + 1

    def widened(self, margin: int, side: int) -> tuple[slice, slice]:
        """The cells up to so many beyond it, within a grid."""
        rows = slice(max(self.top - margin, 0), min(self.bottom + margin + 1, side))
        return rows, slice(max(self.left - margin, 0), min(self.right + margin + 1, side))

    def squared_distances(self, rows: slice, cols: slice) -> Cells:
        """Of cells from its middle, in half sides: 1 at the middle of a side, 2 in a corner."""
        row, col = np.mgrid[rows, cols]
        down = (row - (self.top + self.bottom) / 2) / ((self.bottom - self.top + 1) / 2)
        across = (col - (self.left + self.right) / 2) / ((self.right - self.left + 1) / 2)
        distances: Cells = down**2 + across**2
        return distances


def refine_box_mask(
    answer: MaskPrediction, picture: Float[np.ndarray, "s4 s4"], bounds: tuple[float, float, float, float]
) -> MaskPrediction:
    """The answer to a box with the mask that the intensities in and around the box suggest.

    Args:
        answer: The model's, for one object. Its expected IoU and object score are kept.
        picture: What the model saw, on the grid of its logits.
        bounds: The box on that grid: top, left, bottom, right, borders of the outermost cells.
    """
    logits = answer.logits[0, 0].float().cpu().numpy()
    if not (logits > 0).any():
        return answer
    side = logits.shape[-1]
    box = CellBox.of(bounds, side)
    rows, cols = box.widened(max(2, round(RING_RATIO * box.longer_side)), side)
    is_inside = np.zeros(logits.shape, bool)
    is_inside[box.top : box.bottom + 1, box.left : box.right + 1] = True
    inside = is_inside[rows, cols]
    if min(inside.sum(), (~inside).sum()) < MIN_CELLS:
        return answer
    prior = (
        INSIDE_BIAS
        + MASK_WEIGHT * np.where(logits[rows, cols] > 0, 1.0, -1.0)
        - CENTRE_WEIGHT * (box.squared_distances(rows, cols) - CENTRE_RADIUS)
    )
    bins = IntensityBins.of(picture[rows, cols]).number(picture[rows, cols])
    in_box = smooth_histogram(weighted_counts(bins, np.where(inside, _sigmoid(prior), 0.0)))
    if not differ(in_box, smooth_histogram(weighted_counts(bins, ~inside))):
        return answer
    posterior = _posterior(bins, inside, prior)
    if not (posterior > 0).any():
        return answer
    refined = np.minimum(logits, OUTSIDE_LOGIT)
    refined[rows, cols] = np.where(inside, posterior.clip(-MAX_LOGIT, MAX_LOGIT), refined[rows, cols])
    return replace(answer, logits=torch.from_numpy(refined)[None, None].to(answer.logits.device))


def _posterior(bins: NDArray[np.int64], inside: NDArray[np.bool_], prior: Cells) -> Cells:
    """The logit of each cell to be object; below 0 outside of the box."""
    share = np.where(inside, _sigmoid(prior), 0.0)
    posterior = prior
    for _ in range(NUM_SWEEPS):
        of_object, of_others = (smooth_histogram(weighted_counts(bins, w)) for w in (share, 1 - share))
        posterior = prior + INTENSITY_WEIGHT * log_ratio(of_object, of_others)[bins]
        share = np.where(inside, _sigmoid(posterior), 0.0)
    mask = without_small_parts(inside & (posterior > 0))
    return np.where(mask, posterior, np.minimum(posterior, OUTSIDE_LOGIT))


def _sigmoid(logits: Cells) -> Cells:
    shares: Cells = 1 / (1 + np.exp(-logits.clip(-50, 50)))
    return shares
