"""A report of one segmentation as an HTML file of its own, which prints to one page: picture, tables, and a line for the methods."""

import base64
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version

from NeuroSAM2Core.measures import MeasuredObject, number_text
from NeuroSAM2Core.measures.intensities import PERCENTILES
from NeuroSAM2Core.measures.table import SECONDS_PER_MINUTE
from NeuroSAM2Core.version import __version__

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
