"""Scene bundles (.mrb) looked at before they are unpacked, so that a damaged one costs nothing that is open."""

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from NeuroSAM2Core.errors import DataError
from NeuroSAM2MRML.scene.nrrd_check import check_stream


def check_bundle(path: Path, unpacked_in: Path) -> None:
    """Refuses what cannot be unpacked whole and inside its own folder.

    Args:
        path: The bundle.
        unpacked_in: The folder where it will be unpacked.

    Raises:
        DataError: It is damaged, reaches outside, holds no scene, or there is no room for it.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            entries = bundle.infolist()
            _check_names(path.name, entries)
            _check_contents(path.name, bundle)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(
            f"{path.name} cannot be read: {error}", hint="the file may be damaged; copy it again"
        ) from error
    if not any(entry.filename.endswith(".mrml") for entry in entries):
        raise DataError(f"{path.name} holds no scene", hint="choose a file that was saved as a scene bundle")
    if sum(entry.file_size for entry in entries) > shutil.disk_usage(unpacked_in).free:
        raise DataError(f"there is no room to unpack {path.name} in {unpacked_in}", hint="free some space on the disk")


def _check_names(name: str, entries: list[zipfile.ZipInfo]) -> None:
    for entry in entries:
        place = PurePosixPath(entry.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts:
            raise DataError(f"{name} holds {entry.filename}, which reaches outside", hint="do not trust this file")


def _check_contents(name: str, bundle: zipfile.ZipFile) -> None:
    damaged = bundle.testzip()
    if damaged is not None:
        raise DataError(f"{name} is damaged at {damaged}", hint="copy it again")
    for entry in bundle.infolist():
        if entry.filename.endswith(".nrrd"):
            with bundle.open(entry) as file:
                check_stream(file, f"{name}: {PurePosixPath(entry.filename).name}")
