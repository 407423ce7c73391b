"""Histograms of the intensities of an object and of its surroundings, and which of the two an intensity speaks for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
