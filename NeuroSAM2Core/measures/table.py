"""The table of objects for a paper: one row each, the same numbers on the command line, in files and in panels.

How many slices of each object a person has prompted, corrected and confirmed, from the file beside a saved segmentation.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.measures.objects import PERCENTILES, Intensities, ObjectSize


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceCounts:
    """Slices of an object."""

    name: str
    prompted: int
    """With a click, a box or another prompt."""
    corrected: int
    """Of those, with more than one."""
    confirmed: int
    """As they were, by hand."""
    label: int | None = None
    """The object's value in a label map; None where the file, of an earlier version, names none."""
    seconds: float | None = None
    """Spent on it; None where that was not counted."""


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answered last."""

    name: str = ""
    sha256: str = ""
    """Of its file; empty where the file was on another machine."""


@dataclass(frozen=True, slots=True)
class _OnSlice:
    slice: int


@dataclass(frozen=True, slots=True)
class _Object:
    name: str
    points: tuple[_OnSlice, ...]
    boxes: tuple[_OnSlice, ...]
    slices_confirmed_by_hand: tuple[int, ...]
    label: int | None = None
    seconds_spent: float | None = None
    prompted_slices: tuple[int, ...] | None = None
    """The slice of every prompt of any kind; None in files of earlier versions, which had these four kinds."""
    scribbles: tuple[_OnSlice, ...] = ()
    lassos: tuple[_OnSlice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prompts:
    objects: tuple[_Object, ...]
    model: Model = Model()


def read_slice_counts(path: Path) -> tuple[SliceCounts, ...]:
    """The objects of the file, in its order.

    Raises:
        DataError: It cannot be read, or its label values are none.
    """
    content = _read(path)
    labels = [one.label for one in content.objects if one.label is not None]
    if labels and (len(set(labels)) < len(content.objects) or min(labels) < 1):
        raise DataError(
            f"{path} cannot be read: objects have the same label value, none or one below 1",
            hint="give the .json beside a saved segmentation",
        )
    return tuple(_counts(one) for one in content.objects)


def read_model(path: Path) -> Model:
    """The model that the file names.

    Raises:
        DataError: It cannot be read.
    """
    return _read(path).model


def counts_of(
    name: str,
    prompts: Iterable[int],
    confirmed: Iterable[int],
    *,
    label: int | None = None,
    seconds: float | None = None,
) -> SliceCounts:
    """Counts the slices of an object.

    Args:
        name: Of it.
        prompts: The slice of every click, box and other prompt.
        confirmed: The slices that were confirmed by hand.
        label: Its value in a label map.
        seconds: Spent on it.
    """
    slices = list(prompts)
    return SliceCounts(
        name=name,
        prompted=len(set(slices)),
        corrected=sum(slices.count(index) > 1 for index in set(slices)),
        confirmed=len(set(confirmed)),
        label=label,
        seconds=seconds,
    )


def _read(path: Path) -> _Prompts:
    try:
        return decoded(_Prompts, parse_json(disk.read_text(path)), "", Rules(skips_unknown=True))
    except (OSError, DecodingError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="give the .json beside a saved segmentation") from error


def _counts(one: _Object) -> SliceCounts:
    placed = [prompt.slice for prompt in (*one.points, *one.boxes, *one.scribbles, *one.lassos)]
    return counts_of(
        one.name,
        placed if one.prompted_slices is None else one.prompted_slices,
        one.slices_confirmed_by_hand,
        label=one.label,
        seconds=one.seconds_spent,
    )


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
