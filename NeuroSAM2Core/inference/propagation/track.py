"""The state of one object: its prompts and masks, slice by slice.

Masks imported from an earlier session: from a scene that is opened again, or from a worker that is gone.

They are shown exactly as they were given. What the engine would remember of such a slice is made from the mask when it is first needed:
the memory of a mask, where the one before had the memory of an answer.

When an object ends: the rule that propagation applies on every slice.

The object score alone runs past the end of small objects: beside a structure there is nearly always something that looks like it. The
expected IoU, the area beside the largest one so far and the overlap with the slice before know better. The numbers were chosen on the
development set (benchmarks/README.md, *Quality*).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.inference.options import MIN_AREA_RATIO, EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.inference.prediction.slice_predictor import PromptHistory
from NeuroSAM2Core.inference.propagation.passes import Pass, neighbours
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.volume import SliceMask, pack_mask, unpack_mask

MAX_LOGIT = 700.0
"""Beyond this, probabilities are 0 or 1 as numbers."""


@dataclass(frozen=True, slots=True)
class ImportedMask:
    """An imported mask in the orientation of the stored plane."""

    bits: bytes
    shape: tuple[int, int]
    iou: float
    object_score: float
    ending: str = ""
    """See `SliceMask`."""

    @classmethod
    def of(cls, known: SliceMask) -> "ImportedMask":
        """The imported form of a slice mask."""
        height, width = known.mask.shape
        return cls(pack_mask(known.mask), (height, width), known.predicted_iou, known.object_score, known.ending)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W)."""
        return unpack_mask(self.bits, self.shape)

    @property
    def object_score_logits(self) -> float:
        """Above 0 the object is in this slice."""
        if not 0 < self.object_score < 1:
            return MAX_LOGIT if self.object_score >= 1 else -MAX_LOGIT
        return math.log(self.object_score / (1 - self.object_score))


def probability(logit: float) -> float:
    """The probability that a logit stands for."""
    return 1 / (1 + math.exp(-max(-MAX_LOGIT, min(MAX_LOGIT, logit))))


MAX_LEAST_AREA_RATIO = 0.8
"""An object that keeps this share of its largest area goes on however far it reaches, as a vessel or the spinal cord does."""


LEAST_CERTAINTY, DISTANCE_WEIGHT, GROWTH_WEIGHT, FAR = 2.6, 1.0, 3.5, 4.0
"""Logits; per diameter, up to so many of them; per unit of the logarithm of the growth (docs/adr/0013)."""
CERTAIN_ON_WHOLE_SLICE = 4.0
"""Logits; an object outlined so surely on a whole slice goes on however small it has become (docs/adr/0013)."""
SHRUNK_RATIO, REGROWTH_RATIO = 0.7, 2.0
"""An object that has shrunk to this share of its largest area and then grows to so many times its least one has run into a neighbour."""


class Ending(StrEnum):
    """Why an object ends on a slice."""

    OBJECT_SCORE = "object score"
    EXPECTED_IOU = "expected IoU"
    AREA = "area"
    OVERLAP = "overlap"
    REGROWTH = "regrowth"
    CERTAINTY = "certainty"


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
    area_before: float = 0.0
    """Of the mask of the slice before; in the unit of `area`."""
    certainty: float | None = None
    """The mask refiner's mean logit within its mask; None where another mask is taken."""
    is_whole: bool = False
    """The whole slice was seen, no crop of it."""

    @property
    def least_certainty(self) -> float:
        """What the certainty of an object that goes on is at least.

        More is asked far from where it was prompted and where its area grows: a mask that shrinks from slice to slice follows something,
        one that grows may have run into a neighbour.
        """
        growth = math.log(max(self.area, 1.0) / max(self.area_before, 1.0))
        return LEAST_CERTAINTY + DISTANCE_WEIGHT * min(self.distance, FAR) + GROWTH_WEIGHT * growth


def ending_of(
    evidence: SliceEvidence, largest_area: float, options: EngineOptions, *, is_between: bool = False
) -> Ending | None:
    """Why the object is not on a slice any more; None where it is.

    Args:
        evidence: Of the slice.
        largest_area: Of the slices of the pass so far, the prompted one included.
        options: The thresholds.
        is_between: A confirmed slice ahead shows the object, or it is known where it ends: its shape does not end it before.
    """
    if evidence.object_score_logits <= 0 or evidence.area == 0:
        return Ending.OBJECT_SCORE
    if is_between or not options.ends_by_shape:
        return None
    if evidence.certainty is not None and not evidence.is_whole:
        return Ending.CERTAINTY if evidence.certainty < evidence.least_certainty else None
    if evidence.expected_iou < options.min_iou:
        return Ending.EXPECTED_IOU
    least_share = MIN_AREA_RATIO if options.min_area_ratio is None else options.min_area_ratio
    least_share = max(least_share, min(options.area_ratio_slope * evidence.distance, MAX_LEAST_AREA_RATIO))
    is_certain = evidence.certainty is not None and evidence.certainty >= CERTAIN_ON_WHOLE_SLICE
    if evidence.area < least_share * largest_area and not is_certain:
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


@dataclass(slots=True, eq=False)
class KeptMemory:
    """The memory of a slice, empty until it is first read: a click is answered without it."""

    encoded: Float[Tensor, "1 cm s s"] | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return 0 if self.encoded is None else self.encoded.numel() * self.encoded.element_size()


@dataclass(frozen=True, slots=True)
class SliceState:
    """The answer on one slice and what is remembered of it."""

    logits: Float[Tensor, "1 1 s4 s4"]
    iou: float
    object_score_logits: float
    pointer: Float[Tensor, "1 c"]
    """The object pointer."""
    memory: KeptMemory
    """In the state's own crop; `AxisContext.memory_of` reads it."""
    crop: Crop
    """What the model saw of the slice; the logits are its."""
    ending: Ending | None = None
    """Why the object is not on this slice; None where it is, or where a person removed it."""

    @property
    def area(self) -> float:
        """Of the mask, pixels of the slice."""
        height, width = self.logits.shape[-2:]
        return float((self.logits > 0).sum()) * self.crop.height * self.crop.width / (height * width)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.memory.nbytes + sum(t.numel() * t.element_size() for t in (self.logits, self.pointer))


@dataclass(slots=True)
class ObjectTrack:
    """Everything about one object along one axis."""

    prompts: dict[int, PromptSet] = field(default_factory=dict)
    """By slice, in the order in which the slices were first prompted."""
    confirmed: dict[int, SliceState] = field(default_factory=dict)
    """Answers on prompted slices, in the same order."""
    tracked: dict[int, SliceState] = field(default_factory=dict)
    """Answers on the others."""
    imported: dict[int, ImportedMask] = field(default_factory=dict)
    """Masks from before this session. Such a slice has a state once that is needed."""
    prompt_histories: dict[int, PromptHistory] = field(default_factory=dict)
    """What the answers on prompted slices were made of, so that one more click goes on from there."""
    progress: dict[Pass, int] = field(default_factory=dict)
    """Passes that were begun, and how many of their slices are done or need not be done."""

    def scratch_copy(self) -> "ObjectTrack":
        """A copy to try things on: what becomes of it does not become of this one."""
        return ObjectTrack(
            prompts=dict(self.prompts),
            confirmed=dict(self.confirmed),
            tracked=dict(self.tracked),
            imported=dict(self.imported),
            prompt_histories={
                n: replace(
                    one,
                    look=one.look.copy(),
                    prompts=[*one.prompts],
                    answers=[*one.answers],
                    readings=[*one.readings],
                )
                for n, one in self.prompt_histories.items()
            },
            progress=dict(self.progress),
        )

    def state(self, number: int) -> SliceState | None:
        """The answer on a slice."""
        return self.confirmed.get(number) or self.tracked.get(number)

    @property
    def known(self) -> set[int]:
        """The slices that have a mask."""
        return self.confirmed.keys() | self.tracked.keys() | self.imported.keys()

    def done_of(self, run: Pass, *, stop_after_absent: int | None) -> int:
        """How many slices of a pass are done or need not be done: as noted, or as the slices that have a mask say.

        Args:
            run: The pass.
            stop_after_absent: The pass ends after this many slices in a row without the object.
        """
        if run in self.progress:
            return self.progress[run]
        absent = 0
        for count, number in enumerate(run.slices):
            if number not in self.tracked and number not in self.imported:
                return count
            absent = 0 if self._is_present(number) else absent + 1
            if absent == stop_after_absent:
                break
        return len(run.slices)

    def num_absent_before(self, run: Pass, done: int) -> int:
        """How many slices in a row are without the object at the end of the part of a pass that is done.

        Args:
            run: The pass.
            done: So many of its slices.
        """
        known = (n in self.confirmed or self._is_present(n) for n in reversed(run.slices[:done]))
        return next((count for count, is_present in enumerate(known) if is_present), done)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes. The states of tracked slices are alike: the latest speaks for all, however many there are."""
        states = sum(state.nbytes for state in self.confirmed.values())
        if self.tracked:
            states += len(self.tracked) * next(reversed(self.tracked.values())).nbytes
        return states + sum(len(imported.bits) for imported in self.imported.values()) + self.nbytes_of_histories

    @property
    def nbytes_of_histories(self) -> int:
        """Memory that is held so that one more click goes on from those before, bytes."""
        return sum(history.nbytes for history in self.prompt_histories.values())

    def _is_present(self, number: int) -> bool:
        if number in self.imported:
            return self.imported[number].object_score_logits > 0
        return self.tracked[number].object_score_logits > 0

    def has_ended_on(self, number: int) -> bool:
        """A pass has found that the object is not on a slice any more."""
        state = self.imported.get(number) or self.tracked.get(number)
        return number not in self.confirmed and state is not None and bool(state.ending)

    def changed_by(self, number: int, num_slices: int) -> tuple[int, int]:
        """What changes with the prompts of a slice lies strictly between two others.

        These are the nearest confirmed slices. Where there is none on a side, and another confirmed slice shows the object, it is the slice
        on which the object has ended: a correction does not make an object longer.
        """
        low, high = neighbours(self.confirmed, number, num_slices)
        if not any(state.area > 0 for n, state in self.confirmed.items() if n != number):
            return low, high
        if low < 0:
            low = next((n for n in range(number - 1, -1, -1) if self.has_ended_on(n)), low)
        if high == num_slices:
            high = next((n for n in range(number + 1, num_slices) if self.has_ended_on(n)), high)
        return low, high

    def forget(self, number: int) -> None:
        """Drops all that is known of a slice."""
        self.prompts.pop(number, None)
        self.prompt_histories.pop(number, None)
        self.confirmed.pop(number, None)
        self.tracked.pop(number, None)
        self.imported.pop(number, None)

    def forget_between(self, low: int, high: int) -> None:
        """Drops what was tracked strictly between two slices, and the passes through there."""
        for number in [n for n in self.tracked.keys() | self.imported.keys() if low < n < high]:
            self.tracked.pop(number, None)
            self.imported.pop(number, None)
        for done in [p for p in self.progress if p.touches(low, high)]:
            del self.progress[done]
