"""Before and after on the same cases: differences with intervals, from pairs.

Objects of one case are alike, so whole cases are drawn again, with all their objects. An interval that holds 0 shows no difference.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 (percentile intervals) and 8 (units that are resampled).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.config.evaluation import EvaluationConfig, FirstPrompt
from NeuroSAM2Core.training.evaluation.result import EvaluationResult, Measurement
from NeuroSAM2Core.training.evaluation.tables import csv_text, json_text, markdown_table, number

RESAMPLES = 10_000
CONFIDENCE = 0.95
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """A mean before and after, over the same objects."""

    before: float
    after: float
    difference: float
    low: float
    """Lower end of the interval of the difference."""
    high: float
    pairs: int
    """Objects that have both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonRow:
    """One line of the report."""

    kind: FirstPrompt
    what: str
    paired: PairedDifference


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models on the same cases."""

    before_name: str
    after_name: str
    before: EvaluationResult
    after: EvaluationResult
    config: EvaluationConfig
    rows: tuple[ComparisonRow, ...]


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
    cases = sorted({case for case, _ in keys})
    place = {case: n for n, case in enumerate(cases)}
    sums, counts = np.zeros(len(cases)), np.zeros(len(cases))
    for key in keys:
        sums[place[key[0]]] += after[key] - before[key]
        counts[place[key[0]]] += 1
    drawn = np.random.default_rng(seed).integers(len(cases), size=(resamples, len(cases)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    first, second = (float(np.mean([side[key] for key in keys])) for side in (before, after))
    return PairedDifference(
        before=first, after=second, difference=second - first, low=float(low), high=float(high), pairs=len(keys)
    )


def compare(
    before: EvaluationResult, after: EvaluationResult, config: EvaluationConfig, *, before_name: str, after_name: str
) -> Comparison:
    """The lines of a report: overlaps and surfaces after the first prompt and after all corrections, and corrections needed.

    An object that never reached the target counts as one correction more than was tried.

    Raises:
        DataError: The two have no object in common.
    """
    last = max(before.num_clicks, after.num_clicks)
    rows = []
    for kind in before.kinds:
        for clicks in sorted({0, last}):
            when = "after the first prompt" if clicks == 0 else f"after {clicks} correction{'s' if clicks > 1 else ''}"
            for what, of in _measures(config):
                one, other = _numbers(before, kind, clicks, of), _numbers(after, kind, clicks, of)
                if any(math.isfinite(v) and math.isfinite(other.get(key, math.nan)) for key, v in one.items()):
                    rows.append(ComparisonRow(kind=kind, what=f"{what} {when}", paired=paired_difference(one, other)))
        needed = [
            {key: float(last + 1 if n is None else n) for key, n in side.clicks_to(kind, config.target_dice).items()}
            for side in (before, after)
        ]
        paired = paired_difference(needed[0], needed[1])
        rows.append(ComparisonRow(kind=kind, what=f"corrections to Dice {config.target_dice:.2f}", paired=paired))
        reached = [{key: float(n <= last) for key, n in side.items()} for side in needed]
        paired = paired_difference(reached[0], reached[1])
        rows.append(ComparisonRow(kind=kind, what=f"share that reached {config.target_dice:.2f}", paired=paired))
    return Comparison(
        before_name=before_name, after_name=after_name, before=before, after=after, config=config, rows=tuple(rows)
    )  # fmt: skip


def comparison_markdown(comparison: Comparison) -> str:
    """The report for people."""
    head = ("first prompt", "what", "before", "after", "difference", "95 % interval", "objects")
    rows = [
        (
            row.kind,
            row.what,
            number(row.paired.before),
            number(row.paired.after),
            f"{row.paired.difference:+.3f}",
            f"{row.paired.low:+.3f} to {row.paired.high:+.3f}",
            str(row.paired.pairs),
        )
        for row in comparison.rows
    ]
    cases = len({m.case for m in comparison.after.measurements})
    text = (
        f"# {comparison.after_name} against {comparison.before_name} on {cases} cases\n\n{markdown_table(head, rows)}\n"
        "Intervals are from a paired bootstrap over cases. An object that did not reach the target counts as one correction more than was "
        f"tried.\n\n## Dice of every object\n\n{markdown_table(*_objects(comparison))}"
    )
    if comparison.after.skipped:
        text += "\nLeft out:\n\n" + "".join(f"- {s.case}: {s.reason}\n" for s in comparison.after.skipped)
    return text


def comparison_csv(comparison: Comparison) -> str:
    """The rows."""
    names = [field.name for field in dataclasses.fields(PairedDifference)]
    rows = [[row.kind, row.what, *(getattr(row.paired, name) for name in names)] for row in comparison.rows]
    return csv_text(["kind", "what", *names], rows)


def comparison_json(comparison: Comparison) -> str:
    """Everything."""
    return json_text(dataclasses.asdict(comparison))


def _objects(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    last = max(comparison.before.num_clicks, comparison.after.num_clicks)
    steps = sorted({0, last})
    head = ("first prompt", "case", "object", *(f"{when}, {n}" for n in steps for when in ("before", "after")))
    rows = []
    for kind in comparison.before.kinds:
        sides = [(side.after(kind, n)) for n in steps for side in (comparison.before, comparison.after)]
        for key in sides[0]:
            found = [side[key].dice if key in side else math.nan for side in sides]
            rows.append((kind, *key, *map(number, found)))
    return head, rows


def _measures(config: EvaluationConfig) -> tuple[tuple[str, Callable[[Measurement], float]], ...]:
    return (
        ("Dice", lambda m: m.dice),
        ("IoU", lambda m: m.iou),
        ("HD95, mm,", lambda m: m.hd95_mm),
        (f"surface Dice at {config.tolerance_mm:g} mm", lambda m: m.surface_dice),
    )


def _numbers(
    result: EvaluationResult, kind: FirstPrompt, clicks: int, of: Callable[[Measurement], float]
) -> dict[Key, float]:
    return {key: of(m) for key, m in result.after(kind, clicks).items()}
