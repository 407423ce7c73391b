"""Images in NRRD files, read without Slicer's own reader, which ends the process on some damaged headers.

A header is read with pynrrd and understood here; what Slicer reads afterwards is a header that was written anew from that. The place of
an image is ITK's: where a file names no space, its axes are taken as left, posterior, superior. Only files that hold their own data
are taken.
"""

import bz2
import math
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import nrrd
import numpy as np
import psutil
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Lib.scene.files.segment_metadata import parse_metadata

MAGIC = b"NRRD000"
SEGMENTATION = ".seg.nrrd"
MAX_HEADER_LENGTH = 1 << 20
PIECE = 1 << 20
MAX_NUMBER_LENGTH = 60
"""Letters of a number that is written as text."""
TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "int8"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "uint8"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "int16"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "uint16"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "int32"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "uint32"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
        "int64",
    ),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "uint64"),
    "float": "float32",
    "double": "float64",
}
WRITTEN_TYPES = {
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long int",
    "uint64": "unsigned long long int",
    "float32": "float",
    "float64": "double",
}
SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
    **dict.fromkeys(
        ("scanner-xyz", "3d-right-handed", "3d-left-handed"), (1.0, 1.0, 1.0)
    ),  # the patient's position is not given; ITK's choice
}
"""The signs that turn positions into left, posterior, superior."""
LAYER_KINDS = {
    "vector": 0,
    "covariant-vector": 0,
    "3-vector": 3,
    "rgb-color": 3,
    "rgba-color": 4,
    "3d-symmetric-matrix": 6,
    "3d-masked-symmetric-matrix": 7,
    "3d-matrix": 9,
}
"""Kinds of an axis that is none of space, with the size that each must have; any other is written as a list."""
SPATIAL_KINDS = ("domain", "space", "time", "???", "none", "")
PACKED: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("gzip", "gz"), lambda: zlib.decompressobj(wbits=47)),
    **dict.fromkeys(("bzip2", "bz2"), bz2.BZ2Decompressor),
}
AS_TEXT = ("ascii", "text", "txt")
NAMES = {
    "axismins": "axis mins",
    "axismaxs": "axis maxs",
    "centers": "centerings",
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
}
"""Names that mean the same in the format."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NrrdImage:
    """Voxels with geometry and metadata."""

    name: str
    voxels: NDArray[Any]
    """(layers, K, J, I) or, with the layers last in the file, (K, J, I, layers) seen in that order."""
    ijk_to_lps: Matrix
    """(4, 4), in mm."""
    layer_kind: str = ""
    """Of the axis of layers; empty where the file has three axes."""
    measurement_frame: Matrix | None = None
    """(3, 3), columns in left, posterior, superior."""
    notes: dict[str, str] = field(default_factory=dict)
    """Lines `key:=value` that are passed on."""

    @classmethod
    def read(cls, path: Path) -> "NrrdImage":
        """What a file holds.

        Raises:
            DataError: It is damaged, cut short, keeps its data elsewhere, or is larger than what memory is free.
        """
        try:
            with path.open("rb") as file:
                return _read(file, path.name)
        except OSError as error:
            raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error
        except (
            *(
                ValueError,
                TypeError,
                LookupError,
                ArithmeticError,
                EOFError,
                MemoryError,
            ),  # pynrrd's parsing among them
            *(nrrd.NRRDError, zlib.error),
        ) as error:
            raise DataError(
                f"{path.name} cannot be read: {_short(error)}", hint="the file may be damaged; copy it again"
            ) from error

    def volume(self) -> Volume:
        """The same as a volume.

        Raises:
            DataError: There are several values per voxel.
            GeometryError: Its matrix is flat.
        """
        if len(self.voxels) != 1:
            raise DataError(
                f"{self.name} has {len(self.voxels)} values per voxel; expected one",
                hint="extract one component first, for example with Vector to Scalar Volume in 3D Slicer",
            )
        return Volume(self.voxels[0], np.diag((-1.0, -1.0, 1.0, 1.0)) @ self.ijk_to_lps, name=self.name)

    def write(self, path: Path) -> None:
        """Writes a file of its own that any reader understands; not packed.

        Raises:
            OSError: It cannot be written there.
        """
        with path.open("wb") as file:
            file.write(("\n".join(self._header()) + "\n\n").encode())
            layers_first = np.moveaxis(self.voxels, 0, -1) if self.layer_kind else self.voxels[0]
            for part in layers_first:
                file.write(np.ascontiguousarray(part).tobytes())

    def _header(self) -> Iterator[str]:
        layers, k, j, i = self.voxels.shape
        prefix = (layers,) if self.layer_kind else ()
        yield "NRRD0005"
        yield f"type: {WRITTEN_TYPES[self.voxels.dtype.name]}"
        yield f"dimension: {3 + len(prefix)}"
        yield "space: left-posterior-superior"
        yield f"sizes: {' '.join(map(str, (*prefix, i, j, k)))}"
        directions = [_vector(column) for column in self.ijk_to_lps[:3, :3].T]
        yield f"space directions: {' '.join(['none'] * len(prefix) + directions)}"
        yield f"kinds: {' '.join([self.layer_kind] * len(prefix) + ['domain'] * 3)}"
        yield "endian: little"
        yield "encoding: raw"
        yield f"space origin: {_vector(self.ijk_to_lps[:3, 3])}"
        if self.measurement_frame is not None:
            yield f"measurement frame: {' '.join(_vector(column) for column in self.measurement_frame.T)}"
        yield from (f"{key}:={value}" for key, value in self.notes.items())


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says, by the names of the format, in small letters."""

    fields: dict[str, Any]
    notes: dict[str, str]

    def text(self, name: str) -> str:
        return str(self.fields.get(name, "")).strip().lower()

    def numbers(self, name: str) -> list[float]:
        return [float(one) for one in self.fields.get(name, [])]


def rewrite(path: Path) -> None:
    """Writes a file anew from what was understood of it.

    Raises:
        DataError: It cannot be read, see `NrrdImage.read`, or there is not enough memory for it.
    """
    image = NrrdImage.read(path)
    try:
        if image.voxels.nbytes + MAX_HEADER_LENGTH > shutil.disk_usage(path.parent).free:
            raise DataError(
                f"the disk is too full to unpack {path.name} in {path.parent}", hint="free some space on the disk"
            )
        image.write(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}", hint="is there space on the disk?"
        ) from error


def check_memory(num_bytes: int, name: str) -> None:
    """Refuses what is larger than the memory that is free.

    Raises:
        DataError: It is.
    """
    free = psutil.virtual_memory().available
    if num_bytes > free:
        raise DataError(
            f"{name} needs {num_bytes / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free",
            hint="close other programs, or open a smaller file",
        )


def _read(file: IO[bytes], name: str) -> NrrdImage:
    header = _header(file)
    sizes, axis = _shape(header)
    dtype = _dtype(header)
    count = math.prod(sizes)
    is_text = header.text("encoding") in AS_TEXT
    check_memory(count * (4 * MAX_NUMBER_LENGTH if is_text else 2 * dtype.itemsize), name)
    data = _data(file, header, dtype, count)
    if len(data) < count:
        raise DataError(f"{name} is cut short: {len(data)} of {count} voxels are there", hint="copy the file again")
    native = data.astype(dtype.newbyteorder("="), copy=False).reshape(sizes[::-1])
    voxels = native[np.newaxis] if axis is None else np.moveaxis(native, len(sizes) - 1 - axis, 0)
    ijk_to_lps, signs = _place(header, sizes, axis)
    return NrrdImage(
        name=name,
        voxels=voxels,
        ijk_to_lps=ijk_to_lps,
        layer_kind="" if axis is None else _layer_kind(header, axis, sizes[axis]),
        measurement_frame=_frame(header, signs),
        notes=parse_metadata(
            header.notes,
            sizes=voxels.shape[:0:-1],
            layers=len(voxels),
            is_segmentation=name.lower().endswith(SEGMENTATION),
        ),
    )


def _header(file: IO[bytes]) -> _Header:
    if not file.readline(16).startswith(MAGIC):
        raise ValueError("it is no NRRD file")
    lines, notes, rest = ["NRRD0005"], {}, MAX_HEADER_LENGTH
    while (line := file.readline(rest)).strip():
        rest -= len(line)
        if rest <= 0 or not line.endswith(b"\n"):
            raise ValueError("its header has no end")
        text = line.decode("utf-8", errors="replace").strip()
        if text.startswith("#"):
            continue
        if ":=" in text:
            key, _, value = text.partition(":=")
            notes[key] = value
            continue
        key, colon, value = text.partition(":")
        if not colon:
            raise ValueError(f"its header has a line {text[:40]!r} that is not understood")
        lines.append(f"{NAMES.get(key.lower(), key.lower())}: {value.strip()}")
    fields = nrrd.read_header(
        [line for line in lines if not line.startswith("sizes: ") and line != "space origin: none"]
    )
    sizes = [line for line in lines if line.startswith("sizes: ")]
    if len(sizes) != 1:
        raise ValueError("its header says nothing of sizes, or twice")
    fields["sizes"] = sizes[0].split()[1:]
    if "data file" in fields:
        raise ValueError("its data lies elsewhere")
    missing = [one for one in ("type", "dimension", "encoding") if one not in fields]
    if missing:
        raise ValueError(f"its header says nothing of {', '.join(missing)}")
    return _Header(fields, notes)


def _shape(header: _Header) -> tuple[tuple[int, ...], int | None]:
    """The sizes, fastest axis first, and which axis is none of space."""
    dimension, words = header.fields["dimension"], header.fields["sizes"]
    sizes = tuple(int(word) if word.isdecimal() and len(word) < 11 else 0 for word in words)
    if dimension not in (3, 4) or len(sizes) != dimension or min(sizes) < 1 or max(sizes) >= 1 << 31:
        raise ValueError(f"it has the sizes {_short(' '.join(words))}; expected three, or four with layers first")
    kinds = [str(kind).lower() for kind in header.fields.get("kinds", [])]
    if kinds and len(kinds) != dimension:
        raise ValueError(f"it has {len(kinds)} kinds for {dimension} axes")
    if "space directions" in header.fields:
        others = [n for n, row in enumerate(header.fields["space directions"]) if np.isnan(row).all()]
    else:
        others = [n for n, kind in enumerate(kinds) if kind not in SPATIAL_KINDS]
    if dimension == 4 and not others:
        others = [n for n in (0, 3) if sizes[n] == 1][:1]
    if len(others) != dimension - 3:
        raise ValueError(f"it has {dimension - len(others)} axes in space; expected three")
    return sizes, others[0] if others else None


def _dtype(header: _Header) -> np.dtype[Any]:
    if header.text("type") not in TYPES:
        raise ValueError(f"its voxels are of the type {_short(header.text('type'))}")
    dtype, endian = np.dtype(TYPES[header.text("type")]), header.text("endian")
    if dtype.itemsize == 1 or header.text("encoding") in AS_TEXT:
        return dtype
    if endian not in ("little", "big"):
        raise ValueError(f"the order of its bytes is {_short(endian or 'not given')}; expected little or big")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _data(file: IO[bytes], header: _Header, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The voxels, as many as there are up to what is expected."""
    encoding, num_bytes = header.text("encoding"), dtype.itemsize * count
    line_skip, byte_skip = header.fields.get("line skip", 0), header.fields.get("byte skip", 0)
    if not 0 <= line_skip <= PIECE or not -1 <= byte_skip <= MAX_HEADER_LENGTH:
        raise ValueError(f"it skips {line_skip} lines and {byte_skip} bytes")
    for _ in range(line_skip):
        file.readline()
    if encoding in AS_TEXT:
        words = file.read(count * MAX_NUMBER_LENGTH).replace(b",", b" ").split(maxsplit=count)[:count]
        if max(map(len, words), default=0) > MAX_NUMBER_LENGTH:
            raise ValueError("its text holds something else than numbers")
        return np.array(words, dtype="S").astype(dtype)
    data: bytes | bytearray | memoryview
    if encoding == "raw":
        begin, size = file.tell() + byte_skip, file.seek(0, 2)
        file.seek(begin if byte_skip >= 0 else max(0, size - num_bytes))
        data = file.read(max(0, min(num_bytes, size - file.tell())))
    elif encoding in PACKED:
        most = num_bytes + (byte_skip if byte_skip >= 0 else MAX_HEADER_LENGTH)
        unpacked = _unpacked(file, PACKED[encoding], most)
        data = memoryview(unpacked)[byte_skip if byte_skip >= 0 else -num_bytes :]
    else:
        raise ValueError(f"its data is packed as {_short(encoding)}; expected raw, gzip, bzip2 or text")
    return np.frombuffer(data, dtype, min(count, len(data) // dtype.itemsize))


def _unpacked(file: IO[bytes], new_unpacker: Callable[[], Any], most: int) -> bytearray:
    """What is packed, one part after another, and no more than asked for."""
    unpacker, found, piece = new_unpacker(), bytearray(), b""
    while len(found) < most:
        if unpacker.eof:
            piece = unpacker.unused_data or file.read(PIECE)
            if not piece.strip(b"\0"):
                break
            unpacker = new_unpacker()
        elif isinstance(unpacker, bz2.BZ2Decompressor):
            piece = file.read(PIECE) if unpacker.needs_input else b""
            if not piece and unpacker.needs_input:
                break
        else:
            piece = unpacker.unconsumed_tail or file.read(PIECE)
            if not piece:
                break
        found += unpacker.decompress(piece, min(PIECE, most - len(found)))
    return found


def _place(header: _Header, sizes: tuple[int, ...], axis: int | None) -> tuple[Matrix, NDArray[np.float64]]:
    """Voxel indices to left, posterior, superior, and the signs of the file's space."""
    spatial = [number for number in range(len(sizes)) if number != axis]
    space, matrix = header.text("space"), np.eye(4)
    has_space = bool(space) or "space dimension" in header.fields
    if space and space not in SPACES:
        raise ValueError(
            f"its space is {_short(space)}; expected one of three dimensions, such as {next(iter(SPACES))}"
        )
    if header.fields.get("space dimension", 3) != 3:
        raise ValueError(f"its space has {header.fields['space dimension']} dimensions; expected three")
    signs = np.array(SPACES[space] if space else (1.0, 1.0, 1.0))
    spacings = [_or_one(one) for one in _of_axes(header, "spacings", sizes, math.nan)]
    if "space directions" in header.fields:
        if not has_space:
            raise ValueError("it has directions, but names no space")
        rows = np.asarray(header.fields["space directions"], dtype=float)
        if rows.shape != (len(sizes), 3):
            raise ValueError(f"its directions are {_short(rows.tolist())}; expected three")
        matrix[:3, :3] = rows[spatial].T
    else:
        matrix[:3, :3] = np.diag([spacings[number] for number in spatial])
    if has_space:
        matrix[:3, 3] = _origin(header)
    else:
        matrix[:3, 3] = _origin_of_axes(header, sizes, spatial)
    matrix[:3] *= signs[:, np.newaxis]
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or (scale < 1e-9).any() or np.abs(matrix).max() > 1e9:
        raise ValueError(f"its place in space is {_short(matrix[:3].tolist())}")
    return matrix, signs


def _origin(header: _Header) -> NDArray[np.float64]:
    found = header.fields.get("space origin")
    origin = np.zeros(3) if found is None else np.asarray(found, dtype=float)
    if origin.shape != (3,):
        raise ValueError(f"its origin is {_short(origin.tolist())}")
    return np.zeros(3) if np.isnan(origin).all() else origin


def _origin_of_axes(header: _Header, sizes: tuple[int, ...], spatial: list[int]) -> list[float]:
    """Where the first voxel's centre is, if the axes say where they begin."""
    begins, ends = (_of_axes(header, name, sizes, math.nan) for name in ("axis mins", "axis maxs"))
    steps = _of_axes(header, "spacings", sizes, math.nan)
    centers = header.fields.get("centerings", [])
    origin = []
    for number in spatial:
        is_node = len(centers) == len(sizes) and str(centers[number]).lower() == "node"
        step = steps[number]
        if math.isnan(step):
            step = (ends[number] - begins[number]) / max(1, sizes[number] - is_node)
        origin.append(begins[number] + (0.0 if is_node else step / 2))
    return origin if all(map(math.isfinite, origin)) else [0.0, 0.0, 0.0]


def _of_axes(header: _Header, name: str, sizes: tuple[int, ...], otherwise: float) -> list[float]:
    found = header.numbers(name) or [otherwise] * len(sizes)
    if len(found) != len(sizes):
        raise ValueError(f"it has {len(found)} {name} for {len(sizes)} axes")
    return found


def _or_one(spacing: float) -> float:
    return 1.0 if math.isnan(spacing) else spacing


def _layer_kind(header: _Header, axis: int, size: int) -> str:
    kinds = header.fields.get("kinds", [])
    kind = str(kinds[axis]) if kinds else "list"
    needed = LAYER_KINDS.get(kind.lower())
    return kind if needed is not None and needed in (0, size) else "list"


def _frame(header: _Header, signs: NDArray[np.float64]) -> Matrix | None:
    if "measurement frame" not in header.fields:
        return None
    frame = np.asarray(header.fields["measurement frame"], dtype=float)
    if frame.shape != (3, 3) or not np.isfinite(frame).all() or np.abs(frame).max() > 1e9:
        return None
    return np.asarray(frame.T * signs[:, np.newaxis])


def _vector(numbers: NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"


def _short(value: object) -> str:
    """For a sentence."""
    text = " ".join(str(value).split()) or type(value).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
