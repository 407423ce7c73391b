"""The results as tables: means over small and over large objects, then every row."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.quality.measures import Confidence, Measurement, bin_names, binned
from benchmarks.quality.results import Entry
from benchmarks.report import as_table

Columns = Sequence[tuple[str, Callable[[Measurement], float]]]
DICE_COLUMNS: Columns = (
    ("box: its slice", lambda m: m.box_slice),
    ("whole", lambda m: m.whole_after(0)),
    ("+1", lambda m: m.whole_after(1)),
    ("+3", lambda m: m.whole_after(3)),
    ("+5", lambda m: m.whole_after(5)),
    ("click: its slice", lambda m: m.click_slice),
    ("best of 3", lambda m: m.click_best),
    ("whole", lambda m: m.click_whole),
)


def tables(entries: Sequence[Entry], methods: Sequence[str]) -> str:
    """All tables, of the methods in the given order.

    Means are over the rows that all methods have.
    """
    by = {method: {e.row: e for e in entries if e.method == method} for method in methods}
    methods = [method for method in methods if by[method]]
    if not methods:
        return "Nothing was measured.\n"
    rows = list(dict.fromkeys(e.row for e in entries if e.method in methods))
    common = [row for row in rows if all(row in by[method] for method in methods)]
    parts = []
    for size in ("small", "large"):
        names = [row for row in common if by[methods[0]][row].size == size]
        if names:
            parts += [f"**{len(names)} {size} objects**, Dice:\n", means(by, methods, names)]
            parts += ["Failures after one prompt:\n", failures(by, methods, names)]
            parts += ["Dice on slices so far from the prompted one, after the box:\n", retention(by, methods, names)]
    parts += ["Every object, Dice:\n", every_row(by, methods, rows)]
    return "\n".join(parts)


def means(by: dict[str, dict[str, Entry]], methods: Sequence[str], rows: Sequence[str]) -> str:
    """Means of Dice."""
    lines = []
    for method in methods:
        measured = [by[method][row].measured for row in rows]
        lines.append((method, *(two(mean([get(m) for m in measured])) for _, get in DICE_COLUMNS)))
    return as_table(("method", *(name for name, _ in DICE_COLUMNS)), lines)


def failures(by: dict[str, dict[str, Entry]], methods: Sequence[str], rows: Sequence[str]) -> str:
    """Over-segmentation, over-propagation, missed slices, wrong confidence, and times."""
    head = (
        "method",
        "over-segmentation of the prompted slice, box",
        "click (median)",
        "false slices / missed, of the objects' slices",
        "after the last correction",
        "volume found / true, box",
        "sure slices with Dice >= 0.8",
        "below 0.5",
        "good slices not called sure",
        "CPU ms per slice",
        "per warm click",
    )
    lines = []
    for method in methods:
        measured = [by[method][row].measured for row in rows]
        slices = sum(m.slices for m in measured)
        confidence = sum((m.confidence for m in measured), Confidence())
        false, missed = (
            [sum(getattr(m, f"{name}_slices")[n] for m in measured) for n in (0, -1)] for name in ("false", "missed")
        )
        lines.append(
            (
                method,
                two(mean([m.box_over for m in measured])),
                two(median([m.click_over for m in measured])),
                f"{false[0]} / {missed[0]} of {slices}",
                f"{false[1]} / {missed[1]}",
                two(mean([m.found_ml / m.truth_ml for m in measured])),
                share(confidence.sure_good, confidence.sure),
                share(confidence.sure_bad, confidence.sure),
                share(confidence.unsure_good, confidence.good),
                milliseconds(median([m.slice_seconds for m in measured])),
                milliseconds(median([m.warm_click_seconds for m in measured])),
            )
        )
    return as_table(head, lines)


def retention(by: dict[str, dict[str, Entry]], methods: Sequence[str], rows: Sequence[str]) -> str:
    """Dice against distance."""
    lines = [(method, *map(two, curve([by[method][row] for row in rows]))) for method in methods]
    return as_table(("method", *bin_names()), lines)


def curve(entries: Sequence[Entry]) -> list[float]:
    """Mean Dice in each bin of distance: the mean over objects of their means, so that long objects do not count more."""
    return [mean(list(values)) for values in zip(*(binned(e.measured.retention) for e in entries), strict=True)]


def every_row(by: dict[str, dict[str, Entry]], methods: Sequence[str], rows: Sequence[str]) -> str:
    """Whole object after the box, after five corrections, click slice and best reading, for each method."""
    head = ("object", *(f"{m}: box, slice / whole / +5; click, slice / best / whole" for m in methods))
    lines = []
    for row in rows:
        cells = []
        for method in methods:
            if row not in by[method]:
                cells.append("")
                continue
            m = by[method][row].measured
            cell = f"{two(m.box_slice)} / **{two(m.whole_after(0))}** / {two(m.whole_after(5))}"
            if not math.isnan(m.click_slice):
                cell += f"; {two(m.click_slice)} / {two(m.click_best)} / {two(m.click_whole)}"
            cells.append(cell)
        lines.append((row, *cells))
    return as_table(head, lines)


def mean(values: Sequence[float]) -> float:
    """Of those that are numbers; not a number without any."""
    numbers = [v for v in values if not math.isnan(v)]
    return float(np.mean(numbers)) if numbers else math.nan


def median(values: Sequence[float]) -> float:
    """Of those that are numbers; not a number without any."""
    numbers = [v for v in values if not math.isnan(v)]
    return float(np.median(numbers)) if numbers else math.nan


def two(value: float) -> str:
    """Two places; empty for what was not measured."""
    return "" if math.isnan(value) else f"{value:.2f}"


def milliseconds(seconds: float) -> str:
    """Whole milliseconds; empty for what was not measured."""
    return "" if math.isnan(seconds) else f"{1000 * seconds:.0f}"


def share(part: int, whole: int) -> str:
    """A percentage with what it is of; empty where there is nothing."""
    return f"{part / whole:.0%} of {whole}" if whole else ""
