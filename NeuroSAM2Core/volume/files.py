"""NIfTI files in and out. What a file is is told by how it begins; its header is held against free memory before voxels are unpacked.

MGH files of FreeSurfer (.mgh, .mgz), with nibabel's header.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, igzip_lib
from nibabel.analyze import AnalyzeHeader
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError, GeometryError
from NeuroSAM2Core.memory import check_memory
from NeuroSAM2Core.outputs import check_outputs, is_there
from NeuroSAM2Core.volume.header import HeaderGeometry, StoredImage, header_bytes

GZIP = b"\x1f\x8b"
DICOM_AT = 128
IDENTIFYING_GROUP = b"\x08\0"
"""What old DICOM files without a preamble begin with."""
CONVERT = "convert it to .nii.gz, for example with 3D Slicer"
KINDS = {
    GZIP: "packed twice with gzip",
    b"NRRD000": "an NRRD file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file, as MINC 2 is",
    b"CDF\x01": "a NetCDF file, as MINC 1 is",
    b"\x93NUMPY": "a NumPy array, which says nothing of its place",
    b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
"""By the first bytes."""
HINTS = {
    GZIP: "unpack it once",
    b"PK\x03\x04": "unpack it first",
    b"7z\xbc\xaf": "unpack it first",
    b"BZh": "unpack it first",
    b"\xfd7zXZ": "unpack it first",
    b"\x28\xb5\x2f\xfd": "unpack it first",
    b"version https://git-lfs": "fetch it with `git lfs pull`",
    b"<!DOCTYPE": "download the file again",
    b"<html": "download the file again",
}
"""For those that are not converted."""


def is_dicom(start: bytes) -> bool:
    """A file that begins like this is DICOM."""
    has_preamble = start[DICOM_AT : DICOM_AT + 4] == b"DICM"
    return has_preamble or (start[:2] == IDENTIFYING_GROUP and start[3:4] == b"\0")


def is_metaimage(start: bytes) -> bool:
    """A file that begins like this is MetaImage."""
    return start.lstrip().startswith((b"ObjectType", b"NDims"))


def refusal(name: str, start: bytes) -> DataError:
    """Why a file that begins like this cannot be read, and what to do."""
    for first, kind in KINDS.items():
        if start.startswith(first):
            return DataError(f"{name} is no NIfTI file, but {kind}", hint=HINTS.get(first, CONVERT))
    if not start:
        return DataError(f"{name} cannot be read: it is empty", hint="copy it again")
    if name.lower().endswith((".nii", ".nii.gz")):
        return DataError(f"{name} cannot be read: it does not begin as a NIfTI file does", hint="copy it again")
    return DataError(
        f"{name} is not a NIfTI file; expected .nii, .nii.gz, .mgz, .mha or .mhd",
        hint=f"if it is an image, {CONVERT}; else copy it again",
    )


FIRST_BYTES = b"\x00\x00\x00\x01"
"""The version; sizes and types follow."""
NUM_BYTES = 284
"""Of the header."""
TYPES = (0, 1, 3, 4, 10)
MAX_SIDE_LENGTH = 1 << 15


def begins_so(start: bytes) -> bool:
    """A file that begins like this is MGH."""
    if len(start) < NUM_BYTES or not start.startswith(FIRST_BYTES):
        return False
    sizes, kind = np.frombuffer(start[4:20], ">i4"), int.from_bytes(start[20:24], "big")
    return kind in TYPES and bool(((sizes > 0) & (sizes < MAX_SIDE_LENGTH)).all())


def read(path: Path, start: bytes, rest: io.BufferedIOBase) -> StoredImage:
    """The image in a file.

    Args:
        path: Of the file.
        start: Its first bytes, unpacked.
        rest: What follows them.

    Raises:
        GeometryError: It holds several volumes, or is flat.
        DataError: It is too large for the memory.
        EOFError: It is cut short.
    """
    header = MGHHeader(start[:NUM_BYTES], check=False)
    *shape, frames = map(int, header["dims"])
    if frames != 1:
        raise GeometryError(
            f"{path.name} holds {frames} volumes; expected one", hint="extract one of them first, for example the mean"
        )
    dtype = header.get_data_dtype()
    check_memory(path.name, math.prod(shape) * dtype.itemsize)
    voxels = np.empty(shape[::-1], dtype)
    _fill(path, io.BytesIO(start[NUM_BYTES:]), rest, voxels.view(np.uint8).reshape(-1))
    while rest.read(PIECE):  # the check sum comes at the end
        pass
    if not dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(dtype.newbyteorder("="))
    name = path.name.removesuffix(".gz").removesuffix(".mgz").removesuffix(".mgh")
    return StoredImage(voxels, np.asarray(header.get_affine(), np.float64), name)


SUFFIXES = (".nii", ".nii.gz")
WRITABLE = (np.uint8, np.int16, np.int32, np.float32, np.float64, np.uint16)
HEADER_BYTES = 540
"""Of the longer of the two headers."""
PIECE = 1 << 20
MAX_OFFSET = 1 << 28
"""Bytes before the voxels: header and extensions."""
MAX_SURPLUS = 1 << 26
"""Unpacked bytes after the voxels that are looked at; the check sum comes after them."""
DAMAGED = "the file may be damaged or cut short; copy it again"


def read_image(path: Path, *, series: str | int | None = None) -> StoredImage:
    """The image in a file, integers as stored, anything scaled as float32: NIfTI, MGH of FreeSurfer, MetaImage, or a DICOM series.

    MetaImage and DICOM are read where SimpleITK is installed.

    Args:
        path: A file, or the folder of a DICOM series.
        series: Which one, where there are several: its UID, or its number from 1.

    Raises:
        DataError: The file is missing, damaged, of another kind or too large for the memory.
        GeometryError: It does not hold one three-dimensional volume.
    """
    path = disk.extended(path)
    if disk.is_folder(path):
        from NeuroSAM2Core.volume.dicom import read_series

        return read_series(path, series)
    if not disk.is_file(path):
        raise DataError(
            f"there is no file {path}", hint="check the path; a relative one starts from the current folder"
        )
    try:
        with _unpacked(path) as file:
            start = file.read(HEADER_BYTES)
            header = _header(path, start)
            if header is not None:
                return _read(path, file, start, header)
            if begins_so(start):
                return read(path, start, file)
    except (HeaderDataError, EOFError, OSError, ValueError, OverflowError, MemoryError, ArithmeticError) as error:
        raise _unreadable(path, error) from error
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub calls it an instance
        raise DataError(
            f"{path.name} cannot be unpacked: {error}", hint="the file is damaged; copy it again"
        ) from error
    if is_metaimage(start):
        from NeuroSAM2Core.volume.dicom import read_metaimage

        return read_metaimage(path)
    if is_dicom(start):
        from NeuroSAM2Core.volume.dicom import read_file

        return read_file(path)
    raise refusal(path.name, start)


def write_nifti(path: Path, image: StoredImage, *, overwrite: bool = False) -> None:
    """Writes a NIfTI file with this very place; the file is whole, or what was there before still is.

    Args:
        path: Of the file.
        image: Booleans become bytes.
        overwrite: A file that is there may be replaced.

    Raises:
        DataError: It cannot be written there, or is there already.
    """
    check_target(path)
    check_outputs([path], overwrite=overwrite)
    voxels = image.voxels.view(np.uint8) if image.voxels.dtype == bool else image.voxels
    if voxels.dtype not in WRITABLE:
        voxels = voxels.astype(np.float32 if voxels.dtype.kind == "f" else np.int32)
    start = header_bytes(image, voxels.dtype)
    try:
        with (
            disk.replaced_atomically(path, overwrite=overwrite) as partial,
            _packed(partial, is_packed=path.name.lower().endswith(".gz")) as file,
        ):
            file.write(start)
            for plane in voxels:
                file.write(np.ascontiguousarray(plane).data)
    except FileExistsError as error:
        raise is_there(path) from error
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {disk.reason(error, path)}",
            hint="choose a folder that exists and that you may write to",
        ) from error


def check_target(path: Path) -> None:
    """Checks the name of a volume to be written, and that its folder is there.

    Raises:
        DataError: They will not do.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"cannot write {path.name}: expected a name that ends in .nii or .nii.gz")
    if not disk.is_folder(path.parent):
        raise DataError(f"cannot write {path.name}: there is no folder {path.parent}")


@dataclass(frozen=True, slots=True)
class _Scale:
    """From stored numbers to what they mean."""

    slope: float
    intercept: float

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):
            return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)


def _read(path: Path, file: io.BufferedIOBase, start: bytes, header: Nifti1Header) -> StoredImage:
    shape = _shape(path, header)
    stored, scale = _voxel_type(path, header)
    dtype = stored.newbyteorder("=") if scale is None else np.dtype(np.float32)
    check_memory(path.name, math.prod(shape) * dtype.itemsize)
    place = HeaderGeometry.of(header)
    offset = max(int(header.get_data_offset()), len(header.binaryblock))
    if offset > MAX_OFFSET:
        raise ValueError(f"its voxels should begin at byte {offset}")
    ahead = io.BytesIO(start[offset:])
    _skip(file, offset - len(start))
    voxels = np.empty(shape[::-1], dtype)
    buffer = np.empty(shape[-2::-1], stored)
    for plane in voxels:
        part = plane if scale is None else buffer
        _fill(path, ahead, file, part.view(np.uint8).reshape(-1) if part.size else part)
        if scale is not None:
            plane[...] = scale(buffer)
        elif not stored.isnative:
            plane.byteswap(inplace=True)
    _skip(file, MAX_SURPLUS, may_end=True)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return StoredImage(voxels, place.ijk_to_ras, name, place, intent=int(header["intent_code"]))


@contextmanager
def _unpacked(path: Path) -> Iterator[io.BufferedIOBase]:
    """The file's bytes, unpacked where they are packed."""
    with path.open("rb") as raw:
        is_packed = raw.read(len(GZIP)) == GZIP
        raw.seek(0)
        if not is_packed:
            yield raw
            return
        with igzip.IGzipFile(fileobj=raw, mode="rb") as file:
            yield file


@contextmanager
def _packed(path: Path, *, is_packed: bool) -> Iterator[io.BufferedIOBase]:
    with path.open("xb") as raw:
        if not is_packed:
            yield raw
            return
        with igzip.IGzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
            yield file


def _header(path: Path, start: bytes) -> Nifti1Header | None:
    """The header that a file begins with; None where it is no NIfTI file."""
    for kind in (Nifti2Header, Nifti1Header):
        if kind.may_contain_header(start):
            header = kind(start[: kind.sizeof_hdr])
            if bytes(header["magic"]).startswith(b"ni"):
                break
            return header
    else:
        if not AnalyzeHeader.may_contain_header(start):
            return None
    raise DataError(
        f"{path.name} is half of a pair of .hdr and .img, as Analyze and old NIfTI files are",
        hint="convert the pair into one .nii file, for example with 3D Slicer",
    )


def _shape(path: Path, header: Nifti1Header) -> tuple[int, ...]:
    """(I, J, K)."""
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 4:
        raise GeometryError(
            f"{path.name} holds {shape[3]} volumes (shape {shape}); expected one",
            hint="extract one of them first, for example the mean or the first frame",
        )
    if len(shape) == 5:
        raise GeometryError(
            f"{path.name} holds {shape[4]} values per voxel (shape {shape}), as a vector field does; expected one",
            hint="extract one component first, for example with Vector to Scalar Volume in 3D Slicer",
        )
    if len(shape) == 2:
        raise GeometryError(
            f"{path.name} holds a flat picture of {shape[0]} x {shape[1]}; expected a volume",
            hint="save it with a third axis, which may be one voxel long",
        )
    if len(shape) != 3 or min(shape) < 1:
        raise GeometryError(f"{path.name} has shape {shape}; expected three dimensions")
    return shape


def _voxel_type(path: Path, header: Nifti1Header) -> tuple[np.dtype[Any], _Scale | None]:
    """How voxels are stored, and how they are scaled, if they are."""
    stored: np.dtype[Any] = header.get_data_dtype()
    if stored.fields is not None:
        raise DataError(
            f"{path.name} holds colours ({'RGBA' if len(stored.fields) == 4 else 'RGB'}); expected one value per voxel",
            hint="turn it into grey first, for example with Vector to Scalar Volume in 3D Slicer",
        )
    if stored.kind == "c":
        raise DataError(
            f"{path.name} holds complex numbers; expected real ones", hint="save their magnitude or phase as an image"
        )
    if stored.kind not in "iuf":
        raise DataError(f"{path.name} holds voxels of type {stored}; expected numbers", hint="convert it first")
    slope, intercept = header.get_slope_inter()
    slope, intercept = 1.0 if slope is None else float(slope), float(intercept or 0.0)
    if (slope, intercept) != (1.0, 0.0) or stored.itemsize > 8 or stored.newbyteorder("=") == np.float16:
        return stored, _Scale(slope, intercept)
    return stored, None


def _fill(path: Path, ahead: io.BytesIO, file: io.BufferedIOBase, part: NDArray[np.uint8]) -> None:
    """Reads until an array is full: first what was read ahead, then the file."""
    view, done = part.data, 0
    for source in (ahead, file):
        while done < len(view) and (count := source.readinto(view[done : done + PIECE])):
            done += count
    if done < len(view):
        raise EOFError("it is cut short: its voxels end too soon")


def _skip(file: io.BufferedIOBase, count: int, *, may_end: bool = False) -> None:
    while count > 0 and (piece := file.read(min(count, PIECE))):
        count -= len(piece)
    if count > 0 and not may_end:
        raise EOFError("it ends before its voxels begin")


def _unreadable(path: Path, error: Exception) -> DataError:
    lines = str(error.strerror if isinstance(error, OSError) and error.strerror else error).splitlines()
    return DataError(f"{path.name} cannot be read: {lines[0] if lines else type(error).__name__}", hint=DAMAGED)
