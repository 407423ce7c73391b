"""NRRD files looked at before Slicer reads them: its reader ends the process on a damaged one. Pure Python.

Only files that hold their own data are taken, so that none can point at another file.
"""

import math
import zlib
from pathlib import Path
from typing import IO

from NeuroSAM2Core.errors import DataError

MAGIC = b"NRRD000"
LONGEST_HEADER = 1 << 20
PIECE = 1 << 20
ITEM_BYTES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "signed short int", "int16", "int16_t", "ushort", "unsigned short",
        "unsigned short int", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t", "ulonglong",
        "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"),
}  # fmt: skip
"""The names of voxel types, by their size."""
NEEDED = ("type", "dimension", "sizes", "encoding", "space", "space directions")
FIELDS = (
    *NEEDED, "endian", "content", "min", "max", "block size", "number", "sample units", "spacings", "thicknesses", "axis mins", "axis maxs",
    "centers", "centerings", "labels", "units", "kinds", "space units", "space origin", "measurement frame",
)  # fmt: skip
SPACES = ("right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps")


def check_nrrd(path: Path) -> None:
    """Refuses what Slicer could not read.

    Raises:
        DataError: It is damaged, cut short, or keeps its data elsewhere.
    """
    try:
        with path.open("rb") as file:
            check_stream(file, path.name)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error


def check_stream(file: IO[bytes], name: str) -> None:
    """The same for a file that is open at its beginning; see `check_nrrd`."""
    try:
        fields = _header(file)
        expected = _num_bytes(fields)
        found = _data_bytes(file, fields["encoding"], expected)
    except (ValueError, zlib.error) as error:
        raise DataError(f"{name} cannot be read: {error}", hint="the file may be damaged; copy it again") from error
    if found < expected:
        raise DataError(f"{name} is cut short: {found} of {expected} bytes are there", hint="copy the file again")


def _header(file: IO[bytes]) -> dict[str, str]:
    if not file.readline(16).startswith(MAGIC):
        raise ValueError("it is no NRRD file")
    fields, rest = {}, LONGEST_HEADER
    while (line := file.readline(rest)).strip():
        rest -= len(line)
        if rest <= 0 or not line.endswith(b"\n"):
            raise ValueError("its header has no end")
        text = line.decode("utf-8", errors="strict").strip()
        if text.startswith("#") or ":=" in text:
            continue
        key, _, value = text.partition(": ")
        if key.lower() not in FIELDS:
            raise ValueError(f"its header has a line {text[:40]!r} that is not understood, or its data lies elsewhere")
        fields[key.lower()] = value.strip()
    missing = [name for name in NEEDED if name not in fields]
    if missing:
        raise ValueError(f"its header says nothing of {', '.join(missing)}")
    return fields


def _num_bytes(fields: dict[str, str]) -> int:
    dimension, sizes = int(fields["dimension"]), [int(size) for size in fields["sizes"].split()]
    if dimension not in (3, 4) or len(sizes) != dimension or min(sizes) < 1:
        raise ValueError(f"it has the sizes {fields['sizes']}; expected three, or four with layers first")
    if fields["space"].lower() not in SPACES:
        raise ValueError(f"its space is {fields['space']}; expected one of {', '.join(SPACES[:3])}")
    if len(_numbers(fields.get("space origin", "(0,0,0)"))) != 3:
        raise ValueError(f"its origin is {fields['space origin']}")
    _check_directions(fields["space directions"], dimension)
    for size, names in ITEM_BYTES.items():
        if fields["type"].lower() in names:
            return size * math.prod(sizes)
    raise ValueError(f"its voxels are of the type {fields['type']}")


def _check_directions(text: str, dimension: int) -> None:
    vectors = text.replace(") (", ")|(").replace("none ", "none|").split("|")
    spatial = [vector.strip() for vector in vectors if vector.strip() != "none"]
    if len(vectors) != dimension or len(spatial) != 3:
        raise ValueError(f"its directions are {text}; expected three")
    for vector in spatial:
        numbers = _numbers(vector)
        if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"one of its directions is {vector}")


def _numbers(vector: str) -> list[float]:
    if not (vector.startswith("(") and vector.endswith(")")):
        raise ValueError(f"it has {vector[:40]!r} where a vector is expected")
    return [float(number) for number in vector[1:-1].split(",")]


def _data_bytes(file: IO[bytes], encoding: str, most: int) -> int:
    """How many bytes of data there are, counted no further than needed."""
    if encoding not in ("raw", "gzip", "gz"):
        raise ValueError(f"its data is packed as {encoding}; expected raw or gzip")
    unpacker, found = zlib.decompressobj(wbits=47), 0
    while found < most and (piece := file.read(PIECE)):
        found += len(piece if encoding == "raw" else unpacker.decompress(piece))
    return found
