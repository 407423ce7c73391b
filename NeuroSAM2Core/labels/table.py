"""Names and colours of the values of a label map.

The values of FreeSurfer's segmentation of the whole brain (aseg), for label maps that come without a table.
Tables of labels in files: of ITK-SNAP, FreeSurfer, 3D Slicer and BIDS. What a file is is told by its content.
"""

import colorsys
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import writing

FREESURFER = (
    (2, "Left-Cerebral-White-Matter", (245, 245, 245)),
    (3, "Left-Cerebral-Cortex", (205, 62, 78)),
    (4, "Left-Lateral-Ventricle", (120, 18, 134)),
    (5, "Left-Inf-Lat-Vent", (196, 58, 250)),
    (7, "Left-Cerebellum-White-Matter", (220, 248, 164)),
    (8, "Left-Cerebellum-Cortex", (230, 148, 34)),
    (10, "Left-Thalamus", (0, 118, 14)),
    (11, "Left-Caudate", (122, 186, 220)),
    (12, "Left-Putamen", (236, 13, 176)),
    (13, "Left-Pallidum", (12, 48, 255)),
    (14, "3rd-Ventricle", (204, 182, 142)),
    (15, "4th-Ventricle", (42, 204, 164)),
    (16, "Brain-Stem", (119, 159, 176)),
    (17, "Left-Hippocampus", (220, 216, 20)),
    (18, "Left-Amygdala", (103, 255, 255)),
    (24, "CSF", (60, 60, 60)),
    (26, "Left-Accumbens-area", (255, 165, 0)),
    (28, "Left-VentralDC", (165, 42, 42)),
    (30, "Left-vessel", (160, 32, 240)),
    (31, "Left-choroid-plexus", (0, 200, 200)),
    (41, "Right-Cerebral-White-Matter", (245, 245, 245)),
    (42, "Right-Cerebral-Cortex", (205, 62, 78)),
    (43, "Right-Lateral-Ventricle", (120, 18, 134)),
    (44, "Right-Inf-Lat-Vent", (196, 58, 250)),
    (46, "Right-Cerebellum-White-Matter", (220, 248, 164)),
    (47, "Right-Cerebellum-Cortex", (230, 148, 34)),
    (49, "Right-Thalamus", (0, 118, 14)),
    (50, "Right-Caudate", (122, 186, 220)),
    (51, "Right-Putamen", (236, 13, 176)),
    (52, "Right-Pallidum", (13, 48, 255)),
    (53, "Right-Hippocampus", (220, 216, 20)),
    (54, "Right-Amygdala", (103, 255, 255)),
    (58, "Right-Accumbens-area", (255, 165, 0)),
    (60, "Right-VentralDC", (165, 42, 42)),
    (62, "Right-vessel", (160, 32, 240)),
    (63, "Right-choroid-plexus", (0, 200, 221)),
    (77, "WM-hypointensities", (200, 70, 255)),
    (80, "non-WM-hypointensities", (164, 108, 226)),
    (85, "Optic-Chiasm", (234, 169, 30)),
    (251, "CC_Posterior", (0, 0, 64)),
    (252, "CC_Mid_Posterior", (0, 0, 112)),
    (253, "CC_Central", (0, 0, 160)),
    (254, "CC_Mid_Anterior", (0, 0, 208)),
    (255, "CC_Anterior", (0, 0, 255)),
)
"""Value, name, and red, green and blue as FreeSurfer's own viewer has them."""
UNMISTAKABLE = frozenset({41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60, 251, 252, 253, 254, 255})
"""Values that label maps numbered from 1 seldom reach: two of them make it FreeSurfer's."""
LARGEST = 255
"""Values above are those of parcellations of the cortex, which have no names here."""


Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
GOLDEN_ANGLE = 0.618034
"""Of a turn of the hues: neighbouring values get colours that differ most."""


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """A value."""

    value: int
    """Above 0."""
    name: str
    colour: Colour


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Values with their names and colours; each value once."""

    entries: tuple[LabelEntry, ...] = ()

    def __post_init__(self) -> None:
        by_value = {entry.value: entry for entry in self.entries if entry.value > 0}
        object.__setattr__(self, "entries", tuple(by_value[value] for value in sorted(by_value)))

    def restricted(self, values: Iterable[int]) -> "LabelTable":
        """A table of exactly these values; those that have no entry are named by their number."""
        known = MappingProxyType({entry.value: entry for entry in self.entries})
        return LabelTable(tuple(known.get(value) or unnamed(value) for value in values))


def table_for(values: Sequence[int]) -> LabelTable:
    """What values mean where no table is there: FreeSurfer's where they are no other's, else their numbers."""
    numbered = {value: LabelEntry(value, name, colour) for value, name, colour in FREESURFER}
    of_aseg = [value for value in values if value <= LARGEST]
    is_freesurfer = len(set(of_aseg) & UNMISTAKABLE) > 1 and sum(map(numbered.__contains__, of_aseg)) > 0.9 * len(
        of_aseg
    )
    return LabelTable(tuple(numbered.values()) if is_freesurfer else ()).restricted(values)


def unnamed(value: int) -> LabelEntry:
    """The entry of a value that no table names."""
    red, green, blue = colorsys.hsv_to_rgb((value * GOLDEN_ANGLE) % 1.0, 0.65, 0.95)
    return LabelEntry(value, f"label {value}", (round(255 * red), round(255 * green), round(255 * blue)))


MAX_BYTES = 1 << 22
"""Of a file; FreeSurfer's own table has 120 kB."""
ITK_SNAP = re.compile(r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.eE+-]+)\s+\d+\s+\d+\s+"(.*)"\s*$')
NAMED = re.compile(r"^\s*(\d+)\s+(\S.*?)\s+(\d+)\s+(\d+)\s+(\d+)(?:\s+(\d+))?\s*$")
"""As FreeSurfer and 3D Slicer write it: value, name, red, green, blue, and how opaque."""
HEX = re.compile(r"#?([0-9a-fA-F]{6})")
ENDINGS = (".tsv", ".ctbl", ".txt", ".label", ".lut", ".csv")
VALUE_COLUMNS, NAME_COLUMNS = ("index", "labelvalue", "value", "label"), ("name", "structure", "labelname")
RGB_COLUMNS = (("color_r", "r", "red"), ("color_g", "g", "green"), ("color_b", "b", "blue"))


class TableFormat(Enum):
    """How a table is written, with the ending of its file."""

    BIDS = ".tsv"
    ITK_SNAP = ".label"
    FREESURFER = ".txt"
    SLICER = ".ctbl"


def read_table(path: Path) -> LabelTable:
    """The table in a file.

    Raises:
        DataError: It cannot be read, or is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path.name} is too large for a table of labels", hint="choose another file")
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}", hint="check the path") from error
    entries = tuple(_entries(text))
    if not entries:
        raise DataError(
            f"{path.name} is no table of labels that is known",
            hint="expected one of ITK-SNAP, FreeSurfer or 3D Slicer, or the .tsv file of BIDS",
        )
    return LabelTable(entries)


def write_table(path: Path, table: LabelTable, *, overwrite: bool = False) -> None:
    """Writes a table, in the format that the name's ending says.

    Raises:
        DataError: It cannot be written there, or is there already.
    """
    try:
        kind = TableFormat(path.suffix.lower())
    except ValueError:
        endings = ", ".join(one.value for one in TableFormat)
        raise DataError(f"cannot write {path.name}: expected a name that ends in {endings}") from None
    with writing(path):
        disk.write_atomically(path, WRITERS[kind](table), overwrite=overwrite)


def find_table(labels: Path) -> Path | None:
    """The table that lies beside a label map under its name, as BIDS and people put it; None where there is none."""
    name = labels.name.lower()
    ending = next(
        (one for one in (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mgz", ".mgh", ".mha") if name.endswith(one)), ""
    )
    stem = labels.name[: len(labels.name) - len(ending)]
    for candidate in (stem, re.sub(r"^.*_(?=dseg$)", "", stem)):
        for suffix in ENDINGS:
            path = labels.with_name(candidate + suffix)
            if disk.is_file(path):
                return path
    return None


def only_table(folder: Path) -> Path | None:
    """The table in a folder of files that were sent together; None where there is none, or more than one."""
    found = [one for one in folder.iterdir() if one.suffix.lower() in ENDINGS]
    return found[0] if len(found) == 1 else None


def _entries(text: str) -> Iterator[LabelEntry]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        return
    delimiter = "\t" if "\t" in lines[0] else ","
    columns = [cell.strip().lower() for cell in lines[0].split(delimiter)]
    if any(name in columns for name in VALUE_COLUMNS) and any(name in columns for name in NAME_COLUMNS):
        yield from _rows(lines, columns, delimiter)
        return
    for line in lines:
        if match := ITK_SNAP.match(line):
            value, red, green, blue, _, name = match.groups()
        elif match := NAMED.match(line):
            value, name, red, green, blue, _ = match.groups()
            name = name.strip('"')
        else:
            continue
        yield _entry(value, name, (red, green, blue))


def _rows(lines: list[str], columns: list[str], delimiter: str) -> Iterator[LabelEntry]:
    def at(names: tuple[str, ...]) -> int | None:
        return next((columns.index(name) for name in names if name in columns), None)

    value_at, name_at, colour_at, rgb_at = at(VALUE_COLUMNS), at(NAME_COLUMNS), at(("color",)), [*map(at, RGB_COLUMNS)]
    for row in csv.reader(lines[1:], delimiter=delimiter):
        cells = [*map(str.strip, row), *[""] * len(columns)]
        value, name = cells[value_at or 0], cells[name_at or 0]
        if not value.isdecimal():
            continue
        rgb = tuple(cells[one] for one in rgb_at if one is not None)
        written = HEX.fullmatch(cells[colour_at]) if colour_at is not None else None
        if written is not None:
            rgb = tuple(str(part) for part in bytes.fromhex(written[1]))
        yield _entry(value, name, rgb)


def _entry(value: str, name: str, rgb: tuple[str, ...]) -> LabelEntry:
    number = int(value) if len(value) < 11 else 0
    known = unnamed(number)
    if len(rgb) != 3 or not all(part.isdecimal() and int(part) < 256 for part in rgb):
        return LabelEntry(number, name or known.name, known.colour)
    red, green, blue = map(int, rgb)
    return LabelEntry(number, name or known.name, (red, green, blue))


def _as_bids(table: LabelTable) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(["index", "name", "color"])
    writer.writerows(
        [one.value, _one_line(one.name), "#{:02x}{:02x}{:02x}".format(*one.colour)] for one in table.entries
    )
    return file.getvalue()


def _as_itk_snap(table: LabelTable) -> str:
    lines = [
        "# ITK-SnAP Label Description File",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for one in table.entries:
        red, green, blue = one.colour
        name = _one_line(one.name).replace('"', "'")
        lines.append(f'{one.value:5d}   {red:3d}  {green:3d}  {blue:3d}        1  1  1    "{name}"')
    return "\n".join(lines) + "\n"


def _as_freesurfer(table: LabelTable) -> str:
    rows = [f"{one.value:<6d} {_one_word(one.name):<40} {' '.join(map(str, one.colour))} 0" for one in table.entries]
    return (
        "\n".join(["#No. Label Name: R G B A", "0      Unknown                                  0 0 0 0", *rows]) + "\n"
    )


def _as_slicer(table: LabelTable) -> str:
    rows = [f"{one.value} {_one_word(one.name)} {' '.join(map(str, one.colour))} 255" for one in table.entries]
    return "\n".join(["# Color table file", f"# {len(rows) + 1} values", "0 Background 0 0 0 0", *rows]) + "\n"


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _one_word(name: str) -> str:
    return "_".join(name.split())


WRITERS: dict[TableFormat, Callable[[LabelTable], str]] = {
    TableFormat.BIDS: _as_bids,
    TableFormat.ITK_SNAP: _as_itk_snap,
    TableFormat.FREESURFER: _as_freesurfer,
    TableFormat.SLICER: _as_slicer,
}
