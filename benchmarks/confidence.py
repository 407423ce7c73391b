"""How far a model knows how good its masks are, and from which expected overlap on it may call a slice sure.

The objects of the development set (`benchmarks.quality`), each from one tight box, propagated through the volume. From the expected overlap
that is named here on, the panels call a slice sure; it is kept with the model (`review_iou_threshold`). It is the least one for which
nine of ten sure slices are good and no more than one in twenty of the bad slices is sure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.cases import ImageSource, Mask, Size, mni_sources
from benchmarks.quality.heads import head_sources
from benchmarks.quality.prompts import first_prompts
from benchmarks.report import as_table
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.volume import Axis

MODEL = "nano"
GOOD_DICE, BAD_DICE = 0.8, 0.5
LEAST_PRECISION, MOST_BAD = 0.9, 0.05
"""Of the slices called sure so many are good; of the bad slices so many at most are called sure."""
LIMITS = np.arange(30, 100) / 100
FOUND = 0.5
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rated:
    """Slices on which the model has found an object."""

    predicted: Values
    """The expected overlap."""
    dice: Values
    """The true one."""

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """The mask is good."""
        return self.dice >= GOOD_DICE

    @property
    def is_bad(self) -> NDArray[np.bool_]:
        """The mask is bad."""
        return self.dice < BAD_DICE

    def precision(self, limit: float) -> float:
        """The share of good ones among the slices called sure; 1 where there are none."""
        sure = self.predicted >= limit
        return float(self.is_good[sure].mean()) if sure.any() else 1.0

    def bad_called_sure(self, limit: float) -> float:
        """The share of the bad slices that are called sure; 0 where there are none."""
        return float((self.predicted[self.is_bad] >= limit).mean()) if self.is_bad.any() else 0.0


def measure() -> str:
    """The table of this file."""
    model = load_model(MODEL)
    by_size: dict[Size, list[Rated]] = {"small": [], "large": []}
    for source in (*mni_sources(None), *head_sources()):
        for size, rated in rated_objects(model, source):
            by_size[size].append(rated)
    parts = {size: joined(found) for size, found in by_size.items()}
    parts |= {"all": joined([*parts.values()])}
    limit = review_iou_threshold(list(parts.values())[:2])
    rows = [
        (
            f"{name} ({len(part.dice)} slices)",
            f"{part.is_good.mean():.0%}",
            f"{part.is_bad.mean():.0%}",
            f"{rank_correlation(part):.2f}",
            f"{(part.predicted >= limit).mean():.0%}",
            f"{part.precision(limit):.0%}",
            f"{part.bad_called_sure(limit):.0%}",
        )
        for name, part in parts.items()
    ]
    head = (
        *("objects", f"good (Dice >= {GOOD_DICE})", f"bad (Dice < {BAD_DICE})", "rank correlation"),
        *("called sure", "of these good", "of the bad called sure"),
    )
    return f"{as_table(head, rows)}\n`review_iou_threshold` of {MODEL}: {limit:.2f}.\n"


def review_iou_threshold(groups: list[Rated]) -> float:
    """The least limit that keeps both promises in every group of slices; 1 where none does."""
    for limit in LIMITS:
        if all(g.precision(limit) >= LEAST_PRECISION and g.bad_called_sure(limit) <= MOST_BAD for g in groups):
            return float(limit)
    return 1.0


def rank_correlation(slices: Rated) -> float:
    """Spearman's."""
    predicted, true = (np.argsort(np.argsort(values)) for values in (slices.predicted, slices.dice))
    return float(np.corrcoef(predicted, true)[0, 1])


def joined(parts: list[Rated]) -> Rated:
    """One after the other."""
    if not parts:
        return Rated(np.zeros(0), np.zeros(0))
    return Rated(np.concatenate([p.predicted for p in parts]), np.concatenate([p.dice for p in parts]))


def rated_objects(model: SAM2, source: ImageSource) -> Iterator[tuple[Size, Rated]]:
    """The propagated slices of every object in an image."""
    image, truths = source.make()
    for row in source.rows:
        found = list(slices_of(model, image, truths[row.name], row.axes))
        if found:
            predicted, dice = np.array(found).T
            yield row.size, Rated(predicted, dice)


def slices_of(model: SAM2, image: Volume, truth: Mask, axes: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """Expected overlap and Dice of every slice that one object was carried to from the box on its largest slice."""
    prompts = first_prompts(truth, axes)
    axis = next(one for one in Axis if one.array_axis == prompts.axis)
    session = Session(model, image)
    session.add_box(1, axis, prompts.index, prompts.box)
    for one in session.propagate(1):
        if one.object_score >= FOUND and one.mask.any():
            there = one.plane.of(truth)
            yield one.predicted_iou, 2 * float((one.mask & there).sum()) / float(one.mask.sum() + there.sum())
