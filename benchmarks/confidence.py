"""How far a model knows how good its masks are: its predicted overlap beside the true one, and what follows for the ribbon.

Objects of synthetic volumes that no training has seen, and of the MNI152 brain along all three axes, each from one box on its largest
slice. From the overlap named here on, the panels call a slice sure; it is kept with the model (`sure_iou`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality import Mask, mni152
from benchmarks.report import as_table
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.synth import sample_volume
from NeuroSAM2Core.volume import Axis, SlicePlane

MODEL = "nano"
SEEDS = range(1_000_000, 1_000_024)
SYNTHETIC, MNI = "synthetic", "MNI152"
SHAPE = (32, 128, 128)
OBJECTS_PER_VOLUME, MIN_PIXELS = 3, 64
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

    @property
    def good(self) -> Values:
        """What the model predicts for good masks."""
        return self.predicted[self.true >= GOOD_IOU]

    @property
    def bad(self) -> Values:
        """And for the others."""
        return self.predicted[self.true < GOOD_IOU]


def measure() -> str:
    """The table of this file, and the number."""
    model = load_model(MODEL)
    sets = {SYNTHETIC: rated(synthetic(model)), MNI: rated(brain(model))}
    both = Rated(*(np.concatenate([getattr(one, name) for one in sets.values()]) for name in ("predicted", "true")))
    sure = sure_iou(both)
    rows = [
        (
            name,
            f"{len(one.good)}",
            f"{len(one.bad)}",
            f"{rank_correlation(one):.2f}",
            *(f"{(part < limit).mean():.0%}" for limit in (0.8, sure) for part in (one.good, one.bad)),
        )
        for name, one in (*sets.items(), ("both", both))
    ]
    head = (
        "slices of",
        f"good (IoU >= {GOOD_IOU})",
        "others",
        "rank correlation",
        "good ones marked below 0.80",
        "others marked",
        f"good ones marked below {sure:.2f}",
        "others marked",
    )
    said = f"`sure_iou` of {MODEL}: {sure:.2f}, the largest that marks at most {FALSE_ALARMS:.0%} of the good masks.\n"
    return f"{as_table(head, rows)}\n{said}"


def sure_iou(slices: Rated) -> float:
    """The largest limit, in hundredths, below which the model puts no more good masks than are allowed."""
    return float(np.floor(100 * np.quantile(slices.good, FALSE_ALARMS)) / 100)


def rank_correlation(slices: Rated) -> float:
    """Spearman's."""
    predicted, true = (np.argsort(np.argsort(values)) for values in (slices.predicted, slices.true))
    return float(np.corrcoef(predicted, true)[0, 1])


def rated(pairs: Iterator[tuple[float, float]]) -> Rated:
    """Predicted and true overlaps."""
    predicted, true = np.array(list(pairs)).T
    return Rated(predicted, true)


def synthetic(model: SAM2) -> Iterator[tuple[float, float]]:
    """Heads and shapes as the model was trained on, of other seeds."""
    for seed in SEEDS:
        sample = sample_volume(SHAPE, torch.Generator().manual_seed(seed))
        volume = Volume(sample.image.numpy().astype(np.float32), UPRIGHT)
        truths = [np.isin(sample.labels.numpy(), list(one.labels)) for one in sample.objects]
        large = [truth for truth in truths if truth.sum(axis=(1, 2)).max() >= MIN_PIXELS]
        for number in np.random.default_rng(seed).permutation(len(large))[:OBJECTS_PER_VOLUME]:
            yield from overlaps(model, volume, large[number], Axis.K)


def brain(model: SAM2) -> Iterator[tuple[float, float]]:
    """A real contrast and real anatomy."""
    image, objects = mni152()
    for truth in objects.values():
        for axis in Axis:
            yield from overlaps(model, image, truth, axis)


def overlaps(model: SAM2, volume: Volume, truth: Mask, axis: Axis) -> Iterator[tuple[float, float]]:
    """Of the slices of one object that was carried through the volume from the box on its largest slice."""
    areas = np.moveaxis(truth, axis.array_axis, 0).sum(axis=(1, 2))
    start = int(areas.argmax())
    rows, cols = np.nonzero(SlicePlane(axis, start).of(truth))
    session = Session(model, volume)
    first = session.add_box(1, axis, start, (rows.min(), cols.min(), rows.max(), cols.max()))
    for one in (first, *session.propagate(1)):
        there = one.plane.of(truth)
        if one.presence >= PRESENT and there.any():
            yield one.predicted_iou, float((one.mask & there).sum() / (one.mask | there).sum())
