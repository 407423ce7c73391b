"""The table of objects for a paper: one row each, the same numbers on the command line, in files and in panels."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from NeuroSAM2Core.measures.intensities import PERCENTILES, Intensities
from NeuroSAM2Core.measures.objects import ObjectSize
from NeuroSAM2Core.measures.prompted_slices import SliceCounts

SIZE = {
    "voxels": "voxels",
    "volume_ml": "mL",
    "left_right_mm": "left-right mm",
    "front_back_mm": "front-back mm",
    "up_down_mm": "up-down mm",
    "surface_mm2": "surface mm²",
}
"""Columns and their titles for people."""
VALUES = {"mean": "mean", "sd": "SD", **{f"percentile_{at}": f"{at} %" for at in PERCENTILES}}
PROMPTS = {
    "slices_prompted": "slices prompted",
    "slices_corrected": "corrected",
    "slices_confirmed": "confirmed",
    "minutes": "minutes",
}
SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredObject:
    """A row."""

    name: str
    size: ObjectSize | None
    """None where it has no voxel."""
    intensities: tuple[Intensities | None, ...]
    """In each image; None where that has no value in it."""
    counts: SliceCounts | None = None
    """None where nothing is known of its prompts."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column."""

    key: str
    """In files."""
    title: str
    """For people."""


def columns(images: Sequence[str]) -> list[Column]:
    """The columns of a table with these images."""
    values = [
        Column(f"{image} {key}", f"{image}: {title}" if key == "mean" else title)
        for image in images
        for key, title in VALUES.items()
    ]
    return [Column("object", "object"), *_columns(SIZE), *values, *_columns(PROMPTS)]


def cells(row: MeasuredObject) -> list[str]:
    """A row as texts, empty where there is no number."""
    return [
        row.name,
        *size_cells(row.size),
        *(cell for one in row.intensities for cell in value_cells(one)),
        *_prompts(row),
    ]


def shown_cells(row: MeasuredObject) -> list[str]:
    """The same for people: numbers with four digits."""
    return [row.name, *(_shortened(cell) for cell in cells(row)[1:])]


def size_cells(size: ObjectSize | None) -> list[str]:
    """The cells of `SIZE`."""
    if size is None:
        return ["0", "0", *[""] * (len(SIZE) - 2)]
    return [str(size.voxels), *map(number_text, (size.volume_ml, *size.extent_mm, size.surface_mm2))]


def value_cells(values: Intensities | None) -> list[str]:
    """The cells of `VALUES`."""
    if values is None:
        return [""] * len(VALUES)
    return [number_text(value) for value in (values.mean, values.sd, *values.percentiles)]


def number_text(value: float, *, digits: int = 6) -> str:
    """A number with so many significant digits, of a large one all before the point; empty where it is none."""
    if not math.isfinite(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]], *, delimiter: str = ",") -> str:
    """A table as CSV, or with tabs, as spreadsheets paste it."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([head, *rows])
    return file.getvalue()


def _shortened(cell: str) -> str:
    is_whole = cell.lstrip("-").isdigit()
    return cell if is_whole or not cell else number_text(float(cell), digits=4)


def _columns(titles: dict[str, str]) -> list[Column]:
    return [Column(key, title) for key, title in titles.items()]


def _prompts(row: MeasuredObject) -> list[str]:
    counts = row.counts
    if counts is None:
        return [""] * len(PROMPTS)
    minutes = "" if counts.seconds is None else f"{counts.seconds / SECONDS_PER_MINUTE:.1f}"
    return [str(counts.prompted), str(counts.corrected), str(counts.confirmed), minutes]
