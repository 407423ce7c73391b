"""Checks scenes (.mrml) as XML before Slicer reads them: they may only name files beside them, and nothing that is fetched or run."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from NeuroSAM2Core.errors import DataError

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
