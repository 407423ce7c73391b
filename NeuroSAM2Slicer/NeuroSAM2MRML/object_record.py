"""What is known of an object at one moment: what was said about it and how sure the model is of each of its slices. A value, kept per step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from NeuroSAM2MRML.object_prompts import ObjectPrompts

SURE_IOU = 0.8
SURE_PRESENCE = (0.2, 0.8)


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceQuality:
    """How sure the model is of a slice, and what it left there."""

    predicted_iou: float
    """The overlap with the truth that the model expects, 0 to 1."""
    presence: float
    """Probability that the object is in the slice, 0 to 1."""
    digest: int = 0
    """Of the mask as it was written; another one there now means that it was edited by hand."""
    is_stale: bool = False
    """A correction nearby has made it out of date; the next propagation does it again."""

    @property
    def is_doubtful(self) -> bool:
        """A person should look at it."""
        low, high = SURE_PRESENCE
        return low < self.presence < high or (self.presence >= high and self.predicted_iou < SURE_IOU)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRecord:
    """One object."""

    prompts: ObjectPrompts = field(default_factory=ObjectPrompts)
    quality: Mapping[int, SliceQuality] = field(default_factory=lambda: MappingProxyType({}))
    """By slice: all that have been answered or tracked."""
    unanswered: frozenset[int] = frozenset()
    """Slices on which something was said that has no answer yet."""

    def with_quality(self, index: int, quality: SliceQuality | None) -> "ObjectRecord":
        """One slice done, or not done any more."""
        known = dict(self.quality)
        known.pop(index, None)
        if quality is not None:
            known[index] = quality
        return replace(self, quality=MappingProxyType(known), unanswered=self.unanswered - {index})

    def with_stale(self, first: int, last: int) -> "ObjectRecord":
        """What was tracked from one slice to another is out of date; what was said on them stands."""
        said = set(self.prompts.indices)
        known = {
            index: replace(quality, is_stale=True) if first <= index <= last and index not in said else quality
            for index, quality in self.quality.items()
        }
        return replace(self, quality=MappingProxyType(known))

    @property
    def tracked(self) -> tuple[int, ...]:
        """Slices that propagation reached and that are still up to date."""
        said = set(self.prompts.indices)
        return tuple(n for n, quality in sorted(self.quality.items()) if n not in said and not quality.is_stale)


def next_doubtful(record: ObjectRecord, index: int) -> int | None:
    """The next slice upwards, around the end, that a person should look at; None if there is none."""
    confirmed = set(record.prompts.indices)
    doubtful = sorted(n for n, q in record.quality.items() if q.is_doubtful and n not in confirmed)
    return next((n for n in doubtful if n > index), doubtful[0] if doubtful else None)
