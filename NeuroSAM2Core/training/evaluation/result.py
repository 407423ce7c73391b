"""What an evaluation found: one measurement for every case, object, first prompt and number of clicks, and the means of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from NeuroSAM2Core.training.config.evaluation import FirstPrompt


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One object of one case after some prompts."""

    case: str
    object: str
    """The label value, and for instances the part's number after a dot."""
    kind: FirstPrompt
    """The first prompt."""
    clicks: int
    """Correction clicks after it."""
    dice: float
    """Over the whole volume, as are all others but those of the slice and of Medical-SAM2 and its descendants."""
    iou: float
    slice_dice: float
    """On the slice prompted last."""
    false_slices: int = 0
    """Slices along the axis that have a mask and not the object."""
    missed_slices: int = 0
    """Slices that have the object and no mask."""
    hd95_mm: float = math.nan
    """Not a number where nothing was found or where it was not asked for."""
    surface_dice: float = math.nan
    """Share of both surfaces within the tolerance; not a number where it was not asked for."""
    medsam2_iou: float
    """See `medsam2_metrics`."""
    medsam2_dice: float

    @property
    def key(self) -> tuple[str, str]:
        """The case and the object."""
        return self.case, self.object


@dataclass(frozen=True, slots=True)
class SkippedCase:
    """A case that could not be measured."""

    case: str
    reason: str


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """All that was measured."""

    measurements: tuple[Measurement, ...]
    skipped: tuple[SkippedCase, ...] = ()

    @classmethod
    def join(cls, parts: Sequence["EvaluationResult"]) -> "EvaluationResult":
        """Results of different cases as one, for example of several processes."""
        return cls(
            tuple(m for part in parts for m in part.measurements), tuple(s for part in parts for s in part.skipped)
        )

    @property
    def kinds(self) -> tuple[FirstPrompt, ...]:
        """First prompts that were measured, in order."""
        return tuple(dict.fromkeys(m.kind for m in self.measurements))

    @property
    def num_clicks(self) -> int:
        """Most correction clicks that any object got."""
        return max((m.clicks for m in self.measurements), default=0)

    def after(self, kind: FirstPrompt, clicks: int) -> dict[tuple[str, str], Measurement]:
        """Every object after so many clicks, or after its last one where it needed fewer."""
        latest: dict[tuple[str, str], Measurement] = {}
        for m in self.measurements:
            if m.kind == kind and m.clicks <= clicks and (m.key not in latest or m.clicks > latest[m.key].clicks):
                latest[m.key] = m
        return latest

    def mean_dice(self, kind: FirstPrompt, clicks: int = 0) -> float:
        """Mean over objects of the Dice of whole volumes after one first prompt and so many clicks; not a number without objects."""
        return mean([m.dice for m in self.after(kind, clicks).values()])

    def clicks_to(self, kind: FirstPrompt, target_dice: float) -> dict[tuple[str, str], int | None]:
        """Corrections that each object took to the Dice; None where it was not reached."""
        needed: dict[tuple[str, str], int | None] = {}
        for m in sorted(self.measurements, key=lambda m: m.clicks):
            if m.kind == kind and needed.get(m.key) is None:
                needed[m.key] = m.clicks if m.dice >= target_dice else None
        return needed


def mean(values: Sequence[float]) -> float:
    """Of those that are numbers; not a number without any."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
