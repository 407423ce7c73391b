"""How far a model knows how good its masks are: its predicted overlap beside the true one, and what follows for the ribbon.

Objects of synthetic volumes that no training has seen, and of the MNI152 brain along all three axes, each from one box on its largest
slice. From the overlap named here on, the panels call a slice sure; it is kept with the model (`sure_iou`). Below it, a slice is doubtful
if it is also rated lower than the slice that the person has boxed and accepted: some objects are rated low throughout.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "NeuroSAM2Slicer"))

from NeuroSAM2MRML.objects.record import FALL

from benchmarks.quality import Mask, mni152
from benchmarks.report import as_table
from benchmarks.unseen import unseen_objects
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.volume import Axis, SlicePlane

MODEL = "nano"
SEEDS = range(1_000_000, 1_000_024)
SYNTHETIC, MNI = "synthetic", "MNI152"
SHAPE = (32, 128, 128)
GOOD_IOU = 0.8
PRESENT = 0.8
FALSE_ALARMS = 0.1
"""Of the good masks so many may be marked as doubtful."""
UPRIGHT = np.diag([-1.0, -1.0, 1.0, 1.0])
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rated:
    """Slices on which the object is and the model has found it."""

    predicted: Values
    true: Values
    accepted: Values
    """What the model predicted for the boxed slice of the same object."""
    was_good: NDArray[np.bool_]
    """That slice was good, so that a person would have gone on."""

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """The mask is good."""
        return self.true >= GOOD_IOU

    @property
    def good(self) -> Values:
        """What the model predicts for good masks."""
        return self.predicted[self.is_good]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Rated":
        return Rated(self.predicted[chosen], self.true[chosen], self.accepted[chosen], self.was_good[chosen])


def measure() -> str:
    """The table of this file, and the number."""
    model = load_model(MODEL)
    sets = {SYNTHETIC: rated(synthetic(model)), MNI: rated(brain(model))}
    sure = sure_iou(joined(list(sets.values())))
    groups = {name: one[one.was_good] for name, one in sets.items()}
    groups["both"] = joined(list(groups.values()))
    groups["objects that were not understood"] = joined([one[~one.was_good] for one in sets.values()])
    rows = [
        (
            name,
            f"{one.is_good.sum()}",
            f"{(~one.is_good).sum()}",
            f"{rank_correlation(one):.2f}",
            *(share(marked, part) for marked in rules(one, sure) for part in (one.is_good, ~one.is_good)),
        )
        for name, one in groups.items()
    ]
    head = (
        "slices of",
        f"good (IoU >= {GOOD_IOU})",
        "others",
        "rank correlation",
        *(
            f"{which} marked {rule}"
            for rule in ("below 0.80", f"below {sure:.2f}", "by the panels")
            for which in ("good", "others")
        ),
    )
    said = f"`sure_iou` of {MODEL}: {sure:.2f}, the largest that marks at most {FALSE_ALARMS:.0%} of the good masks.\n"
    return f"{as_table(head, rows)}\n{said}"


def rules(slices: Rated, sure: float) -> list[NDArray[np.bool_]]:
    """Which slices are marked: by the usual limit, by the model's own, and by that and the boxed slice, as the panels do."""
    limit = np.minimum(sure, FALL * slices.accepted)
    return [slices.predicted < 0.8, slices.predicted < sure, slices.predicted < limit]


def share(marked: NDArray[np.bool_], part: NDArray[np.bool_]) -> str:
    """Of a part of the slices, so many are marked."""
    return f"{marked[part].mean():.0%}" if part.any() else ""


def joined(parts: list[Rated]) -> Rated:
    """One after the other."""
    names = ("predicted", "true", "accepted", "was_good")
    return Rated(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


def sure_iou(slices: Rated) -> float:
    """The largest limit, in hundredths, below which the model puts no more good masks than are allowed."""
    return float(np.floor(100 * np.quantile(slices.good, FALSE_ALARMS)) / 100)


def rank_correlation(slices: Rated) -> float:
    """Spearman's."""
    predicted, true = (np.argsort(np.argsort(values)) for values in (slices.predicted, slices.true))
    return float(np.corrcoef(predicted, true)[0, 1])


def rated(slices: Iterator[tuple[float, ...]]) -> Rated:
    """The fields of `Rated`, slice by slice."""
    predicted, true, accepted, was_good = np.array(list(slices)).T
    return Rated(predicted, true, accepted, was_good > 0)


def synthetic(model: SAM2) -> Iterator[tuple[float, ...]]:
    """Heads and shapes as the model was trained on, of other seeds."""
    for image, truth in unseen_objects(SEEDS, SHAPE):
        yield from overlaps(model, Volume(image, UPRIGHT), truth, Axis.K)


def brain(model: SAM2) -> Iterator[tuple[float, ...]]:
    """A real contrast and real anatomy."""
    image, objects = mni152()
    for truth in objects.values():
        for axis in Axis:
            yield from overlaps(model, image, truth, axis)


def overlaps(model: SAM2, volume: Volume, truth: Mask, axis: Axis) -> Iterator[tuple[float, ...]]:
    """The slices of one object that was carried through the volume from the box on its largest slice."""
    areas = np.moveaxis(truth, axis.array_axis, 0).sum(axis=(1, 2))
    start = int(areas.argmax())
    rows, cols = np.nonzero(SlicePlane(axis, start).of(truth))
    session = Session(model, volume)
    first = session.add_box(1, axis, start, (rows.min(), cols.min(), rows.max(), cols.max()))
    was_good = iou(first.mask, first.plane.of(truth)) >= GOOD_IOU
    for one in session.propagate(1):
        there = one.plane.of(truth)
        if one.presence >= PRESENT and (one.mask.any() or there.any()):
            yield one.predicted_iou, iou(one.mask, there), first.predicted_iou, was_good


def iou(mask: Mask, truth: Mask) -> float:
    """Of two masks that are not both empty."""
    return float((mask & truth).sum() / (mask | truth).sum())
