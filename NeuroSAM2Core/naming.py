"""Names of cases: unique for people, and valid as file names on every system. Pure."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from NeuroSAM2Core import disk

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
DEFAULT_STEM = "case"
MAX_BYTES = 120
"""Of a file's name in UTF-8, so that suffixes, numbers and folders have space: systems take 255, Windows 260 characters of a whole path."""


def stem_of(path: Path) -> str:
    """A volume's file name without its suffix."""
    suffix = next((one for one in SUFFIXES if path.name.lower().endswith(one)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def folded(name: str) -> str:
    """The same for all names that some system, or a person, takes for one: letters of both cases, composed or not."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def disambiguated(paths: Sequence[Path]) -> list[str]:
    """A name for each path: its file's, with as many of its folders as tell it from the others. One path has one name."""
    parts = {}
    for path in paths:
        whole = Path(os.path.abspath(path))  # noqa: PTH100 (without following links, and without `..`)
        parts[path] = (*whole.parent.parts, stem_of(whole))
    depth = dict.fromkeys(parts, 1)
    names = {path: stem for path, (*_, stem) in parts.items()}
    while True:
        count = _counted(names, parts)
        longer = [path for path in parts if count[folded(names[path])] > 1 and depth[path] < len(parts[path])]
        if not longer:
            break
        for path in longer:
            depth[path] += 1
            names[path] = "/".join(parts[path][-depth[path] :])
    return _numbered([names[path] for path in paths], [(parts[path], path.name) for path in paths])


def _counted(names: dict[Path, str], parts: dict[Path, tuple[str, ...]]) -> Counter[str]:
    """How many different files would have each name."""
    return Counter(folded(name) for name, _, _ in {(names[path], parts[path], path.name) for path in parts})


def _numbered(names: Sequence[str], of: Sequence[object]) -> list[str]:
    """Names that are still the same, of different things, get numbers."""
    known: dict[str, list[object]] = {}
    numbered = []
    for name, one in zip(names, of, strict=True):
        others = known.setdefault(folded(name), [])
        if one not in others:
            others.append(one)
        number = others.index(one) + 1
        numbered.append(name if number == 1 else f"{name} ({number})")
    return numbered


def file_name(name: str) -> str:
    """A name that every system takes for a file, as like the given one as can be; different names may have the same."""
    kept = "".join(
        letter if letter.isalnum() or letter in "-_. " else "_" for letter in unicodedata.normalize("NFC", name)
    )
    return disk.file_name(kept.encode()[:MAX_BYTES].decode(errors="ignore"), DEFAULT_STEM)
