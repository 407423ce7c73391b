"""What the mask refiner sees: a 64 x 64 view of a slice, where the object nearly is, and what the intensities there speak for."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.inference.prediction.appearance import (
    MIN_CELLS,
    IntensityBins,
    differ,
    log_ratio,
    smooth_histogram,
    weighted_counts,
)
from NeuroSAM2Core.model.mask_refiner import SIDE
from NeuroSAM2Core.volume import crop_window

Picture = Float[np.ndarray, "64 64"]
"""Intensities of a part of a slice, in whatever units."""
Mask = Bool[np.ndarray, "64 64"]
RING_RATIO = 0.25
"""How far around the box its surroundings are looked at, as a share of its longer side."""
NUM_SWEEPS = 3
INTENSITY_WEIGHT, CENTRE_WEIGHT, CENTRE_RADIUS, INSIDE_BIAS = 4.0, 0.7, 0.8, 0.3
"""Cells in the middle of a box are more likely than those in its corners; the squared distance from the middle, in half sides, counts."""
MAX_DISTANCE, MAX_EVIDENCE, MAX_POSTERIOR = 8.0, 2.0, 4.0
"""Become 1 in a view."""


@dataclass(frozen=True, slots=True)
class CellBox:
    """Outermost rows and columns of a box on a grid of cells."""

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

    @classmethod
    def around(cls, mask: Bool[np.ndarray, "side side"]) -> "CellBox | None":
        """The tight box of a mask; None where it is empty."""
        box = bounding_box(mask)
        return None if box is None else cls(box[0].start, box[1].start, box[0].stop - 1, box[1].stop - 1)

    @property
    def longer_side(self) -> int:
        """In cells."""
        return max(self.bottom - self.top, self.right - self.left) + 1

    @property
    def ring_width(self) -> int:
        """How many cells around it are its surroundings."""
        return max(2, round(RING_RATIO * self.longer_side))

    def mask(self, side: int) -> Bool[np.ndarray, "side side"]:
        """The cells of a grid that are in the box."""
        return self.widened_mask(0, side)

    def widened_mask(self, margin: int, side: int) -> Bool[np.ndarray, "side side"]:
        """The cells of a grid that are in the box or up to so many beyond it."""
        cells = np.zeros((side, side), bool)
        cells[self.widened(margin, side)] = True
        return cells

    def widened(self, margin: int, side: int) -> tuple[slice, slice]:
        """The cells up to so many beyond it, within a grid."""
        rows = slice(max(self.top - margin, 0), min(self.bottom + margin + 1, side))
        return rows, slice(max(self.left - margin, 0), min(self.right + margin + 1, side))

    def squared_distances(self, rows: slice, cols: slice) -> NDArray[np.float64]:
        """Of cells from its middle, in half sides: 1 at the middle of a side, 2 in a corner."""
        row, col = np.mgrid[rows, cols]
        down = (row - (self.top + self.bottom) / 2) / ((self.bottom - self.top + 1) / 2)
        across = (col - (self.left + self.right) / 2) / ((self.right - self.left + 1) / 2)
        distances: NDArray[np.float64] = down**2 + across**2
        return distances


def view_of_box(picture: Picture, box: CellBox) -> Float[np.ndarray, "5 64 64"]:
    """The view of a slice with a box around the object."""
    seen = normalised(picture)
    evidence, posterior = box_evidence(seen, box)
    return _stacked(seen, posterior, box.mask(SIDE), evidence, is_box=True)


def view_of_mask(
    picture: Picture, neighbour: Picture, mask: Mask, evidence: Float[np.ndarray, "64 64"] | None
) -> Float[np.ndarray, "5 64 64"]:
    """The view of a slice beside one where the object's mask is known.

    Args:
        picture: The slice, `normalised`.
        neighbour: The one beside it, in the same crop, likewise.
        mask: The object there, not empty.
        evidence: How much each intensity of the slice speaks for the object; None where that is unknown.
    """
    known = np.zeros(picture.shape) if evidence is None else evidence
    return _stacked(picture, neighbour, mask, known, is_box=False)


def box_differs(picture: Picture, box: CellBox) -> bool:
    """The intensities in a box differ from those around it, so that something can be seen there."""
    rows, cols = box.widened(box.ring_width, SIDE)
    inside = box.mask(SIDE)[rows, cols]
    numbers = IntensityBins.of(picture[rows, cols]).number(picture[rows, cols])
    return differ(*(smooth_histogram(weighted_counts(numbers, cells)) for cells in (inside, ~inside)))


def normalised(picture: Picture) -> Picture:
    """Intensities with their percentiles 1 and 99 as 0 and 1, within -1 to 2; padding does not count."""
    window = crop_window(picture)
    if window is None:
        return np.zeros(picture.shape, np.float32)
    seen = (picture - window.low) / (window.high - window.low)
    return np.asarray(seen.clip(-1, 2), np.float32)


def box_evidence(seen: Picture, box: CellBox) -> tuple[Float[np.ndarray, "64 64"], Float[np.ndarray, "64 64"]]:
    """How much each intensity speaks for what is in the middle of a box, and the object that follows from it, -1 to 1.

    The intensities of the object and of the rest are estimated in turn with the object, as in GrabCut without its graph.

    Source: Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004.
    """
    evidence, posterior = np.zeros(seen.shape), np.full(seen.shape, -1.0)
    rows, cols = box.widened(box.ring_width, SIDE)
    inside = box.mask(SIDE)[rows, cols]
    if min(inside.sum(), (~inside).sum()) < MIN_CELLS:
        return evidence, np.zeros(seen.shape)
    prior = INSIDE_BIAS - CENTRE_WEIGHT * (box.squared_distances(rows, cols) - CENTRE_RADIUS)
    bins = IntensityBins.of(seen[rows, cols])
    numbers = bins.number(seen[rows, cols])
    logits = prior
    for sweep in range(NUM_SWEEPS):
        share = np.where(inside, 1 / (1 + np.exp(-logits.clip(-50, 50))), 0.0)
        of_object, of_others = (smooth_histogram(weighted_counts(numbers, w)) for w in (share, 1 - share))
        ratios = log_ratio(of_object, of_others)
        if sweep == 0:
            evidence = ratios[bins.number(seen)]
        logits = prior + INTENSITY_WEIGHT * ratios[numbers]
    posterior[rows, cols] = np.where(inside, (logits / MAX_POSTERIOR).clip(-1, 1), -1)
    return evidence, posterior


def _stacked(
    seen: Picture, beside: NDArray[np.floating], place: Mask, evidence: NDArray[np.floating], *, is_box: bool
) -> Float[np.ndarray, "5 64 64"]:
    distances = _distances(place) / MAX_DISTANCE
    kind = np.full(seen.shape, float(is_box))
    return np.stack([seen, beside, distances, evidence / MAX_EVIDENCE, kind]).astype(np.float32)


def _distances(place: Mask) -> NDArray[np.float64]:
    """Of the middles of cells from the border of a mask, in cells, within ±MAX_DISTANCE; above 0 inside."""
    box = CellBox.around(place)
    if box is None or place.all():
        return np.full(place.shape, -MAX_DISTANCE if box is None else MAX_DISTANCE)
    near = box.widened(math.ceil(MAX_DISTANCE), place.shape[0])  # farther away it is MAX_DISTANCE or more
    inside, outside = ndimage.distance_transform_edt(place[near]), ndimage.distance_transform_edt(~place[near])
    distances = np.full(place.shape, -MAX_DISTANCE)
    distances[near] = np.where(place[near], inside - 0.5, 0.5 - outside).clip(-MAX_DISTANCE, MAX_DISTANCE)
    return distances
