"""What a comparison of two models found, as `report.json` holds it: the verdict over held-out cases, then the numbers.

`neurosam2 report` writes it and panels read it; nothing here needs PyTorch. The interval of every difference is a percentile bootstrap that
draws whole cases, because objects of one case are alike; with fewer than `MIN_CASES` cases there is none.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 (percentile intervals) and 8 (units that are resampled).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError

REPORT_FILE, PICTURE_FILE = "report.json", "report.png"
"""What panels read of the files of a report."""
RESAMPLES = 10_000
CONFIDENCE = 0.95
MIN_CASES = 3
"""With fewer, all resamples are about the same and an interval would look certain."""
SAME_DICE = 0.005
"""Means of a case that differ by less are the same to two places."""
Key = tuple[str, str]
"""Case and object."""


class Outcome(Enum):
    """What held-out cases say about the new model."""

    BETTER = "better"
    """The interval of the difference lies above 0, and the difference is more than rounding."""
    NO_DIFFERENCE = "no difference"
    """Neither better nor worse."""
    WORSE = "worse"
    """The interval lies below 0; or there are too few cases for one, and the mean is lower."""
    TOO_FEW_CASES = "too few cases"
    """There is no interval, and the mean is not lower."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """A mean before and after, over the same objects."""

    before: float
    after: float
    difference: float
    low: float | None
    """Lower end of the interval of the difference; None with fewer than `MIN_CASES` cases."""
    high: float | None
    pairs: int
    """Objects that have both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectionCounts:
    """How far corrections were counted, where a row is a mean of counts."""

    limit: int
    """Corrections that were tried; an object that did not reach the target counts as one more."""
    unreached_before: int
    """Objects that did not reach the target."""
    unreached_after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonRow:
    """One line of the report."""

    kind: str
    """The first prompt."""
    what: str
    paired: PairedDifference
    counts: CorrectionCounts | None = None

    @property
    def before_text(self) -> str:
        """The mean before, for people."""
        return self._text(self.paired.before, self.counts.unreached_before if self.counts else 0)

    @property
    def after_text(self) -> str:
        """The mean after, for people."""
        return self._text(self.paired.after, self.counts.unreached_after if self.counts else 0)

    def _text(self, mean: float, unreached: int) -> str:
        """A mean of counts that were not all reached is a lower bound."""
        if self.counts is None:
            return f"{mean:#.3g}".rstrip(".")
        if unreached == self.paired.pairs:
            return f"> {self.counts.limit}"
        return f"{'≥ ' if unreached else ''}{mean:.1f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseChange:
    """The mean Dice of a case before and after, over its objects and all kinds of first prompts."""

    case: str
    before: float
    after: float

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before

    @property
    def is_better(self) -> bool:
        """By more than rounding."""
        return self.difference >= SAME_DICE

    @property
    def is_worse(self) -> bool:
        """By more than rounding."""
        return self.difference <= -SAME_DICE


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptChange:
    """The mean Dice after one kind of first prompt, over all objects."""

    kind: str
    difference: float
    """After less before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the new model is better: by Dice of whole volumes after the first prompt, all kinds of prompts together."""

    dice: PairedDifference
    cases: tuple[CaseChange, ...]
    prompts: tuple[PromptChange, ...] = ()
    """Each kind of prompt apart."""
    skipped: tuple[str, ...] = ()
    """Cases that could not be measured."""
    cases_chose_checkpoint: bool = False
    """The new model is the checkpoint that was best on these very cases, which flatters it."""

    @property
    def outcome(self) -> Outcome:
        """In one word."""
        low, high, is_lower = self.dice.low, self.dice.high, self.dice.difference <= -SAME_DICE
        if low is None or high is None:
            return Outcome.WORSE if is_lower else Outcome.TOO_FEW_CASES
        if low > 0 and self.dice.difference >= SAME_DICE:
            return Outcome.BETTER
        return Outcome.WORSE if high < 0 and is_lower else Outcome.NO_DIFFERENCE

    @property
    def num_better(self) -> int:
        """Cases that the new model is better on."""
        return sum(case.is_better for case in self.cases)

    @property
    def worse(self) -> tuple[CaseChange, ...]:
        """Cases that the new model is worse on, the worst first."""
        return tuple(sorted((case for case in self.cases if case.is_worse), key=lambda case: case.difference))

    @property
    def worse_prompts(self) -> tuple[PromptChange, ...]:
        """Kinds of prompts after which the new model is worse, where it is not worse over all."""
        if self.dice.difference <= -SAME_DICE:
            return ()
        return tuple(one for one in self.prompts if one.difference <= -SAME_DICE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What `report.json` holds for those who choose a model."""

    verdict: Verdict
    rows: tuple[ComparisonRow, ...]


def read_report(path: Path) -> Report:
    """The report in a file.

    Raises:
        DataError: It cannot be read, or is of an earlier version.
    """
    try:
        return decoded(Report, parse_json(disk.read_text(path)), "", Rules(skips_unknown=True))
    except (OSError, DecodingError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="compare the models again") from error


def verdict_of(
    before: Mapping[str, Mapping[Key, float]],
    after: Mapping[str, Mapping[Key, float]],
    *,
    skipped: tuple[str, ...] = (),
    cases_chose_checkpoint: bool = False,
) -> Verdict:
    """The verdict from Dice.

    Args:
        before: By kind of first prompt, then by case and object.
        after: Likewise; what is not there on both sides is left out.
        skipped: Cases that could not be measured.
        cases_chose_checkpoint: They are the validation cases of the training.

    Raises:
        DataError: The two have nothing in common.
    """
    pairs: dict[Key, list[tuple[float, float]]] = {}
    prompts = []
    for kind, dices in before.items():
        other = after.get(kind, {})
        both = {key: (dice, other.get(key, math.nan)) for key, dice in dices.items()}
        both = {key: pair for key, pair in both.items() if math.isfinite(sum(pair))}
        for key, pair in both.items():
            pairs.setdefault(key, []).append(pair)
        if both:
            change = float(np.mean([two - one for one, two in both.values()]))
            prompts.append(PromptChange(kind=kind, difference=change))
    first, second = ({key: float(np.mean([one[side] for one in of])) for key, of in pairs.items()} for side in (0, 1))
    cases = [
        CaseChange(case=case, before=_mean_of(case, first), after=_mean_of(case, second))
        for case in dict.fromkeys(case for case, _ in pairs)
    ]
    return Verdict(
        dice=paired_difference(first, second),
        cases=tuple(cases),
        prompts=tuple(prompts),
        skipped=skipped,
        cases_chose_checkpoint=cases_chose_checkpoint,
    )


def _mean_of(case: str, dices: Mapping[Key, float]) -> float:
    return float(np.mean([dice for (name, _), dice in dices.items() if name == case]))


def paired_difference(
    before: Mapping[Key, float], after: Mapping[Key, float], *, seed: int = 0, resamples: int = RESAMPLES
) -> PairedDifference:
    """Compares two sets of numbers of the same objects.

    Args:
        before: By case and object; what is not a number on either side is left out on both.
        after: Likewise.
        seed: Decides which cases are drawn.
        resamples: How often.

    Raises:
        DataError: No object has both numbers.
    """
    keys = [key for key in before if key in after and math.isfinite(before[key]) and math.isfinite(after[key])]
    if not keys:
        raise DataError("the two results have no object in common", hint="measure both models on the same cases")
    first, second = (float(np.mean([side[key] for key in keys])) for side in (before, after))
    low, high = _interval({key: after[key] - before[key] for key in keys}, seed, resamples)
    return PairedDifference(
        before=first, after=second, difference=second - first, low=low, high=high, pairs=len(keys)
    )  # fmt: skip


def _interval(changes: Mapping[Key, float], seed: int, resamples: int) -> tuple[float, float] | tuple[None, None]:
    cases = sorted({case for case, _ in changes})
    if len(cases) < MIN_CASES:
        return None, None
    place = {case: n for n, case in enumerate(cases)}
    sums, counts = np.zeros(len(cases)), np.zeros(len(cases))
    for (case, _), change in changes.items():
        sums[place[case]] += change
        counts[place[case]] += 1
    drawn = np.random.default_rng(seed).integers(len(cases), size=(resamples, len(cases)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
