"""Unpacks scene bundles (.mrb) safely: damaged or malicious ones are refused and write nowhere else.

Only files of the kinds that a scene is read from are unpacked, each under a name inside the folder; NRRD files are written anew from
what was understood of them. The bundle itself is never given to Slicer's own unpacking.

Checks scenes (.mrml) as XML before Slicer reads them: they may only name files beside them, and nothing that is fetched or run.
"""

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Lib.scene.files.nrrd_image import MAGIC, check_memory, rewrite

SCENE = ".mrml"
MAX_SCENE_BYTES = 1 << 26
MAX_NAME_LENGTH = 250
"""Bytes; what the systems' folders take."""
READ = (
    *(SCENE, ".nrrd", ".nii", ".nii.gz", ".json", ".fcsv", ".acsv", ".csv", ".tsv", ".txt", ".ctbl", ".vp", ".xml"),
    *(".h5", ".tfm", ".mat", ".vtk", ".vtp", ".vtu", ".stl", ".ply", ".obj", ".png", ".jpg"),
)
"""Endings of the files that a scene is read from. None of them unpacks others; an .h5 that reads another file fails the `Trial`."""
ADDRESS = re.compile(r"ur[il](listmember)?\d*", re.IGNORECASE)
FILE = re.compile(r"file(name|path|listmember)", re.IGNORECASE)
RUNS = re.compile(r"commandline|remote|dataio|cachemanager|urihandler|connector|server|launcher|python", re.IGNORECASE)
"""Kinds of nodes that run programs, or reach other computers."""
UNTRUSTED = "do not trust this file"


def is_read(name: str) -> bool:
    """A file of that name may belong to a scene."""
    return name.lower().endswith(READ)


def check_scene(path: Path, name: str) -> None:
    """Refuses a scene that reaches outside its own folder.

    Args:
        path: Of the scene.
        name: What the person calls it.

    Raises:
        DataError: It does, or is no scene.
    """
    try:
        if path.stat().st_size > MAX_SCENE_BYTES:
            raise DataError(f"{name} holds a scene of {path.stat().st_size / 1e6:.0f} MB; expected less")
        root = parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise DataError(f"{name} holds a scene with definitions of its own", hint=UNTRUSTED) from error
    except (ParseError, OSError, ValueError, LookupError) as error:
        raise DataError(
            f"{name} cannot be read: its scene is damaged, {error}", hint="the file may be damaged; copy it again"
        ) from error
    for element in root.iter():
        _check_element(element, path.parent, name)


def _check_element(element: Element, folder: Path, name: str) -> None:
    if RUNS.search(element.tag):
        raise DataError(
            f"{name} holds {element.tag[:60]}, a node that runs programs or reaches other computers",
            hint="delete such nodes in 3D Slicer and save the scene again, or do not trust this file",
        )
    for key, value in element.attrib.items():
        if ADDRESS.fullmatch(key) and value.strip():
            raise DataError(f"{name} names an address on the network, {value[:100]!r}", hint=UNTRUSTED)
        if FILE.match(key) and value:
            for entry_name in _readings(value):
                _check_file(entry_name, folder, name)


def _readings(value: str) -> Iterator[str]:
    """A name as it stands there and as MRML decodes it, which may be several times."""
    before = ""
    while value != before:
        yield value
        before, value = value, unquote(value)


def _check_file(entry_name: str, folder: Path, name: str) -> None:
    parts = entry_name.split("/")
    if len(os.fsencode(entry_name.replace("\0", ""))) > MAX_NAME_LENGTH:
        raise DataError(f"{name} names a file by {len(entry_name)} letters, {entry_name[:40]!r}", hint=UNTRUSTED)
    is_outside = (
        entry_name.startswith("/")
        or ".." in parts
        or re.search(r"[\\\0]|://|^\w+:", entry_name)
        or (folder / entry_name).is_dir()
    )
    if is_outside or not (folder / entry_name).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{name} names the file {entry_name[:100]!r}, which lies outside of it", hint=UNTRUSTED)
    if not is_read(entry_name) or entry_name.lower().endswith(SCENE):
        raise DataError(
            f"{name} names the file {entry_name[:100]!r}, of a kind that is not read",
            hint="save it in another format, or leave it out of the scene",
        )


FIRST_BYTES = b"PK\3\4"
MAX_ENTRIES = 10_000
MAX_RATIO, SMALL = 200, 1 << 28
"""How much larger what is packed may become, once it is not small (bytes)."""
MAX_ENTRY_NAME_LENGTH = 1000
PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1
WINDOWS_ONLY = re.compile(r"[A-Za-z]:|.*[\\\0]", re.DOTALL)


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    """Turns what a damaged or full archive raises, unknown compression included, into a `DataError`."""
    try:
        yield
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path.name} cannot be read: {error}", hint="the file may be damaged; copy it again"
        ) from error


def unpack_bundle(path: Path, folder: Path) -> Path:
    """Unpacks a bundle.

    Args:
        path: Of the bundle.
        folder: Empty; for this bundle alone.

    Returns:
        Its scene, checked (see `check_scene`).

    Raises:
        DataError: It is damaged, reaches outside, holds no scene or what a scene may not hold, or there is not enough room for it.
    """
    with _as_data_error(path), zipfile.ZipFile(path) as bundle:
        entries = _checked(path, bundle)
        _check_space(path.name, entries, folder)
        for entry in entries:
            _unpack(bundle, entry, folder)
    (scene,) = (folder / entry.filename for entry in entries if entry.filename.lower().endswith(SCENE))
    for entry in entries:
        _rewrite(path.name, folder / entry.filename)
    check_scene(scene, path.name)
    return scene


def unpack_numbered(path: Path, folder: Path) -> None:
    """Unpacks the files of an archive into one folder under names of their own: 1, 2 and so on.

    Args:
        path: Of the archive.
        folder: Empty; for this archive alone.

    Raises:
        DataError: It is damaged, reaches outside or there is not enough room for it.
    """
    with _as_data_error(path), zipfile.ZipFile(path) as archive:
        entries = [entry for entry in _sound(path, archive) if not entry.is_dir()]
        _check_space(path.name, entries, folder)
        for number, entry in enumerate(entries, start=1):
            with archive.open(entry) as packed, (folder / str(number)).open("xb") as file:
                shutil.copyfileobj(packed, file)


def _sound(path: Path, bundle: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """All entries, each of which is sound."""
    name, entries = path.name, bundle.infolist()
    with path.open("rb") as file:
        if file.read(len(FIRST_BYTES)) != FIRST_BYTES or min(entry.header_offset for entry in entries) != 0:
            raise DataError(f"{name} begins with something else than a bundle", hint="do not trust this file")
    if len(entries) > MAX_ENTRIES:
        raise DataError(f"{name} holds {len(entries)} files; expected at most {MAX_ENTRIES}")
    for entry in entries:
        _check_entry(name, entry)
    return entries


def _checked(path: Path, bundle: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files that a scene is read from, once all entries are sound."""
    name, entries = path.name, _sound(path, bundle)
    files = [entry for entry in entries if not entry.is_dir() and is_read(entry.filename)]
    folded = {entry.filename.casefold() for entry in files}
    if len(folded) != len(files):
        raise DataError(f"{name} holds two files of the same name", hint="do not trust this file")
    num_scenes = sum(entry.filename.lower().endswith(SCENE) for entry in files)
    if num_scenes != 1:
        raise DataError(
            f"{name} holds {num_scenes or 'no'} scene{'s' * (num_scenes > 1)}; expected one",
            hint="choose a file that was saved as a scene bundle",
        )
    return files


def _check_entry(name: str, entry: zipfile.ZipInfo) -> None:
    entry_name = entry.orig_filename
    place = PurePosixPath(entry_name)
    if place.is_absolute() or ".." in place.parts or WINDOWS_ONLY.match(entry_name) or not place.parts:
        raise DataError(f"{name} holds {entry_name[:100]!r}, which reaches outside", hint="do not trust this file")
    if len(entry_name) > MAX_ENTRY_NAME_LENGTH:
        raise DataError(f"{name} holds a file whose name has {len(entry_name)} letters")
    if stat.S_IFMT(entry.external_attr >> 16) not in PLAIN:
        raise DataError(f"{name} holds {entry_name[:100]!r}, which is no plain file", hint="do not trust this file")
    if entry.flag_bits & ENCRYPTED:
        raise DataError(f"{name} is encrypted", hint="save the scene without a password")
    if entry.compress_type not in METHODS:
        raise DataError(f"{name} is packed in a way that is not read", hint="save the scene anew in 3D Slicer")


def _check_space(name: str, entries: list[zipfile.ZipInfo], folder: Path) -> None:
    size, packed = (sum(sizes) for sizes in zip(*((one.file_size, one.compress_size) for one in entries), strict=True))
    if size > SMALL and size > MAX_RATIO * packed:
        raise DataError(
            f"{name} would become {size / packed:.0f} times larger, {size / 1e9:.1f} GB", hint="do not trust this file"
        )
    check_memory(size, name)
    if size > shutil.disk_usage(folder).free:
        raise DataError(f"the disk is too full to unpack {name} in {folder}", hint="free some space on the disk")


def _unpack(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"the bundle holds {entry.filename!r}, which reaches outside", hint="do not trust this file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open(entry) as packed, target.open("xb") as file:
        shutil.copyfileobj(packed, file)


def _rewrite(name: str, path: Path) -> None:
    """Writes anew what any reader would take for NRRD, whatever its name is."""
    with path.open("rb") as file:
        is_nrrd = file.read(4) == MAGIC[:4]
    if not is_nrrd and not path.name.lower().endswith(".nrrd"):
        return
    try:
        rewrite(path)
    except DataError as error:
        raise DataError(f"{name}: {error.message}", hint=error.hint) from error
