"""Which part of a box is the object, by its intensities: the mask that a model gives for the first box on a slice, refined.

A small model tends to fill the box. Inside it the object differs from what surrounds the box more often than not, so the intensities of
both are estimated in turn with the mask, as in GrabCut without its graph: on 64 x 64 cells a few sweeps over two histograms take under
a millisecond. Where the intensities do not differ, the model's mask stays.

Masks that are carried from slice to slice are not refined: what is wrong on one slice would be believed on the next (docs/adr/0013).

Source: Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

from NeuroSAM2Core.model import MaskPrediction

NUM_BINS = 24
BLUR_BINS = 1.5
FLOOR = 1e-3
"""Added to every bin, so that an intensity that was never seen excludes nothing."""
NUM_SWEEPS = 4
RING_RATIO = 0.25
"""How far around the box its surroundings are looked at, as a share of its longer side."""
MIN_CELLS = 8
"""Fewer cells in or around the box say nothing."""
MIN_DIFFERENCE = 0.15
"""Of the intensities in the box and around it (total variation of the histograms); below it the model's mask stays."""
INTENSITY_WEIGHT, MAX_LOG_RATIO = 4.0, 2.0
MASK_WEIGHT = 0.5
CENTRE_WEIGHT, CENTRE_RADIUS, INSIDE_BIAS = 0.5, 0.8, 0.3
"""Cells in the middle of a box are more likely than those in its corners; the squared distance from the middle, in half sides, counts."""
MIN_PART_RATIO = 0.15
"""Parts smaller than this share of the largest one are dropped."""
MAX_LOGIT, OUTSIDE_LOGIT = 10.0, -3.0

Cells = NDArray[np.float64]
"""(h, w), a value for each cell of the decoder's grid."""


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
    bins = _binned(picture[rows, cols])
    inner, outer = _histogram(bins, np.where(inside, _sigmoid(prior), 0.0)), _histogram(bins, (~inside).astype(float))
    if np.abs(inner - outer).sum() / 2 < MIN_DIFFERENCE:
        return answer
    posterior = _posterior(bins, inside, prior)
    if not (posterior > 0).any():
        return answer
    refined = np.minimum(logits, OUTSIDE_LOGIT)
    refined[rows, cols] = np.where(inside, posterior.clip(-MAX_LOGIT, MAX_LOGIT), refined[rows, cols])
    return replace(answer, logits=torch.from_numpy(refined)[None, None].to(answer.logits.device))


def _binned(picture: NDArray[np.float32]) -> NDArray[np.int64]:
    """The histogram bin of each cell, between the percentiles 1 and 99."""
    low, high = np.percentile(picture, (1, 99))
    shares = np.clip((picture - low) / max(high - low, 1e-6), 0, 1)
    return np.minimum((shares * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def _posterior(bins: NDArray[np.int64], inside: NDArray[np.bool_], prior: Cells) -> Cells:
    """The logit of each cell to be object; below 0 outside of the box."""
    share = np.where(inside, _sigmoid(prior), 0.0)
    posterior = prior
    for _ in range(NUM_SWEEPS):
        object_histogram, other_histogram = _histogram(bins, share), _histogram(bins, 1 - share)
        log_ratio = np.log(object_histogram / other_histogram).clip(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        posterior = prior + INTENSITY_WEIGHT * log_ratio[bins]
        share = np.where(inside, _sigmoid(posterior), 0.0)
    mask = inside & (posterior > 0)
    labels, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(labels.ravel())[1:]
        is_kept = np.isin(labels, 1 + np.flatnonzero(sizes >= MIN_PART_RATIO * sizes.max()))
        mask &= is_kept
    return np.where(mask, posterior, np.minimum(posterior, OUTSIDE_LOGIT))


def _histogram(bins: NDArray[np.int64], weights: Cells) -> NDArray[np.float64]:
    counts = np.bincount(bins.ravel(), weights.ravel(), NUM_BINS) + 1e-9
    smooth = ndimage.gaussian_filter1d(counts / counts.sum(), BLUR_BINS, mode="nearest") + FLOOR
    return np.asarray(smooth / smooth.sum())


def _sigmoid(logits: Cells) -> Cells:
    shares: Cells = 1 / (1 + np.exp(-logits.clip(-50, 50)))
    return shares
