"""Pictures and a page of a finished segmentation, for a paper: a contact sheet, and a report of one page. No PyTorch.

A contact sheet: slices spread over all objects, each the right way up, with the outlines in the objects' colours.
A report of one segmentation as an HTML file of its own, which prints to one page: picture, tables, and a line for the methods.
"""

import base64
import io
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.measures import MeasuredObject, ObjectMask, Steps, number_text
from NeuroSAM2Core.measures.objects import PERCENTILES
from NeuroSAM2Core.measures.table import SECONDS_PER_MINUTE
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import Axis, IntensityWindow, SliceStack, Volume

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_SLICES = 15
MAX_SLICES = 100
SHEET_PX = 1500
"""Width."""
MIN_TILE_PX, MAX_TILE_PX = 60, 420
CAPTION_PX, LEGEND_PX, GAP_PX = 18, 24, 4
GROUND, TEXT, PROMPTED = (0, 0, 0), (235, 235, 235), (255, 200, 60)
LANDSCAPE = 1.6
"""A sheet is about so much wider than high."""
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ShownObject:
    """An object on the sheet."""

    name: str
    colour: Colour
    """Red, green and blue, 0 to 255."""
    mask: ObjectMask
    prompted: frozenset[int] = frozenset()
    """Slices along the sheet's axis with prompts, by their stored index; the nearest slices of the sheet move onto them."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContactSheet:
    """What a sheet shows."""

    image: Volume
    window: IntensityWindow
    axis: Axis
    """Along which slices are cut."""
    objects: Sequence[ShownObject]
    """On the grid of the image."""
    num_slices: int = NUM_SLICES
    """At most; 1 to 100."""
    title: str = ""
    """Above the slices."""

    @property
    def slices(self) -> list[int]:
        """The stored indices that are shown, in the order of the sheet: spread evenly over all objects."""
        stack = SliceStack.of(self.image, self.axis)
        return [stack.number_of(number) for number in self._numbers(stack)]

    @property
    def about(self) -> str:
        """What the sheet shows, in a sentence."""
        shown = self.slices
        names = ", ".join(one.name for one in self.objects)
        which = (
            f"Slice {shown[0]} along {self.axis}"
            if len(shown) == 1
            else f"{len(shown)} slices along {self.axis}, from {shown[0]} to {shown[-1]}"
        )
        return f"{which}, with the outlines of {names}; as radiologists look at them, the patient's right on the left."

    def _numbers(self, stack: SliceStack) -> list[int]:
        count = min(max(1, self.num_slices), MAX_SLICES)
        ends = [
            stack.number_of(index)
            for one in self.objects
            if not one.mask.is_empty
            for index in (one.mask.first[self.axis.array_axis], one.mask.last[self.axis.array_axis])
        ]
        first, last = (min(ends), max(ends)) if ends else (0, len(stack) - 1)
        middle = [(first + last) / 2] if count == 1 else np.linspace(first, last, count).tolist()
        shown = sorted({round(number) for number in middle})
        prompted = {stack.number_of(index) for one in self.objects for index in one.prompted}
        for number in sorted(prompted & set(range(first, last + 1)) - set(shown)):
            free = [n for n in range(len(shown)) if shown[n] not in prompted]
            if free:
                shown[min(free, key=lambda n: abs(shown[n] - number))] = number
        return sorted(set(shown))


def drawing_sheet(sheet: ContactSheet) -> Steps[bytes]:
    """Draws a sheet, in short steps; its PNG."""
    from PIL import Image, ImageDraw, ImageFont

    stack = SliceStack.of(sheet.image, sheet.axis)
    numbers = sheet._numbers(stack)
    spacing = [sheet.image.spacing_mm[2 - array_axis] for array_axis in stack.order]
    tile = _tile_px(stack.slice_shape, spacing, len(numbers))
    columns = max(1, min(len(numbers), SHEET_PX // (tile[0] + GAP_PX)))
    rows = math.ceil(len(numbers) / columns)
    font = ImageFont.load_default(size=13)
    top = LEGEND_PX if sheet.title else 0
    width = columns * (tile[0] + GAP_PX) + GAP_PX
    legend = _legend_rows([one.name for one in sheet.objects], width, font)
    height = top + rows * (tile[1] + CAPTION_PX + GAP_PX) + GAP_PX + len(legend) * LEGEND_PX
    picture = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(picture)
    if sheet.title:
        pen.text((GAP_PX, 4), sheet.title, fill=TEXT, font=font)
    prompted = {index for one in sheet.objects for index in one.prompted}
    for place, number in enumerate(numbers):
        x = GAP_PX + (place % columns) * (tile[0] + GAP_PX)
        y = top + GAP_PX + (place // columns) * (tile[1] + CAPTION_PX + GAP_PX)
        picture.paste(_tile(sheet, stack, number, tile), (x, y))
        index = stack.number_of(number)
        words = f"{sheet.axis} = {index}" + (", prompted" if index in prompted else "")
        pen.text((x + 2, y + tile[1] + 1), words, fill=PROMPTED if index in prompted else TEXT, font=font)
        yield
    y = height - len(legend) * LEGEND_PX
    for line in legend:
        for n, x in line:
            pen.rectangle((x, y + 5, x + 12, y + 17), fill=sheet.objects[n].colour)
            pen.text((x + 18, y + 3), sheet.objects[n].name, fill=TEXT, font=font)
        y += LEGEND_PX
    yield
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _tile_px(shape: tuple[int, int], spacing: Sequence[float], count: int) -> tuple[int, int]:
    """Width and height of a slice on the sheet, in its true proportions."""
    height_mm, width_mm = shape[0] * spacing[1], shape[1] * spacing[2]
    columns = max(1, round(math.sqrt(count * LANDSCAPE * height_mm / width_mm)))
    width = min(MAX_TILE_PX, max(MIN_TILE_PX, SHEET_PX // columns - GAP_PX))
    height = round(width * height_mm / width_mm)
    if height > 2 * MAX_TILE_PX:
        width, height = max(MIN_TILE_PX, round(width * 2 * MAX_TILE_PX / height)), 2 * MAX_TILE_PX
    return width, max(1, height)


def _tile(sheet: ContactSheet, stack: SliceStack, number: int, size: tuple[int, int]) -> "Image":
    from PIL import Image
    from scipy import ndimage

    grey = (sheet.window.normalise(stack.voxels[number]) * 255).astype(np.uint8)
    shown = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR).convert("RGB")).copy()
    plane = stack.plane(number)
    for one in sheet.objects:
        mask = _on_slice(one.mask, sheet.image.shape, plane.axis, plane.index)
        if mask is not None:
            scaled = Image.fromarray(stack.mask_to_stack(mask).astype(np.uint8) * 255).resize(
                size, Image.Resampling.BILINEAR
            )
            inside = np.asarray(scaled) >= 128
            shown[inside & ~ndimage.binary_erosion(inside, iterations=2)] = one.colour
    return Image.fromarray(shown)


def _on_slice(mask: ObjectMask, shape: tuple[int, int, int], axis: Axis, index: int) -> NDArray[np.bool_] | None:
    """The object on a stored slice, (H, W); None where it is not there."""
    at = axis.array_axis
    if mask.is_empty or not mask.first[at] <= index <= mask.last[at]:
        return None
    height, width = (size for n, size in enumerate(shape) if n != at)
    found = np.zeros((height, width), bool)
    rows, cols = (part for n, part in enumerate(mask.block) if n != at)
    found[rows, cols] = mask.voxels.take(index - mask.first[at], axis=at)
    return found


def _legend_rows(names: Sequence[str], width: int, font: "object") -> list[list[tuple[int, int]]]:
    """For each line of the legend the objects with where they begin."""
    lines: list[list[tuple[int, int]]] = []
    x = width
    for n, name in enumerate(names):
        needed = 18 + round(font.getlength(name)) + 24  # type: ignore[attr-defined]
        if x + needed > width and x > GAP_PX:
            lines.append([])
            x = GAP_PX
        lines[-1].append((n, x))
        x += needed
    return lines


MAX_ROWS = 60
"""Lines of both tables together; more would not fit on the page, and are said to be in the CSV."""
PICTURE_MM, TABLES_MM = 118, 118
"""Heights on the page."""
MIN_LINE_MM, MAX_LINE_MM = 1.9, 4.6
HASH_CHARS = 12
PACKAGES = ("numpy", "scipy")
STYLE = """
@page { size: A4; margin: 12mm; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 4mm; max-width: 186mm; color: #1a1a1a; background: #fff; }
body { font: 9pt/1.35 "Helvetica Neue", Arial, sans-serif; }
@media print { body { padding: 0; max-width: none; } }
h1 { margin: 0 0 1mm; font-size: 14pt; }
p { margin: 0 0 2mm; }
img { display: block; max-width: 100%; max-height: PICTURE_MMmm; margin: 0 auto 3mm; }
table { width: 100%; margin-bottom: 2mm; border-collapse: collapse; font-size: FONT_MMmm; line-height: LINE_MMmm; }
th, td { padding: 0 1mm; text-align: right; white-space: nowrap; }
th { border-bottom: 0.3mm solid #444; font-weight: 600; }
th:first-child, td:first-child { max-width: 46mm; overflow: hidden; text-align: left; text-overflow: ellipsis; }
tr:nth-child(even) td { background: #f2f2f2; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
footer { color: #444; font-size: 7.5pt; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryPage:
    """What the page says."""

    title: str
    images: Sequence[str]
    """Names, in the order of each object's intensities."""
    rows: Sequence[MeasuredObject]
    sheet_png: bytes
    sheet_about: str
    """What the picture shows, for who cannot see it and below it."""
    model: str = ""
    """Name of the model that answered last; empty where none is known."""
    model_sha256: str = ""
    how_time_is_counted: str = ""


def page_html(page: SummaryPage) -> str:
    """The file's text; it needs nothing else, no network either."""
    sizes, values = _size_rows(page.rows), _value_rows(page)
    num_sizes = min(len(sizes), max(MAX_ROWS // 2, MAX_ROWS - len(values)))
    num_values = min(len(values), MAX_ROWS - num_sizes)
    left_out = len(sizes) - num_sizes + len(values) - num_values
    line_mm = min(MAX_LINE_MM, max(MIN_LINE_MM, TABLES_MM / (num_sizes + num_values + 4)))
    style = (
        STYLE.replace("PICTURE_MM", str(PICTURE_MM))
        .replace("FONT_MM", f"{line_mm * 0.72:.2f}")
        .replace("LINE_MM", f"{line_mm:.2f}")
    )
    picture = base64.b64encode(page.sheet_png).decode()
    more = f"<p>{left_out} more lines are in the table (CSV).</p>" if left_out else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{escape(page.title)}</h1>
<img src="data:image/png;base64,{picture}" alt="{escape(page.sheet_about)}">
<p>{escape(page.sheet_about)}</p>
{_table(_SIZE_HEAD, sizes[:num_sizes])}
{_table(_VALUE_HEAD, values[:num_values])}
{more}<p>{escape(methods_line(page))}</p>
<footer>{escape(versions_line(page))}</footer>
</body>
</html>
"""


def methods_line(page: SummaryPage) -> str:
    """How the numbers came about, for a methods section."""
    model = f", model {page.model}" if page.model else ""
    time = f" {page.how_time_is_counted}" if page.how_time_is_counted else ""
    return (
        f"Segmented interactively with NeuroSAM2 {__version__}{model}. Volume: number of voxels times the voxel's volume. Extents: of "
        "whole voxels along the patient's axes. Surface area: Crofton's formula in 13 directions. Intensities: values at the "
        "centres of the object's voxels, linearly interpolated in images with another grid; SD is the sample's. Slices are corrected "
        f"where they have more than one prompt, and confirmed where the user accepted or edited the mask.{time}"
    )


def versions_line(page: SummaryPage) -> str:
    """Software and model, so that it can be done again."""
    hash_ = f"model file SHA-256 {page.model_sha256}; " if page.model_sha256 else ""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"{hash_}NeuroSAM2 {__version__}, Python {platform.python_version()}, {packages}."


_SIZE_HEAD = (
    "Object",
    "mL",
    "L-R mm",
    "A-P mm",
    "S-I mm",
    "Surface mm²",
    "Prompted",
    "Corrected",
    "Confirmed",
    "Minutes",
)
_VALUE_HEAD = ("Intensities", "Mean", "SD", *(f"{at} %" for at in PERCENTILES))


def _size_rows(rows: Sequence[MeasuredObject]) -> list[list[str]]:
    found = []
    for row in rows:
        size, counts = row.size, row.counts
        numbers = [""] * 5 if size is None else [_short(n) for n in (size.volume_ml, *size.extent_mm, size.surface_mm2)]
        prompts = [""] * 4
        if counts is not None:
            minutes = "" if counts.seconds is None else f"{counts.seconds / SECONDS_PER_MINUTE:.1f}"
            prompts = [str(counts.prompted), str(counts.corrected), str(counts.confirmed), minutes]
        found.append([row.name, *numbers, *prompts])
    return found


def _value_rows(page: SummaryPage) -> list[list[str]]:
    return [
        [f"{row.name}, {image}", *map(_short, (values.mean, values.sd, *values.percentiles))]
        for row in page.rows
        for image, values in zip(page.images, row.intensities, strict=True)
        if values is not None
    ]


def _short(value: float) -> str:
    return number_text(value, digits=4)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # as in an application that bundles it without its metadata
        return "of unknown version"
