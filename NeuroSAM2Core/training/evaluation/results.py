"""What an evaluation found: one measurement for every case, object, first prompt and number of clicks, and the means of them.

Results as tables: every measurement as CSV, everything as JSON, the means as Markdown. What is not a number is left empty.
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.config.data import EvaluationConfig, FirstPrompt


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
    """As MedSAM2 computes it, see `cases`."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """Means over objects after one first prompt and so many corrections."""

    kind: FirstPrompt
    clicks: int
    objects: int
    dice: float
    iou: float
    hd95_mm: float
    """Over the objects of which anything was found."""
    surface_dice: float
    medsam2_iou: float
    medsam2_dice: float
    reached: float
    """Share of objects that reached the target Dice by then."""


def summarise(result: EvaluationResult, config: EvaluationConfig) -> tuple[SummaryRow, ...]:
    """One row for each kind and number of corrections."""
    rows = []
    for kind in result.kinds:
        needed = result.clicks_to(kind, config.target_dice)
        for clicks in range(result.num_clicks + 1):
            found = list(result.after(kind, clicks).values())
            rows.append(
                SummaryRow(
                    kind=kind,
                    clicks=clicks,
                    objects=len(found),
                    dice=mean([m.dice for m in found]),
                    iou=mean([m.iou for m in found]),
                    hd95_mm=mean([m.hd95_mm for m in found]),
                    surface_dice=mean([m.surface_dice for m in found]),
                    medsam2_iou=mean([m.medsam2_iou for m in found]),
                    medsam2_dice=mean([m.medsam2_dice for m in found]),
                    reached=mean([float(n is not None and n <= clicks) for n in needed.values()]),
                )
            )
    return tuple(rows)


def as_csv(result: EvaluationResult) -> str:
    """One line for every measurement."""
    names = [field.name for field in dataclasses.fields(Measurement)]
    return csv_text(names, [[getattr(m, name) for name in names] for m in result.measurements])


def as_json(result: EvaluationResult, config: EvaluationConfig, model: str) -> str:
    """Everything."""
    content = {
        "model": model,
        "config": dataclasses.asdict(config),
        "summary": [dataclasses.asdict(row) for row in summarise(result, config)],
        "measurements": [dataclasses.asdict(m) for m in result.measurements],
        "skipped": [dataclasses.asdict(one) for one in result.skipped],
    }
    return json_text(content)


def as_markdown(result: EvaluationResult, config: EvaluationConfig, model: str) -> str:
    """The means, and what they are means of."""
    head = (
        "first prompt",
        "corrections",
        "objects",
        "Dice",
        "IoU",
        "HD95, mm",
        f"surface Dice at {config.tolerance_mm:g} mm",
        f"reached {config.target_dice:.2f}",
        "Medical-SAM2 IoU",
        "Medical-SAM2 Dice",
    )
    rows = [
        (
            row.kind,
            str(row.clicks),
            str(row.objects),
            number(row.dice),
            number(row.iou),
            number(row.hd95_mm, 1),
            number(row.surface_dice),
            f"{100 * row.reached:.0f} %",
            number(row.medsam2_iou),
            number(row.medsam2_dice),
        )
        for row in summarise(result, config)
    ]
    cases = len({m.case for m in result.measurements})
    text = f"# {model} on {cases} cases\n\n{markdown_table(head, rows)}\n{EXPLANATION}\n"
    if result.skipped:
        text += "\nLeft out:\n\n" + "".join(f"- {one.case}: {one.reason}\n" for one in result.skipped)
    return text


EXPLANATION = (
    "Means over objects. Each object is prompted on one slice, carried through the whole volume by the engine, and corrected by clicks in "
    "the middle of the largest error of the worst slice. HD95 is over the objects of which anything was found. Medical-SAM2 numbers are "
    "Medical-SAM2's: slice by slice, at logits of 0.1, 0.3, 0.5, 0.7 and 0.9."
)


def table_paths(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Where `write_tables` writes."""
    return folder / f"{name}.csv", folder / f"{name}.json", folder / f"{name}.md"


def write_tables(folder: Path, name: str, *, csv_: str, json_: str, markdown: str) -> tuple[Path, Path, Path]:
    """Writes `name`.csv, .json and .md.

    Raises:
        DataError: They cannot be written there.
    """
    paths = table_paths(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, (csv_, json_, markdown), strict=True):
            disk.write_atomically(path, text)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error}", hint="choose a folder that you may write to") from error
    return paths


def csv_text(head: Sequence[str], rows: Sequence[Sequence[str | float | int]]) -> str:
    """Lines of comma-separated values."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([["" if isinstance(v, float) and math.isnan(v) else v for v in row] for row in rows])
    return file.getvalue()


def json_text(content: object) -> str:
    """Indented JSON; what is not a number is null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "".join(f"| {line} |\n" for line in lines)


def number(value: float, places: int = 3) -> str:
    """A number for people; a dash for none."""
    return "-" if math.isnan(value) else f"{value:.{places}f}"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
