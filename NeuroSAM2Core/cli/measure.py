"""`neurosam2 measure`: a table of the objects in a label map, for a paper."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import whole_numbers
from NeuroSAM2Core.measures import (
    LabelDifference,
    ObjectMeasures,
    SliceCounts,
    label_difference,
    measure_object,
    number_text,
    read_slice_counts,
    table_text,
)
from NeuroSAM2Core.measures.table import SIZE, VALUES, size_cells, value_cells
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs, writing
from NeuroSAM2Core.volume import Volume, resolve_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPTS = ("name", "slices_prompted", "slices_corrected", "slices_confirmed")
DIFFERENCE = ("dice", "hd95_mm", "most_different_slices")
STDOUT = Path("-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An object."""

    label: int
    measures: ObjectMeasures | None
    """None where only the other label map has it."""
    counts: SliceCounts | None = None
    difference: LabelDifference | None = None


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "measure",
        help="volumes, extents, surfaces and intensities of the objects in a label map",
        description="A line for each label value: volume, extents, surface area (Crofton's formula), and mean, standard deviation and "
        "percentiles of the image. With --against also Dice, HD95 and the slices that differ most from another label map.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="on the grid of the image")
    parser.add_argument("--against", type=Path, metavar="LABELS", help="compare with another label map, value by value")
    parser.add_argument("--axis", default="axial", help="of the slices: axial, coronal, sagittal, i, j or k (axial)")
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE.json",
        help="the file beside a saved segmentation: names, and slices prompted, corrected and confirmed",
    )
    parser.add_argument(
        "--csv", type=Path, nargs="?", const=STDOUT, metavar="FILE.csv", help="as CSV, printed or into a file"
    )
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures; see `add_parser`."""
    inputs = [one for one in (args.image, args.labels, args.against, args.prompts) if one is not None]
    if args.csv and args.csv != STDOUT:
        check_outputs([args.csv], inputs=inputs, overwrite=args.overwrite)
    from NeuroSAM2Core.training.data.dataset import check_same_grid

    def labels_in(path: Path) -> NDArray[np.int32]:
        label = Volume.read(path)
        check_same_grid(image, label)
        return whole_numbers(label)

    image = Volume.read(args.image)
    counts = read_slice_counts(args.prompts) if args.prompts else ()
    other = labels_in(args.against) if args.against else None
    rows = measured_rows(image, labels_in(args.labels), other, counts, axis=args.axis)
    head = ["label", *SIZE, *VALUES, *(PROMPTS if args.prompts else ()), *(DIFFERENCE if args.against else ())]
    cells = [_cells(row, has_prompts=bool(args.prompts), is_compared=other is not None) for row in rows]
    if args.csv and args.csv != STDOUT:
        _write(args.csv, table_text(head, cells), overwrite=args.overwrite)
        print(f"written: {args.csv}")
    else:
        print(table_text(head, cells) if args.csv else _lines(head, cells), end="")
    return 0


def measured_rows(
    image: Volume,
    labels: NDArray[np.int32],
    other: NDArray[np.int32] | None,
    counts: "Sequence[SliceCounts]",
    *,
    axis: str,
) -> list[Row]:
    """A row for each value of either label map.

    Raises:
        DataError: There is none, or `counts` are of other objects.
    """
    values = np.union1d(labels, [] if other is None else other).astype(int)
    values = values[values > 0]
    if not len(values):
        raise DataError("the label is empty: it has no voxel above 0")
    counts_by_label = _by_label(counts, values.tolist())
    along = resolve_axis(image, axis)
    rows = []
    for value in values.tolist():
        mask = labels == value
        rows.append(
            Row(
                label=value,
                measures=measure_object(image, mask) if mask.any() else None,
                counts=counts_by_label.get(value),
                difference=None if other is None else label_difference(image, mask, other == value, along),
            )
        )
    return rows


def _by_label(counts: "Sequence[SliceCounts]", values: list[int]) -> dict[int, SliceCounts]:
    """The objects by label value; by their order where the file names no values.

    Raises:
        DataError: They are not those of a label map with these values.
    """
    hint = "give the file that was saved with it"
    by_label = {one.label or number: one for number, one in enumerate(counts, start=1)}
    if counts and values[-1] not in by_label and counts[0].label is None:
        raise DataError(
            f"the label has the value {values[-1]}, and the file with the prompts has {len(counts)} objects", hint=hint
        )
    if counts and not by_label.keys() & set(values):
        raise DataError("the file with the prompts has none of the label values", hint=hint)
    return by_label


def _cells(row: Row, *, has_prompts: bool, is_compared: bool) -> list[str]:
    measures, counts, difference = row.measures, row.counts, row.difference
    size, values = (None, None) if measures is None else (measures.size, measures.intensities)
    cells = [str(row.label), *size_cells(size), *value_cells(values)]
    if has_prompts and counts is not None:
        cells += [counts.name, *map(str, (counts.prompted, counts.corrected, counts.confirmed))]
    elif has_prompts:
        cells += [""] * len(PROMPTS)
    if is_compared and difference is not None:
        slices = " ".join(map(str, difference.worst_slices))
        cells += [number_text(difference.dice), number_text(difference.hd95_mm), slices]
    return cells


def _lines(head: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> str:
    """Each object as a block, a number on a line: the table is too wide for a terminal."""
    width = max(map(len, head))
    blocks = ["".join(f"{name:{width}}  {cell}\n" for name, cell in zip(head, row, strict=True)) for row in rows]
    return "\n".join(blocks)


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_atomically(path, text, overwrite=overwrite)
