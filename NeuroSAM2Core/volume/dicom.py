"""DICOM series as volumes, through SimpleITK, which is optional: where it is missing, people are told what to do."""

import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError, GeometryError
from NeuroSAM2Core.memory import check_memory
from NeuroSAM2Core.volume.file_types import CONVERT, DICOM_AT, is_dicom
from NeuroSAM2Core.volume.stored_image import StoredImage

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
POSITION, DESCRIPTION = "0020|0032", "0008|103e"
UNEVEN_MM = 0.01
"""Largest distance of a slice from where evenly spaced ones would be."""
MAX_LISTED = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A DICOM series in a folder."""

    uid: str
    about: str
    """Its description and how many files it has, for people."""
    files: tuple[str, ...]
    """In the order of its slices."""


def find_series(folder: Path) -> list[Series]:
    """The DICOM series whose files are directly in a folder; at least one.

    Raises:
        DataError: There is none.
        ConfigError: SimpleITK is not installed.
    """
    if not _holds_dicom(folder):
        raise DataError(
            f"{folder} is a folder without DICOM files", hint="name a file, or the folder that directly holds a series"
        )
    sitk = _simple_itk(folder.name)
    reader = sitk.ImageSeriesReader
    name = disk.as_utf8(folder)
    files = {uid: reader.GetGDCMSeriesFileNames(name, uid) for uid in reader.GetGDCMSeriesIDs(name)}
    if not files:
        raise DataError(f"{folder.name} holds DICOM files, but no image in them", hint="choose another folder")
    return [Series(uid=uid, about=_metadata(sitk, names), files=tuple(names)) for uid, names in files.items()]


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
    series = _choose(folder, find_series(folder), chosen)
    return _read(_simple_itk(folder.name), folder, list(series.files))


def read_file(path: Path) -> StoredImage:
    """The image of a DICOM file with many frames; see `read_series`."""
    sitk = _simple_itk(path.name)
    return _read(sitk, path, [disk.as_utf8(path)])


def _simple_itk(name: str) -> ModuleType:
    try:
        import SimpleITK
    except ImportError as error:
        raise ConfigError(
            f"{name} is DICOM, which needs SimpleITK to be read",
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


def _metadata(sitk: ModuleType, names: Any) -> str:  # noqa: ANN401  (SimpleITK is optional)
    reader = sitk.ImageFileReader()
    reader.SetFileName(names[0])
    try:
        reader.ReadImageInformation()
        text = reader.GetMetaData(DESCRIPTION).strip() if reader.HasMetaDataKey(DESCRIPTION) else ""
    except RuntimeError:
        text = "cannot be read"
    return f"{text or 'without a description'}, {len(names)} file{'s' if len(names) > 1 else ''}"


def _read(sitk: ModuleType, path: Path, names: list[str]) -> StoredImage:
    first = sitk.ImageFileReader()
    first.SetFileName(names[0])
    try:
        first.ReadImageInformation()
        size = first.GetSize()
        if len(names) == 1 and (len(size) < 3 or size[2] == 1):
            raise DataError(
                f"{path.name} is a single slice in DICOM; expected a series",
                hint="name the folder with all slices of the series" if path.is_file() else "choose another series",
            )
        if first.GetNumberOfComponents() > 1:
            raise DataError(
                f"{path.name} holds colours; expected one value per voxel", hint="choose a series of grey images"
            )
        check_memory(path.name, 4 * math.prod(size) * len(names))
        if len(names) == 1:
            image = first.Execute()
        else:
            _check_positions(sitk, path, names)
            series = sitk.ImageSeriesReader()
            series.SetFileNames(names)
            image = series.Execute()
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise DataError(
            f"{path.name} cannot be read: {lines[-1] if lines else error}", hint="copy the DICOM files again"
        ) from error
    if image.GetDimension() != 3:
        raise GeometryError(f"{path.name} has {image.GetDimension()} dimensions; expected three", hint=CONVERT)
    voxels = sitk.GetArrayFromImage(image)
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return StoredImage(voxels, LPS_TO_RAS @ matrix, path.stem if path.is_file() else path.name)


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
