"""What is measured on one object: overlaps per slice, where masks run past the object or end before it, and how confidence fits.

Pure functions of masks. The field's names for the failures are prompt-slice over-segmentation (too much on the prompted slice),
over-propagation (masks on slices without the object) and retention decay (Dice falls with the distance from the prompt).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
GOOD_DICE, BAD_DICE = 0.8, 0.5
"""A slice is good from the first on, and bad below the second."""
BIN_ENDS = (0, 1, 2, 4, 8, 16, 32, 10_000)
"""Last distance of each bin of the retention curve, in slices from the prompted one."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceOverlap:
    """Voxels of a result and of the truth on every slice along an axis."""

    axis: int
    found: Counts
    truth: Counts
    common: Counts

    @classmethod
    def of(cls, found: Mask, truth: Mask, axis: int) -> "SliceOverlap":
        """Counts two masks (K, J, I) slice by slice along an array axis."""
        others = tuple(a for a in range(3) if a != axis)
        return cls(axis, *(np.count_nonzero(mask, axis=others) for mask in (found, truth, found & truth)))

    @property
    def dice(self) -> float:
        """Of the whole object; 1 where both are empty."""
        total = int(self.found.sum() + self.truth.sum())
        return 2 * int(self.common.sum()) / total if total else 1.0

    def slice_dice(self, index: int) -> float:
        """Of one slice; 1 where both are empty."""
        total = int(self.found[index] + self.truth[index])
        return 2 * int(self.common[index]) / total if total else 1.0

    def over_segmentation(self, index: int) -> float:
        """False voxels on a slice over true ones of the object there; not a number on a slice without the object."""
        true = int(self.truth[index])
        return int(self.found[index] - self.common[index]) / true if true else math.nan

    @property
    def num_slices(self) -> int:
        """Slices with the object."""
        return int((self.truth > 0).sum())

    @property
    def false_slices(self) -> int:
        """Slices that were marked although the object is not there (over-propagation)."""
        return int(((self.truth == 0) & (self.found > 0)).sum())

    @property
    def missed_slices(self) -> int:
        """Slices with the object on which nothing was marked."""
        return int(((self.truth > 0) & (self.found == 0)).sum())

    @property
    def worst_slice(self) -> int:
        """The slice with the most wrong voxels, missed and false ones together."""
        return int((self.found + self.truth - 2 * self.common).argmax())

    def retention(self, prompted: int) -> list[tuple[int, float]]:
        """(distance from the prompted slice in slices, Dice) of every slice with the object."""
        return [(abs(int(n) - prompted), self.slice_dice(int(n))) for n in np.flatnonzero(self.truth)]


@dataclass(frozen=True, slots=True)
class Confidence:
    """Slices by what the model says of them and how good they are; without slices that are rightly empty."""

    sure_good: int = 0
    sure_fair: int = 0
    sure_bad: int = 0
    unsure_good: int = 0
    unsure_fair: int = 0
    unsure_bad: int = 0

    @classmethod
    def of(cls, overlap: SliceOverlap, is_sure: Mapping[int, bool]) -> "Confidence":
        """Counts the slices that `is_sure` names, by index."""
        counts = dict.fromkeys(cls.__dataclass_fields__, 0)
        for index, sure in is_sure.items():
            if overlap.found[index] or overlap.truth[index]:
                dice = overlap.slice_dice(index)
                quality = "good" if dice >= GOOD_DICE else "bad" if dice < BAD_DICE else "fair"
                counts[f"{'sure' if sure else 'unsure'}_{quality}"] += 1
        return cls(**counts)

    def __add__(self, other: "Confidence") -> "Confidence":
        mine, theirs = asdict(self), asdict(other)
        return Confidence(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def sure(self) -> int:
        """Slices called sure."""
        return self.sure_good + self.sure_fair + self.sure_bad

    @property
    def good(self) -> int:
        """Good slices."""
        return self.sure_good + self.unsure_good


def binned(pairs: Iterable[tuple[int, float]], ends: Sequence[int] = BIN_ENDS) -> list[float]:
    """Mean of the values in each bin of distance; not a number for an empty bin.

    Args:
        pairs: Distance and value.
        ends: Last distance of each bin, rising.
    """
    bins: list[list[float]] = [[] for _ in ends]
    for distance, value in pairs:
        bins[int(np.searchsorted(ends, distance))].append(value)
    return [float(np.mean(values)) if values else math.nan for values in bins]


def bin_names(ends: Sequence[int] = BIN_ENDS) -> list[str]:
    """The distances of each bin, for people: 0, 1, 2, 3-4, ... 33+."""
    names = []
    for n, end in enumerate(ends):
        first = 0 if n == 0 else ends[n - 1] + 1
        names.append(f"{first}+" if n == len(ends) - 1 else str(end) if first == end else f"{first}-{end}")
    return names


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Everything measured on one object with one method. What a method cannot do is not a number."""

    corrections: int
    """Clicks after the box that were allowed."""
    voxels: int
    """Of the truth."""
    slices: int
    """With the object, along the prompted axis."""
    axis: int
    index: int
    """The slice prompted first."""
    box_slice: float
    """Dice on the prompted slice after the box."""
    box_over: float
    """Over-segmentation there."""
    box_whole: tuple[float, ...]
    """Dice of the whole object after the box and after each correction; ends early where nothing was wrong."""
    false_slices: tuple[int, ...]
    """Likewise."""
    missed_slices: tuple[int, ...]
    """Likewise."""
    found_ml: float
    """Volume of the result after the box."""
    truth_ml: float
    retention: tuple[tuple[int, float], ...]
    """After the box; see `SliceOverlap.retention`."""
    confidence: Confidence
    """Of the slices that were propagated to after the box."""
    click_slice: float = math.nan
    """Dice on the prompted slice of the mask that answers one click."""
    click_over: float = math.nan
    click_best: float = math.nan
    """The best of the first three readings of that click."""
    click_whole: float = math.nan
    """Dice of the whole object after that click alone."""
    click_best_whole: float = math.nan
    """Likewise, after the best reading was chosen."""
    click_false_slices: int = 0
    click_missed_slices: int = 0
    slice_seconds: float = math.nan
    """First propagation, per slice done; of the processor, which on one thread is what a person waits on an idle machine."""
    warm_click_seconds: float = math.nan
    """Likewise, for one click on a slice that was visited before."""
    seconds: float = 0.0
    """All that was measured for this object, by the clock."""

    def whole_after(self, corrections: int) -> float:
        """Dice of the whole object after so many corrections, or after the last one that was needed; not a number beyond those allowed."""
        if corrections > self.corrections:
            return math.nan
        return self.box_whole[min(corrections, len(self.box_whole) - 1)]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Measurement":
        """The inverse of `to_dict`, after a round trip through JSON."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        for name, value in known.items():
            if isinstance(value, list):
                known[name] = tuple(tuple(one) if isinstance(one, list) else one for one in value)
        confidence = known["confidence"]
        assert isinstance(confidence, dict)
        known["confidence"] = Confidence(**confidence)
        return cls(**known)  # type: ignore[arg-type]
