"""DICOM series as volumes, through SimpleITK, which is optional: where it is missing, people are told what to do.

MetaImage files (.mha, .mhd), through SimpleITK, which is optional.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError, GeometryError, last_line
from NeuroSAM2Core.memory import check_memory
from NeuroSAM2Core.volume.files import CONVERT, DICOM_AT, is_dicom
from NeuroSAM2Core.volume.header import StoredImage

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
POSITION, DESCRIPTION, MODALITY = "0020|0032", "0008|103e", "0008|0060"
SERIES_DATE, STUDY_DATE = "0008|0021", "0008|0020"
SAID = (DESCRIPTION, MODALITY, SERIES_DATE, STUDY_DATE)
MAX_FOLDERS = 2000
"""Below one that is looked into."""
UNEVEN_MM = 0.01
"""Largest distance of a slice from where evenly spaced ones would be."""
MAX_LISTED = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A DICOM series in a folder or below it."""

    uid: str
    description: str
    """Empty where it has none."""
    modality: str
    """Such as MR or CT; empty where it is not known."""
    date: str
    """Of the series or its study, YYYY-MM-DD; empty where it is not known."""
    size: tuple[int, int]
    """Columns and rows of a slice; (0, 0) where they cannot be read."""
    folder: str
    """Where its files are, as seen from the folder that was looked into; empty for that itself."""
    files: tuple[str, ...]
    """In the order of its slices."""

    @property
    def about(self) -> str:
        """For people: what it is called, its modality, and how large it is."""
        count = len(self.files)
        columns, rows = self.size
        size = f" of {columns} x {rows}" if columns else ""
        parts = (
            self.modality,
            f"{count} file{'s' * (count > 1)}{size}",
            self.date,
            self.folder and f"in {self.folder}",
        )
        return ", ".join(part for part in (self.description or "without a description", *parts) if part)


def find_series(folder: Path) -> list[Series]:
    """The DICOM series whose files are in a folder or in those below it; at least one.

    Raises:
        DataError: There is none.
        ConfigError: SimpleITK is not installed.
    """
    folders = [one for one in _folders(folder) if _holds_dicom(one)]
    if not folders:
        raise DataError(
            f"{folder} is a folder without DICOM files", hint="name a file, or a folder that holds a series"
        )
    sitk = _simple_itk(folder.name)
    reader, found = sitk.ImageSeriesReader, []
    for one in folders:
        name = _checked(disk.as_utf8(one))
        for uid in reader.GetGDCMSeriesIDs(name):
            place = "" if one == folder else str(one.relative_to(folder))
            found.append(_series(sitk, uid, place, tuple(map(_checked, reader.GetGDCMSeriesFileNames(name, uid)))))
    if not found:
        raise DataError(f"{folder.name} holds DICOM files, but no image in them", hint="choose another folder")
    return found


def read_series(folder: Path, chosen: str | int | None) -> StoredImage:
    """The image of a DICOM series.

    Args:
        folder: Holds its files.
        chosen: Which series, where there are several: its UID, or its number from 1.

    Raises:
        DataError: There is none, there are several and none was chosen, or it is damaged or too large.
        GeometryError: Its slices do not make one grid.
        ConfigError: SimpleITK is not installed.
    """
    return read_found(_choose(folder, find_series(folder), chosen), folder.name)


def read_found(series: Series, name: str) -> StoredImage:
    """The image of a series that was found; see `read_series`.

    Args:
        series: From `find_series`.
        name: For sentences and for the image.
    """
    return _read(_simple_itk(name), Path(name), [_checked(disk.as_utf8(Path(one))) for one in series.files])


def read_file(path: Path) -> StoredImage:
    """The image of a DICOM file with many frames; see `read_series`."""
    sitk = _simple_itk(path.name)
    return _read(sitk, path, [_checked(disk.as_utf8(path))])


def read_with_simple_itk(path: Path, kind: str) -> StoredImage:
    """The image of a file that SimpleITK reads; see `read_series`.

    Args:
        path: The file.
        kind: What it is, for sentences.
    """
    image = _read(_simple_itk(path.name, kind), path, [_checked(disk.as_utf8(path))], kind)
    return replace(image, dicom_files=())


def _checked(name: str) -> str:
    """A path from or for SimpleITK, whose bindings end the process where it is not UTF-8.

    Raises:
        DataError: It is not.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = _as_text(Path(name).name)
        raise DataError(f"{shown} cannot be read: its path is not UTF-8", hint="rename it in plain letters") from None
    return name


def _simple_itk(name: str, kind: str = "DICOM") -> ModuleType:
    try:
        import SimpleITK
    except ImportError as error:
        raise ConfigError(
            f"{name} is {kind}, which needs SimpleITK to be read",
            hint=f"install it with `pip install SimpleITK`, or {CONVERT}",
        ) from error
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def _holds_dicom(folder: Path) -> bool:
    try:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                with path.open("rb") as file:
                    if is_dicom(file.read(DICOM_AT + 4)):
                        return True
    except OSError as error:
        raise DataError(f"{folder} cannot be looked into: {error.strerror or error}") from error
    return False


def _choose(folder: Path, found: list[Series], chosen: str | int | None) -> Series:
    if chosen is None and len(found) == 1:
        return found[0]
    for number, one in enumerate(found, start=1):
        if str(chosen) in (one.uid, str(number)):
            return one
    lines = [f"{n}: {one.about} [{one.uid}]" for n, one in enumerate(found[:MAX_LISTED], start=1)]
    more = [f"and {len(found) - MAX_LISTED} more"] if len(found) > MAX_LISTED else []
    wrong = "" if chosen is None else f"there is no series {chosen}: "
    raise DataError(
        f"{wrong}{folder.name} holds {len(found)} DICOM series: {'; '.join(lines + more)}",
        hint="choose one by its number or UID, as in --series 1",
    )


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and those below it, in order; no links, and not without end."""
    try:
        walk = os.walk(folder)
        for count, (path, names, _) in enumerate(walk):
            names[:] = sorted(name for name in names if not name.startswith("."))
            yield Path(path)
            if count >= MAX_FOLDERS:
                return
    except OSError as error:
        raise DataError(f"{folder} cannot be looked into: {error.strerror or error}") from error


def _series(sitk: ModuleType, uid: str, folder: str, files: tuple[str, ...]) -> Series:
    """What the header of its first file says."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(files[0])
    known: dict[str, str] = {}
    size = (0, 0)
    try:
        reader.ReadImageInformation()
        known = {key: reader.GetMetaData(key).strip() for key in SAID if reader.HasMetaDataKey(key)}
        columns, rows = reader.GetSize()[:2]
        size = int(columns), int(rows)
    except RuntimeError:
        known = {DESCRIPTION: "cannot be read"}
    date = known.get(SERIES_DATE) or known.get(STUDY_DATE, "")
    return Series(
        uid=uid,
        description=_as_text(known.get(DESCRIPTION, "")),
        modality=_as_text(known.get(MODALITY, "")),
        date=f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdecimal() else "",
        size=size,
        folder=folder,
        files=tuple(map(disk.from_utf8, files)),
    )


def _as_text(text: str) -> str:
    """Without what cannot be shown."""
    return "".join(one if one.isprintable() else " " for one in text.encode(errors="replace").decode()).strip()


def _read(sitk: ModuleType, path: Path, names: list[str], kind: str = "DICOM") -> StoredImage:
    first = sitk.ImageFileReader()
    first.SetFileName(names[0])
    try:
        first.ReadImageInformation()
        size = first.GetSize()
        if kind != "DICOM" and len(size) != 3:
            raise GeometryError(f"{path.name} has {len(size)} dimensions; expected three", hint=CONVERT)
        if kind == "DICOM" and len(names) == 1 and (len(size) < 3 or size[2] == 1):
            raise DataError(
                f"{path.name} is a single slice in DICOM; expected a series",
                hint="name the folder with all slices of the series" if path.is_file() else "choose another series",
            )
        if first.GetNumberOfComponents() > 1:
            raise DataError(
                f"{path.name} holds colours; expected one value per voxel", hint="choose an image with grey values"
            )
        check_memory(path.name, 4 * math.prod(size) * len(names))
        reader = first
        if len(names) > 1:
            _check_positions(sitk, path, names)
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(names)
        if first.GetPixelID() == sitk.sitkFloat64:  # as scaled values come
            reader.SetOutputPixelType(sitk.sitkFloat32)
        image = reader.Execute()
    except RuntimeError as error:
        raise DataError(
            f"{path.name} cannot be read: {last_line(error)}",
            hint=f"copy the {kind} file{'s' * (kind == 'DICOM')} again",
        ) from error
    if image.GetDimension() != 3:
        raise GeometryError(f"{path.name} has {image.GetDimension()} dimensions; expected three", hint=CONVERT)
    voxels = np.asarray(_Held(sitk, image))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return StoredImage(
        voxels,
        LPS_TO_RAS @ matrix,
        path.stem if path.is_file() else path.name,
        dicom_files=tuple(map(disk.from_utf8, names)),
    )


class _Held:
    """The voxels of an image of SimpleITK, not copied: an array of them keeps the image.

    Args:
        sitk: The library.
        image: Has these voxels.
    """

    def __init__(self, sitk: ModuleType, image: object) -> None:
        self.image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__


def _check_positions(sitk: ModuleType, path: Path, names: list[str]) -> None:
    """Checks that slices follow each other evenly and straight."""
    positions, normal = [], np.array([0.0, 0.0, 1.0])
    reader = sitk.ImageFileReader()
    for name in names:
        reader.SetFileName(name)
        reader.ReadImageInformation()
        if not reader.HasMetaDataKey(POSITION):
            return
        positions.append([float(word) for word in reader.GetMetaData(POSITION).split("\\")])
        normal = np.reshape(reader.GetDirection(), (3, 3))[:, 2]
    places = np.array(positions)
    even = places[0] + np.linspace(0, 1, len(places))[:, None] * (places[-1] - places[0])
    if np.linalg.norm(places - even, axis=1).max() > UNEVEN_MM:
        raise GeometryError(
            f"the slices of {path.name} are not evenly spaced: some are missing, or it is more than one volume",
            hint="load it in 3D Slicer, which can make it regular, and save it as .nii.gz",
        )
    along = places[-1] - places[0]
    if np.linalg.norm(along - (along @ normal) * normal) > UNEVEN_MM * len(places):
        raise GeometryError(
            f"the slices of {path.name} are tilted against their direction, as with a tilted gantry",
            hint="load it in 3D Slicer, which can make it regular, and save it as .nii.gz",
        )


MAX_HEADER_LENGTH = 1 << 16
DATA_FILE = re.compile(rb"^ElementDataFile\s*=\s*(.*?)\s*$", re.MULTILINE)


def read_metaimage(path: Path) -> StoredImage:
    """The image in a MetaImage file, or in the two files .mhd and .raw.

    Raises:
        DataError: It is damaged, its voxels are elsewhere than beside it, or it is too large.
        GeometryError: It does not hold one three-dimensional volume.
        ConfigError: SimpleITK is not installed.
    """
    try:
        with path.open("rb") as file:
            named = DATA_FILE.search(file.read(MAX_HEADER_LENGTH))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if named is None:
        raise DataError(f"{path.name} cannot be read: its header names no voxels", hint="copy the file again")
    name = named[1].decode(errors="replace")
    if name.upper() != "LOCAL":
        is_plain = (
            Path(name).name == name and not name.upper().startswith("LIST") and "%" not in name and "\\" not in name
        )
        if not is_plain:
            raise DataError(
                f"{path.name} says that its voxels are in {name!r}; expected a file beside it",
                hint="save the image as .mha, which holds both",
            )
        if not disk.is_file(path.with_name(name)):
            raise DataError(
                f"{path.name} goes with {name}, which is not beside it",
                hint="put both into one folder, or save as .mha",
            )
    return read_with_simple_itk(path, "MetaImage")
