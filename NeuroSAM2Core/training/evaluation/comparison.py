"""Before and after on the same cases: the verdict and the differences with their intervals.

Dice of every held-out case before and after, as a picture for a verdict.
"""

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.outputs import writing
from NeuroSAM2Core.training.config.data import EvaluationConfig, FirstPrompt
from NeuroSAM2Core.training.evaluation.results import (
    EvaluationResult,
    Measurement,
    csv_text,
    json_text,
    markdown_table,
    number,
)
from NeuroSAM2Core.verdict import (
    ComparisonRow,
    CorrectionCounts,
    Key,
    Outcome,
    PairedDifference,
    Verdict,
    paired_difference,
    verdict_of,
)

logger = logging.getLogger(__name__)
MAX_NAMED = 3
"""Cases that the verdict names."""
FLATTERED = "These cases also chose the checkpoint: the gain is flattered. Hold out others for the test."


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models on the same cases."""

    before_name: str
    after_name: str
    before: EvaluationResult
    after: EvaluationResult
    config: EvaluationConfig
    verdict: Verdict
    rows: tuple[ComparisonRow, ...]


def compare(
    before: EvaluationResult,
    after: EvaluationResult,
    config: EvaluationConfig,
    *,
    before_name: str,
    after_name: str,
    cases_chose_checkpoint: bool = False,
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
        both = [key for key in needed[0] if key in needed[1]]
        unreached = [sum(side[key] > last for key in both) for side in needed]
        counts = CorrectionCounts(limit=last, unreached_before=unreached[0], unreached_after=unreached[1])
        what = f"corrections to Dice {config.target_dice:.2f}"
        rows.append(ComparisonRow(kind=kind, what=what, paired=paired, counts=counts))
        reached = [{key: float(n <= last) for key, n in side.items()} for side in needed]
        paired = paired_difference(reached[0], reached[1])
        rows.append(ComparisonRow(kind=kind, what=f"share that reached {config.target_dice:.2f}", paired=paired))
    dices: list[dict[str, dict[Key, float]]] = [
        {kind: _numbers(side, kind, 0, lambda m: m.dice) for kind in before.kinds} for side in (before, after)
    ]
    return Comparison(
        before_name=before_name,
        after_name=after_name,
        before=before,
        after=after,
        config=config,
        verdict=verdict_of(
            dices[0],
            dices[1],
            skipped=tuple(dict.fromkeys(one.case for one in (*before.skipped, *after.skipped))),
            cases_chose_checkpoint=cases_chose_checkpoint,
        ),
        rows=tuple(rows),
    )


def comparison_markdown(comparison: Comparison) -> str:
    """The report for people."""
    head = ("first prompt", "what", "before", "after", "difference", "95 % interval", "objects")
    rows = [
        (
            row.kind,
            row.what,
            row.before_text if row.counts else number(row.paired.before),
            row.after_text if row.counts else number(row.paired.after),
            f"{row.paired.difference:+.3f}",
            _interval_text(row.paired, 3) or "-",
            str(row.paired.pairs),
        )
        for row in comparison.rows
    ]
    cases = len({m.case for m in comparison.after.measurements})
    text = (
        f"# {comparison.after_name} against {comparison.before_name} on {cases} cases\n\n"
        f"**{headline(comparison.verdict)}**\n\n{markdown_table(head, rows)}\n"
        "Intervals are from a paired bootstrap over cases; with fewer than about ten cases they are too narrow, and with fewer than three "
        "there are none. An object that did not reach the target counts as one correction more than was tried: a mean with such objects "
        f"is a lower bound (≥), and > says that none reached it.\n\n## Dice of every object\n\n{markdown_table(*_objects(comparison))}"
    )
    if comparison.after.skipped:
        text += "\nLeft out:\n\n" + "".join(f"- {s.case}: {s.reason}\n" for s in comparison.after.skipped)
    return text


def headline(verdict: Verdict) -> str:
    """The verdict in words."""
    dice, count = verdict.dice, len(verdict.cases)
    interval = _interval_text(dice, 2)
    held_out = f"{count} held-out case{'s' if count > 1 else ''}"
    words = {
        Outcome.BETTER: f"Better on {verdict.num_better} of {held_out}",
        Outcome.WORSE: f"Worse on {len(verdict.worse)} of {held_out}",
        Outcome.NO_DIFFERENCE: f"No difference shown on {held_out}, better on {verdict.num_better}",
        Outcome.TOO_FEW_CASES: f"Better on {verdict.num_better} of {held_out}, which proves nothing",
    }[verdict.outcome]
    certainty = f"{interval}, 95 % bootstrap interval over cases" if interval else "too few cases for an interval"
    worse = ", ".join(f"{case.case} ({case.difference:+.2f})" for case in verdict.worse[:MAX_NAMED])
    more = len(verdict.worse) - MAX_NAMED
    named = f" Worse on {worse}{f' and {more} more' if more > 0 else ''}." if worse else ""
    prompts = "".join(f" Worse after a {one.kind} ({one.difference:+.2f})." for one in verdict.worse_prompts)
    skipped = f" Not measured: {', '.join(verdict.skipped)}." if verdict.skipped else ""
    flattered = f" {FLATTERED}" if verdict.cases_chose_checkpoint else ""
    return f"{words}: Dice {dice.difference:+z.2f} ({certainty}).{named}{prompts}{skipped}{flattered}"


def comparison_csv(comparison: Comparison) -> str:
    """The rows."""
    names = [field.name for field in dataclasses.fields(PairedDifference)]
    numbers = [[getattr(row.paired, name) for name in names] for row in comparison.rows]
    rows = [
        [row.kind, row.what, *("" if value is None else value for value in values)]
        for row, values in zip(comparison.rows, numbers, strict=True)
    ]
    return csv_text(["kind", "what", *names], rows)


def comparison_json(comparison: Comparison) -> str:
    """Everything."""
    return json_text(dataclasses.asdict(comparison))


def _interval_text(paired: PairedDifference, places: int) -> str:
    """Both ends; empty where there is no interval."""
    if paired.low is None or paired.high is None:
        return ""
    return f"{paired.low:+z.{places}f} to {paired.high:+z.{places}f}"


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


BETTER, WORSE, SAME = "#1b6e3c", "#b3261e", "#5f6368"

MAX_INCHES = 40.0


def draw_cases(verdict: Verdict, out: Path) -> bool:
    """Draws a line for each case, from its Dice before to that after, as a PNG; the best gain is on top.

    Args:
        verdict: Has the cases.
        out: The picture.

    Returns:
        False, with a warning, where matplotlib is not installed; a picture of an earlier comparison is deleted then.

    Raises:
        DataError: It cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        logger.warning("no picture of the cases: matplotlib is not installed; `pip install matplotlib` adds it")
        out.unlink(missing_ok=True)
        return False
    cases = sorted(verdict.cases, key=lambda case: case.difference)
    figure = Figure(figsize=(5, min(1.2 + 0.3 * len(cases), MAX_INCHES)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, case in enumerate(cases):
        colour = BETTER if case.is_better else WORSE if case.is_worse else SAME
        axes.plot([case.before, case.after], [row, row], color=colour, linewidth=2, zorder=1)
        axes.scatter([case.before], [row], color="white", edgecolors=colour, zorder=2)
        axes.scatter([case.after], [row], color=colour, marker=">" if case.difference >= 0 else "<", zorder=3)
    axes.set_yticks(range(len(cases)), [case.case for case in cases])
    axes.set(xlabel="Dice after the first prompt: before (circle), after (arrow)", xlim=(-0.03, 1.03))
    axes.grid(axis="x", alpha=0.3)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with disk.replaced_atomically(out, suffix=out.suffix) as partial:
            figure.savefig(partial, dpi=90, format="png")
    return True
