"""`neurosam2 summary`: a report of one page and a contact sheet of a label map."""

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs, writing
from NeuroSAM2Core.volume import Volume, percentile_window, resolve_axis

if TYPE_CHECKING:
    from NeuroSAM2Core.measures import SliceCounts

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))
"""Okabe and Ito's, which colour-blind people can tell apart."""
FORMATS = {".html": "page", ".png": "sheet", ".csv": "table"}
DEFAULT_NUM_SLICES = 15


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "summary",
        help="a report of one page, a contact sheet and a table of the objects in a label map",
        description="Writes what the names of --out end in: .html is a report that prints to one page (picture, tables, methods line, "
        "versions), .png a contact sheet of slices with outlines, .csv the table.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="on the grid of the image")
    parser.add_argument(
        "--out", type=Path, nargs="+", required=True, metavar="FILE", help="names that end in .html, .png or .csv"
    )
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGE",
        help="other images of the patient in the same position, whose intensities are measured, too; their grids may be others",
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE.json",
        help="the file beside a saved segmentation: names, slices prompted, corrected and confirmed, time, model",
    )
    parser.add_argument("--slices", type=int, default=DEFAULT_NUM_SLICES, metavar="N", help="on the sheet (15)")
    parser.add_argument("--axis", default="axial", help="of the slices: axial, coronal, sagittal, i, j or k (axial)")
    parser.add_argument("--title", default="", help="of the report (the image's name)")
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, draws and writes; see `add_parser`."""
    wrong = [path for path in args.out if path.suffix.lower() not in FORMATS]
    if wrong:
        raise DataError(f"cannot write {wrong[0].name}: expected a name that ends in {', '.join(FORMATS)}")
    if not 1 <= args.slices <= 100:
        raise ConfigError(f"--slices: got {args.slices}, expected 1 to 100")
    inputs = [one for one in (args.image, args.labels, args.prompts, *args.also) if one is not None]
    check_outputs(args.out, inputs=inputs, overwrite=args.overwrite)
    if importlib.util.find_spec("PIL") is None:
        raise ConfigError("pictures need Pillow", hint="install it with `pip install pillow`")

    from NeuroSAM2Core.labels import whole_numbers
    from NeuroSAM2Core.measures import (
        MeasuredObject,
        ObjectMask,
        cells,
        columns,
        finished,
        measuring_intensities,
        measuring_size,
        read_model,
        read_slice_counts,
        table_text,
    )
    from NeuroSAM2Core.summary import ContactSheet, ShownObject, SummaryPage, drawing_sheet, page_html
    from NeuroSAM2Core.training.data.dataset import check_same_grid

    image, label = Volume.read(args.image), Volume.read(args.labels)
    check_same_grid(image, label)
    labels = whole_numbers(label)
    values = [int(value) for value in np.unique(labels) if value > 0]
    if not values:
        raise DataError("the label is empty: it has no voxel above 0")
    images = [image, *(Volume.read(path) for path in args.also)]
    counts = _by_label(read_slice_counts(args.prompts)) if args.prompts else {}
    axis = resolve_axis(image, args.axis)
    rows, shown = [], []
    for n, value in enumerate(values):
        mask = ObjectMask.of(labels == value)
        name = counts[value].name if value in counts else f"label {value}"
        rows.append(
            MeasuredObject(
                name=name,
                size=finished(measuring_size(image, mask)),
                intensities=tuple(finished(measuring_intensities(one, image, mask)) for one in images),
                counts=counts.get(value),
            )
        )
        shown.append(ShownObject(name, COLOURS[n % len(COLOURS)], mask))
    sheet = ContactSheet(
        image=image, window=percentile_window(image.voxels), axis=axis, objects=shown, num_slices=args.slices
    )
    names = [one.name for one in images]
    contents: dict[str, bytes | str] = {
        "table": table_text([one.key for one in columns(names)], [cells(row) for row in rows])
    }
    if any(FORMATS[path.suffix.lower()] != "table" for path in args.out):
        png = finished(drawing_sheet(sheet))
        contents["sheet"] = png
        model = read_model(args.prompts) if args.prompts else None
        contents["page"] = page_html(
            SummaryPage(
                title=args.title or image.name,
                images=names,
                rows=rows,
                sheet_png=png,
                sheet_about=sheet.about,
                model="" if model is None else model.name,
                model_sha256="" if model is None else model.sha256,
            )
        )
    for path in args.out:
        _write(path, contents[FORMATS[path.suffix.lower()]], overwrite=args.overwrite)
        print(f"written: {path}")
    return 0


def _by_label(counts: "tuple[SliceCounts, ...]") -> "dict[int, SliceCounts]":
    return {one.label or number: one for number, one in enumerate(counts, start=1)}


def _write(path: Path, content: bytes | str, *, overwrite: bool) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_atomically(path, content, overwrite=overwrite)
