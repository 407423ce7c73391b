"""Pictures of the results: one small sheet for each object, and Dice against the distance from the prompt."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.quality.cases import Case, CaseFile
from benchmarks.quality.measures import bin_names
from benchmarks.quality.methods import masks_path
from benchmarks.quality.prompts import FirstPrompts, first_prompts, tight_box
from benchmarks.quality.results import Entry
from benchmarks.quality.runner import SHOWN_OFFSETS, shown_slices
from benchmarks.quality.table import curve

Mask = NDArray[np.bool_]
Color = tuple[int, int, int]
SIDE = 150
"""Of a tile, pixels."""
CAPTION = 14
CONTEXT = 2.4
"""Side of the part that is shown, as a multiple of the longer side of the object's box."""
PROMPT, TRUTH = (255, 210, 60), (90, 230, 120)
RESULTS: tuple[Color, ...] = ((255, 110, 90), (90, 170, 255), (210, 130, 255), (255, 170, 220))
GREYS = 40
"""In a sheet; few make small files."""


def write_pictures(
    folder: Path, cache: Path, files: Sequence[CaseFile], rows: set[str], methods: Sequence[str]
) -> list[Path]:
    """Writes a sheet for every row that one of the methods has masks for.

    Args:
        folder: Where the sheets go.
        cache: The folder of the measurement.
        files: The prepared images.
        rows: Names of the objects.
        methods: One column each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in files:
        for case in file.cases(rows):
            masks = {}
            for method in methods:
                path = masks_path(cache, method, case.row)
                if path.exists():
                    with np.load(path) as kept:
                        masks[method] = kept["boxed"], kept["clicked"]
            if masks:
                target = folder / f"{case.row.name.replace(' ', '-')}.png"
                write_sheet(target, case, masks)
                written.append(target)
    return written


def write_sheet(path: Path, case: Case, masks: dict[str, tuple[NDArray[np.bool_], Mask]]) -> None:
    """A grid: one line for each slice after the box and one for the click; columns are image and prompt, truth, methods."""
    from PIL import Image, ImageDraw

    prompts = first_prompts(case.truth, case.axes)
    images, truths = (shown_slices(array, prompts) for array in (case.image.voxels, case.truth))
    part = shown_part(truths[SHOWN_OFFSETS.index(0)])
    window = np.percentile(images[SHOWN_OFFSETS.index(0)][part], (2, 99.9))
    size = displayed_size(case, prompts, part)
    lines = [
        (f"box, slice {offset:+d}" if offset else "box, its slice", n, True) for n, offset in enumerate(SHOWN_OFFSETS)
    ]
    lines.sort(key=lambda line: line[1] != SHOWN_OFFSETS.index(0))
    lines.append(("click, its slice", SHOWN_OFFSETS.index(0), False))
    heads = ["prompt", "truth", *masks]
    sheet = Image.new("RGB", (len(heads) * SIDE, len(lines) * SIDE + CAPTION), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        pen.text((column * SIDE + 3, 1), head, fill=(230, 230, 230))
    for line, (caption, n, is_box) in enumerate(lines):
        grey = tile(images[n][part], window, size)
        is_prompted = n == SHOWN_OFFSETS.index(0)
        shown: list[tuple[Mask, Color]] = [(np.zeros_like(truths[n]), PROMPT), (truths[n], TRUTH)]
        shown += [
            (boxed[n] if is_box else clicked, RESULTS[m % len(RESULTS)])
            for m, (boxed, clicked) in enumerate(masks.values())
        ]
        for column, (mask, color) in enumerate(shown):
            picture = outlined(grey, mask[part], color, size)
            if column == 0 and is_prompted:
                draw_prompt(picture, prompts, part, size, is_box=is_box)
            place = (column * SIDE, line * SIDE + CAPTION)
            sheet.paste(Image.fromarray(picture), place)
        pen.text((4, line * SIDE + CAPTION + 2), caption, fill=PROMPT, stroke_width=2, stroke_fill=(0, 0, 0))
    palette = Image.new("P", (1, 1))
    greys = [(round(255 * n / (GREYS - 1)),) * 3 for n in range(GREYS)]
    palette.putpalette([value for color in (*greys, PROMPT, TRUTH, *RESULTS) for value in color])
    sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def shown_part(truth: Mask) -> tuple[slice, slice]:
    """A square around the object, cut to the slice."""
    row0, col0, row1, col1 = tight_box(truth)
    half = CONTEXT * max(row1 - row0 + 1, col1 - col0 + 1, 16) / 2
    middle = ((row0 + row1 + 1) / 2, (col0 + col1 + 1) / 2)
    rows, cols = (
        slice(max(0, int(m - half)), min(n, math.ceil(m + half))) for m, n in zip(middle, truth.shape, strict=True)
    )
    return rows, cols


def displayed_size(case: Case, prompts: FirstPrompts, part: tuple[slice, slice]) -> tuple[int, int]:
    """(height, width) of a tile's image, in pixels, with the voxels' true proportions."""
    spacing = [s for axis, s in enumerate(case.image.spacing_mm[::-1]) if axis != prompts.axis]
    mm = [(p.stop - p.start) * s for p, s in zip(part, spacing, strict=True)]
    height, width = (max(8, round((SIDE - 4) * one / max(mm))) for one in mm)
    return height, width


def tile(image: NDArray[Any], window: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A part of a slice as grey levels, interpolated to a size; drawn upside down where rows go upwards or to the front."""
    from PIL import Image

    low, high = window
    grey = (np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey[::-1]).resize(size[::-1], Image.Resampling.BICUBIC))


def outlined(grey: NDArray[np.uint8], mask: Mask, color: Color, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A tile (SIDE, SIDE, 3) with the outline of a mask."""
    from PIL import Image

    big = np.asarray(Image.fromarray(mask[::-1]).resize(size[::-1], Image.Resampling.NEAREST)).astype(bool)
    edge = big & ~ndimage.binary_erosion(big, iterations=1, border_value=0)
    picture = np.full((SIDE, SIDE, 3), 24, np.uint8)
    inner = picture[2 : 2 + size[0], 2 : 2 + size[1]]
    inner[:] = grey[..., None]
    inner[edge] = color
    return picture


def draw_prompt(
    picture: NDArray[np.uint8], prompts: FirstPrompts, part: tuple[slice, slice], size: tuple[int, int], *, is_box: bool
) -> None:
    """Draws the box or the click."""
    rows, cols = part

    def place(row: float, col: float) -> tuple[int, int]:
        r = (1 - (row + 0.5 - rows.start) / (rows.stop - rows.start)) * size[0] + 2
        c = (col + 0.5 - cols.start) / (cols.stop - cols.start) * size[1] + 2
        return min(max(round(r), 1), SIDE - 2), min(max(round(c), 1), SIDE - 2)

    if is_box:
        row0, col0, row1, col1 = prompts.box
        (bottom, left), (top, right) = place(row0 - 0.5, col0 - 0.5), place(row1 + 0.5, col1 + 0.5)
        picture[[top, bottom], left : right + 1] = PROMPT
        picture[top : bottom + 1, [left, right]] = PROMPT
    else:
        row, col = place(prompts.click.row, prompts.click.col)
        picture[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4] = PROMPT


def write_curve(path: Path, entries: Sequence[Entry], methods: Sequence[str]) -> None:
    """Dice against the distance from the prompted slice, small and large objects beside each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, plots = pyplot.subplots(1, 2, figsize=(8, 3), sharey=True)
    names = bin_names()
    for plot, size in zip(plots, ("small", "large"), strict=True):
        for method in methods:
            measured = [e for e in entries if e.method == method and e.size == size]
            if measured:
                plot.plot(names, curve(measured), marker=".", label=method)
        plot.set_title(f"{size} objects, after one box", fontsize=9)
        plot.set_xlabel("slices from the prompted one", fontsize=8)
        plot.tick_params(labelsize=7)
        plot.set_ylim(0, 1)
        plot.grid(alpha=0.3)
    plots[0].set_ylabel("Dice", fontsize=8)
    for plot in plots:
        if plot.lines:
            plot.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
