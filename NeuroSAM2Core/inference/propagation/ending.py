"""When an object ends: the rule that propagation applies on every slice.

The object score alone runs past the end of small objects: beside a structure there is nearly always something that looks like it. The
expected IoU, the area beside the largest one so far and the overlap with the slice before know better. The numbers were chosen on the
development set (benchmarks/README.md, *Quality*).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from NeuroSAM2Core.inference.options import MIN_AREA_RATIO, EngineOptions

MAX_LEAST_AREA_RATIO = 0.8
"""An object that keeps this share of its largest area goes on however far it reaches, as a vessel or the spinal cord does."""


SHRUNK_RATIO, REGROWTH_RATIO = 0.7, 2.0
"""An object that has shrunk to this share of its largest area and then grows to so many times its least one has run into a neighbour."""


class Ending(StrEnum):
    """Why an object ends on a slice."""

    OBJECT_SCORE = "object score"
    EXPECTED_IOU = "expected IoU"
    AREA = "area"
    OVERLAP = "overlap"
    REGROWTH = "regrowth"


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceEvidence:
    """The measurements on a slice that decide whether the object has ended."""

    object_score_logits: float
    """Above 0 the model thinks that the object is there."""
    expected_iou: float
    area: float
    """Of the mask, mm² or any unit that slices of a pass share."""
    overlap: float
    """IoU with the mask of the slice before; 1 where there is none to compare with."""
    distance: float = 0.0
    """From the confirmed slice that shows most of the object, as a multiple of the diameter of a disc of the largest area; 0 where it
    does not count."""
    has_shrunk_to: float | None = None
    """The least area since the largest of the pass, where that is a small share of it."""


def ending_of(
    evidence: SliceEvidence, largest_area: float, options: EngineOptions, *, is_between: bool = False
) -> Ending | None:
    """Why the object is not on a slice any more; None where it is.

    Args:
        evidence: Of the slice.
        largest_area: Of the slices of the pass so far, the prompted one included.
        options: The thresholds.
        is_between: A confirmed slice ahead shows the object: its shape does not end it before.
    """
    if evidence.object_score_logits <= 0 or evidence.area == 0:
        return Ending.OBJECT_SCORE
    if is_between or not options.ends_by_shape:
        return None
    if evidence.expected_iou < options.min_iou:
        return Ending.EXPECTED_IOU
    least_share = MIN_AREA_RATIO if options.min_area_ratio is None else options.min_area_ratio
    least_share = max(least_share, min(options.area_ratio_slope * evidence.distance, MAX_LEAST_AREA_RATIO))
    if evidence.area < least_share * largest_area:
        return Ending.AREA
    if evidence.overlap < options.min_overlap:
        return Ending.OVERLAP
    if evidence.has_shrunk_to is not None and evidence.area > REGROWTH_RATIO * evidence.has_shrunk_to:
        return Ending.REGROWTH
    return None


@dataclass(slots=True)
class Shrinkage:
    """The areas of a pass so far, in its order."""

    largest: float
    least: float
    """Since the largest one before the object shrank."""

    @classmethod
    def of(cls, areas: Iterable[float]) -> "Shrinkage":
        """Of some areas, at least one."""
        first, *others = areas
        seen = cls(first, first)
        for area in others:
            seen.add(area)
        return seen

    def add(self, area: float) -> None:
        """The next slice; one without the object says nothing of its size."""
        if area > self.largest and self.has_shrunk_to is None:
            self.largest = self.least = area
        elif area > 0:
            self.least = min(self.least, area)

    @property
    def has_shrunk_to(self) -> float | None:
        """See `SliceEvidence`."""
        return self.least if self.least < SHRUNK_RATIO * self.largest else None
