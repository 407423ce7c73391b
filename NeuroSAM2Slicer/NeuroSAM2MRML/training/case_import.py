"""Finds image and label pairs in a folder as people keep them: a dataset.json, BIDS derivatives, or twins of the same name. Pure paths."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.errors import DataError
from NeuroSAM2MRML.training.roles import ROLES, Role

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
TWINS = (("images", "labels"), ("imagesTr", "labelsTr"), ("image", "label"))
LABEL_KEYS = ("seg", "label")
HOW = "a dataset.json, BIDS derivatives with _dseg files, or folders images and labels with files of the same names"


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its labels."""

    name: str
    image: Path
    label: Path
    role: Role | None = None
    """What it is for, where a dataset.json says so."""


def find_pairs(folder: Path) -> list[Pair]:
    """All pairs, by name.

    Raises:
        DataError: There are none, or the dataset.json is not what it should be.
    """
    pairs = [*_from_bids(folder), *_from_twins(folder), *_from_dataset(folder)]
    known = {pair.image: pair for pair in pairs}
    if not known:
        raise DataError(f"there are no annotated volumes in {folder}", hint=f"expected {HOW}")
    return sorted(known.values(), key=lambda pair: (pair.name, pair.image))


def _from_dataset(folder: Path) -> Iterator[Pair]:
    path = folder / "dataset.json"
    if not path.is_file():
        return
    try:
        said = json.loads(path.read_text())
        for role in ROLES:
            for one in said.get(role, []):
                if isinstance(one, dict):
                    label = next(one[key] for key in LABEL_KEYS if key in one)
                    yield Pair(_stem(Path(one["image"])), folder / one["image"], folder / label, role)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="each case needs an image and a seg") from error


def _from_bids(folder: Path) -> Iterator[Pair]:
    """`derivatives/<pipeline>/sub-X/anat/sub-X_dseg.nii.gz` belongs to an image in `sub-X/anat`."""
    for label in sorted(folder.glob("derivatives/*/sub-*/**/*_dseg.nii*")):
        parts = label.relative_to(folder).parts[2:-1]
        subject = _stem(label).removesuffix("_dseg")
        images = sorted(folder.joinpath(*parts).glob(f"{subject.split('_desc-')[0]}*.nii*"))
        if images:
            yield Pair(subject, images[0], label)


def _from_twins(folder: Path) -> Iterator[Pair]:
    for images, labels in TWINS:
        for label in sorted((folder / labels).glob("*")):
            if not label.name.endswith(SUFFIXES):
                continue
            name = _stem(label)
            found = [folder / images / f"{stem}{suffix}" for stem in (name, f"{name}_0000") for suffix in SUFFIXES]
            image = next((path for path in found if path.is_file()), None)
            if image is not None:
                yield Pair(name, image, label)


def _stem(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.stem
