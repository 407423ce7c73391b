"""What a cohort is made of: annotated cases, new scans and settings. Files are found and named here; no image is read.

Annotated cases and new scans come as files, as the folder of a study (BIDS or any other), or as a dataset.json. The names of new scans
follow from their own names alone, so that a study may grow.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.naming import disambiguated, folded, stem_of

MAX_TEMPLATES = 10
ENDINGS = (".nii.gz", ".nii", ".mgz", ".mgh", ".mha")
SEGMENTATIONS = ("dseg", "probseg", "mask", "defacemask")
OWN_SPACES = ("T1w", "T2w", "PDw", "FLAIR", "T2star", "UNIT1")
"""BIDS names the space of an image after its kind; others are called `orig`."""
ENTITY = re.compile(r"[a-zA-Z]+-[a-zA-Z0-9]+")
LATER_ENTITIES = ("res", "den", "label", "desc")
"""They stand behind the space in a name."""


RegistrationKind = Literal["deformable", "bspline", "affine"]
"""An affine map first in each: then a free field of displacements, a B-spline, or nothing."""
REGISTRATIONS: tuple[RegistrationKind, ...] = get_args(RegistrationKind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """An annotated case that new ones are prompted from."""

    image: Path
    labels: Path
    """On the grid of the image, or any other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortCase:
    """A new scan."""

    name: str
    """Tells it from all others of the cohort; begins with `sub-`."""
    image: Path
    folder: str
    """Where its files go, in the folder of the cohort: `sub-01/ses-1/anat`, with slashes on every system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortPlan:
    """What decides the results, beside the scan itself. The fingerprint of its JSON is kept with every result."""

    templates: tuple[Template, ...]
    template_hashes: tuple[tuple[str, str], ...]
    """SHA-256 of image and labels of each annotated case."""
    model: str
    """Catalog name or file."""
    model_hash: str
    """SHA-256 of its file."""
    options_hash: str = ""
    """Of the model's configuration and the choices that lie beside it."""
    axis: str = "auto"
    """Of the slices; `auto` is that of the thickest ones, else the axial one."""
    registration: RegistrationKind = "deformable"
    """What annotated cases are laid on a scan with."""
    threads: int = 1
    """Of each process; the results may differ in single voxels with another number."""
    device: str = "auto"

    @property
    def fingerprint(self) -> str:
        """The same for plans with the same results; where files lie does not count."""
        parts = (self.template_hashes, self.model_hash, self.options_hash, self.axis, self.registration)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def find_templates(paths: Sequence[Path]) -> tuple[Template, ...]:
    """The annotated cases that a person means.

    Args:
        paths: A dataset.json, whose training and validation cases are taken; or an image and its labels, one after the other.

    Raises:
        DataError: A file is missing, there are none or too many, or an image has no labels.
    """
    found, waiting = [], None
    for path in paths:
        if path.suffix.lower() == ".json":
            found += [
                Template(image=_absolute(one.image), labels=_absolute(one.labels))
                for one in _listed(path, ("training", "validation"))
                if one.labels is not None
            ]
        elif waiting is None:
            waiting = path
        else:
            found.append(Template(image=_absolute(waiting), labels=_absolute(path)))
            waiting = None
    if waiting is not None:
        raise DataError(
            f"{waiting} has no labels beside it", hint="name the image and then its label map, for every annotated case"
        )
    if not 1 <= len(found) <= MAX_TEMPLATES:
        raise DataError(f"there are {len(found)} annotated cases; expected 1 to {MAX_TEMPLATES}")
    for path in (file for one in found for file in (one.image, one.labels)):
        if not disk.is_file(path):
            raise DataError(f"there is no file {path}", hint="check the path of the annotated case")
    return tuple(found)


def find_images(
    paths: Sequence[Path], *, suffix: str = "", templates: Sequence[Template] = (), out: Path | None = None
) -> tuple[CohortCase, ...]:
    """The new scans, by name.

    Args:
        paths: Image files, folders that hold some, BIDS datasets, or dataset.json files.
        suffix: Only images of this kind, such as T1w; of files whose names are BIDS names.
        templates: They are left out.
        out: The folder of the cohort, which is left out.

    Raises:
        DataError: A path is not there, or there is no image.
    """
    kept = {os.path.realpath(file) for one in templates for file in (one.image, one.labels)}
    images: dict[str, Path] = {}
    for path in paths:
        for image in _images_of(path, out):
            real = os.path.realpath(image)
            if real not in kept and (not suffix or stem_of(image).rsplit("_", 1)[-1] == suffix):
                images.setdefault(real, _absolute(image))
    if not images:
        of_kind = f" of the kind {suffix}" if suffix else ""
        raise DataError(
            f"there is no image{of_kind} in {', '.join(map(str, paths))} beside the annotated cases",
            hint=f"expected files that end in {', '.join(ENDINGS)}",
        )
    return _named(sorted(images.values()))


def _absolute(path: Path) -> Path:
    """The same file for processes with another current folder; links stay."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (`resolve` follows links)


def _images_of(path: Path, out: Path | None) -> list[Path]:
    """The images of one path, without label maps as far as their names tell."""
    if path.suffix.lower() == ".json":
        return [one.image for one in _listed(path, ("training", "validation", "test"))]
    if disk.is_file(path):
        return [path]
    if not disk.is_folder(path):
        raise DataError(f"there is no file or folder {path}", hint="check the path")
    listed = path / "dataset.json"
    if disk.is_file(listed):
        return [one.image for one in _listed(listed, ("training", "validation", "test"))]
    found = []
    for image in path.rglob("*"):
        parts = image.relative_to(path).parts
        is_left_out = any(part.startswith(".") or part == "derivatives" for part in parts) or (
            out is not None and image.resolve().is_relative_to(out.resolve())
        )
        is_segmentation = stem_of(image).rsplit("_", 1)[-1] in SEGMENTATIONS
        if image.name.lower().endswith(ENDINGS) and not is_left_out and not is_segmentation and image.is_file():
            found.append(image)
    return found


def _named(images: Sequence[Path]) -> tuple[CohortCase, ...]:
    """Cases by the names of their files; where two would have one name, a hash of their paths' ends tells the subjects apart."""
    unique = disambiguated(images)
    names = [_bids_name(image) or _plain_name(name) for image, name in zip(images, unique, strict=True)]
    count = Counter(folded(name) for name, _ in names)
    cases = []
    for image, path, (name, folder) in zip(images, unique, names, strict=True):
        if count[folded(name)] > 1:
            subject, *_ = folder.split("/")
            other = f"{subject}x{hashlib.sha256(path.encode()).hexdigest()[:6]}"
            name, folder = (text.replace(subject, other, 1) for text in (name, folder))
        cases.append(CohortCase(name=name, image=image, folder=folder))
    return tuple(sorted(cases, key=lambda one: one.name))


def _bids_name(image: Path) -> tuple[str, str] | None:
    """The name of a derivative and its folder, for an image with a BIDS name."""
    *parts, suffix = stem_of(image).split("_")
    if not parts or not parts[0].startswith("sub-") or not all(map(ENTITY.fullmatch, parts)):
        return None
    entities = [one for one in parts if one.partition("-")[0] not in ("desc", "label")]
    keys = [one.partition("-")[0] for one in entities]
    if "space" not in keys:
        place = next((n for n, key in enumerate(keys) if key in LATER_ENTITIES), len(keys))
        entities.insert(place, f"space-{suffix if suffix in OWN_SPACES else 'orig'}")
    session = [one for one in parts[1:2] if one.startswith("ses-")]
    return "_".join(entities), str(PurePosixPath(parts[0], *session, "anat"))


def _plain_name(name: str) -> tuple[str, str]:
    """The same for a scan of any other name."""
    label = "".join(letter for letter in name if letter.isascii() and letter.isalnum())
    label = label or hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"sub-{label}", f"sub-{label}/anat"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A case in a dataset.json; programs call the file of labels either way, and new scans have none."""

    image: str
    seg: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Listed:
    image: Path
    labels: Path | None


def _listed(path: Path, splits: Sequence[str]) -> list[_Listed]:
    try:
        return list(_entries(path, splits))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="docs/dataset.md says what the file holds") from error


def _entries(path: Path, splits: Sequence[str]) -> Iterator[_Listed]:
    lists = parse_json(disk.read_text(path))
    if not isinstance(lists, dict):
        raise DecodingError("it holds no lists")
    for split in splits:
        for number, value in enumerate(lists.get(split) or ()):
            given = {"image": value} if isinstance(value, str) else value
            entry = decoded(_Entry, given, f"{split}[{number}]", Rules(skips_unknown=True))
            labels = entry.seg or entry.label
            yield _Listed(path.parent / entry.image, path.parent / labels if labels else None)
