"""The state of an object: its prompts, and how confident the model is on each of its slices.

A value, kept per step, so that undo can go back to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.remote import REVIEW_IOU_THRESHOLD
from NeuroSAM2Core.volume import Axis, Direction, SlicePlane

CONFIDENT_OBJECT_SCORES = (0.2, 0.8)
FOUND = 0.5
"""From this object score on the object counts as being in the slice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceQuality:
    """The model's confidence on a slice, and a digest of its mask."""

    predicted_iou: float
    """The overlap with the truth that the model expects, 0 to 1."""
    object_score: float
    """Probability that the object is in the slice, 0 to 1."""
    review_iou_threshold: float = REVIEW_IOU_THRESHOLD
    """From this expected overlap on the model that answered needs no second look."""
    digest: int = 0
    """Of the mask as it was written; another one there now means that it was edited by hand."""
    is_stale: bool = False
    """A correction nearby has made it out of date; the next propagation does it again."""
    num_readings: int = 1
    """How many masks the click on it can mean; 1 where it means one."""
    ending: str = ""
    """Why the object ends on it, as `SliceMask` says; empty where it is there."""

    @property
    def is_present(self) -> bool:
        """The object is on it."""
        return self.object_score >= FOUND

    @property
    def is_doubtful(self) -> bool:
        """A person should look at it: the model is not sure that the object is there, or that its mask is good."""
        low, high = CONFIDENT_OBJECT_SCORES
        return low < self.object_score < high or (
            self.object_score >= high and self.predicted_iou < self.review_iou_threshold
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRecord:
    """One object."""

    prompts: ObjectPrompts = field(default_factory=ObjectPrompts)
    quality: Mapping[SlicePlane, SliceQuality] = field(default_factory=lambda: MappingProxyType({}))
    """All slices that have been answered, tracked or kept."""
    unanswered: frozenset[SlicePlane] = frozenset()
    """Slices whose prompts were changed or removed and have no answer yet."""

    def with_quality(self, plane: SlicePlane, quality: SliceQuality | None) -> "ObjectRecord":
        """One slice done, or not done any more."""
        known = dict(self.quality)
        known.pop(plane, None)
        if quality is not None:
            known[plane] = quality
        return replace(self, quality=MappingProxyType(known), unanswered=self.unanswered - {plane})

    def with_qualities(self, qualities: Mapping[SlicePlane, SliceQuality]) -> "ObjectRecord":
        """Many slices done; quicker than one after the other."""
        return replace(self, quality=MappingProxyType({**self.quality, **qualities}))

    def with_unanswered(self, planes: frozenset[SlicePlane]) -> "ObjectRecord":
        """With these slices waiting for an answer."""
        return replace(self, unanswered=planes)

    def with_stale(self, axis: Axis, first: int, last: int) -> "ObjectRecord":
        """What was tracked from one slice to another is out of date; their prompts stay."""
        prompted = set(self.prompts.planes)
        known = {
            plane: replace(quality, is_stale=True)
            if plane.axis == axis and first <= plane.index <= last and plane not in prompted
            else quality
            for plane, quality in self.quality.items()
        }
        return replace(self, quality=MappingProxyType(known))

    def doubtful(self, axis: Axis | None) -> frozenset[SlicePlane]:
        """The slices along an axis that a person should look at; those that were confirmed are none."""
        prompted = set(self.prompts.planes)
        return frozenset(
            plane
            for plane, quality in self.quality.items()
            if plane.axis == axis and plane not in prompted and quality.is_doubtful
        )

    def open_reading(self, plane: SlicePlane) -> tuple[int, int] | None:
        """Which reading of the click on a slice is chosen, from 0, and how many there are; None where nothing is to be chosen."""
        quality = self.quality.get(plane)
        if quality is None or plane.axis != self.prompts.axis or not self.prompts.is_single_click(plane.index):
            return None
        if quality.num_readings < 2:
            return None
        return self.prompts.reading_on(plane.index) % quality.num_readings, quality.num_readings

    def ends(self, direction: Direction = Direction.BOTH) -> tuple[SlicePlane, ...]:
        """The slices next to the outermost ones with the object, where propagation has found that it is not there any more.

        Args:
            direction: Only the end above or below, as the stored index counts.
        """
        axis, prompted = self.prompts.axis, set(self.prompts.planes)
        known = {p.index: q for p, q in self.quality.items() if p.axis == axis and not q.is_stale}
        present = [index for index, quality in known.items() if quality.is_present]
        if axis is None or not present:
            return ()
        beyond = {Direction.DOWN: (min(present) - 1,), Direction.UP: (max(present) + 1,)}
        indices = beyond.get(direction, (min(present) - 1, max(present) + 1))
        planes = (SlicePlane(axis, index) for index in indices if index in known)
        return tuple(plane for plane in planes if plane not in prompted)

    def around(self, plane: SlicePlane) -> tuple[int, int]:
        """First and last slice that depend on a slice: up to the next prompted ones on both sides.

        Where there is none on a side, and another prompted slice shows the object, up to where the object has ended.
        """
        others = [p.index for p in self.prompts.planes if p.axis == plane.axis and p != plane]
        known = {p.index: q for p, q in self.quality.items() if p.axis == plane.axis}
        is_shown = any(known[n].is_present for n in others if n in known)
        ended = [n for n, q in known.items() if q.ending and not q.is_stale and n not in others] if is_shown else []
        below = max(
            (n for n in others if n < plane.index),
            default=max((n for n in ended if n < plane.index), default=min(known, default=plane.index) - 1),
        )
        above = min(
            (n for n in others if n > plane.index),
            default=min((n for n in ended if n > plane.index), default=max(known, default=plane.index) + 1),
        )
        return below + 1, above - 1


def next_doubtful(record: ObjectRecord, plane: SlicePlane) -> SlicePlane | None:
    """The next slice upwards, around the end, that a person should look at; None if there is none."""
    doubtful = sorted(p.index for p in record.doubtful(plane.axis))
    index = next((n for n in doubtful if n > plane.index), doubtful[0] if doubtful else None)
    return None if index is None else SlicePlane(plane.axis, index)
