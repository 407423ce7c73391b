"""Finds image and label pairs in a folder as people keep them: a dataset.json, BIDS derivatives, or twins of the same name. Pure paths.

Which image a label belongs to is never guessed: where several fit, or an image has several labels, the pair is skipped and reported.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.naming import SUFFIXES, stem_of
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.bids import images_of
from NeuroSAM2Lib.training.roles import ROLES, Role

MAX_NAMED = 3
TWINS = (("images", "labels"), ("imagesTr", "labelsTr"), ("image", "label"))
HOW = _("a dataset.json, BIDS derivatives with _dseg files, or folders images and labels with files of the same names")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its labels."""

    name: str
    image: Path
    label: Path
    role: Role | None = None
    """What it is for, where a dataset.json says so."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """A label that does not belong to one image alone, or one of several of an image."""

    label: Path
    images: tuple[Path, ...]
    """Those that it may belong to."""
    others: tuple[Path, ...] = ()
    """Other labels of its image."""

    def __str__(self) -> str:
        if self.others:
            return _("{images} has the labels {listed}").format(
                images=self.images[0].name, listed=_listed((self.label, *self.others))
            )
        fits = _listed(self.images) if self.images else _("no image")
        return _("{label} fits {fits}").format(label=self.label.name, fits=fits)


def find_pairs(folder: Path, *, on_unclear: Callable[[Unclear], object] = lambda unclear: None) -> list[Pair]:
    """All pairs, by name.

    Args:
        folder: Where they are.
        on_unclear: Called with every label that is left out.

    Raises:
        DataError: There are none, or the dataset.json is not what it should be.
    """
    listed = list(_from_dataset(folder))
    listed_paths = {path.resolve() for pair in listed for path in (pair.image, pair.label)}
    found: dict[Path, list[Pair]] = {}
    unclear: list[Unclear] = []
    for label, images in (*_from_bids(folder), *_from_twins(folder)):
        if len(images) == 1 and images[0].resolve() not in listed_paths:
            found.setdefault(images[0], []).append(Pair(_name_of(label), images[0], label))
        elif len(images) != 1 and label.resolve() not in listed_paths:
            unclear.append(Unclear(label, tuple(images)))
    for image, (first, *others) in found.items():
        if others:
            unclear.append(Unclear(first.label, (image,), tuple(pair.label for pair in others)))
    pairs = [*listed, *(pairs[0] for pairs in found.values() if len(pairs) == 1)]
    if not pairs and unclear:
        raise DataError(
            _("no label in {folder} belongs to one image alone: {labels}").format(
                folder=folder, labels=message_of(unclear)
            ),
            hint=_("say which one in the label's name, or list the pairs in a dataset.json"),
        )
    if not pairs:
        raise DataError(
            _("there are no annotated volumes in {folder}").format(folder=folder),
            hint=_("expected {layouts}").format(layouts=HOW),
        )
    for one in unclear:
        on_unclear(one)
    return sorted(pairs, key=lambda pair: (pair.name, pair.image))


def message_of(unclear: list[Unclear]) -> str:
    """What is unclear, in a sentence."""
    more = len(unclear) - MAX_NAMED
    return "; ".join(map(str, unclear[:MAX_NAMED])) + (_("; and {more} more").format(more=more) if more > 0 else "")


def _listed(paths: tuple[Path, ...]) -> str:
    *names, last = (path.name for path in paths)
    return _("{names} and {last}").format(names=", ".join(names), last=last) if names else last


@dataclass(frozen=True, slots=True)
class _Entry:
    """A case in a dataset.json; programs call the file of labels either way."""

    image: str
    seg: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if not self.seg and not self.label:
            raise DecodingError(_("{image} has no seg").format(image=self.image))


def _from_dataset(folder: Path) -> Iterator[Pair]:
    path = folder / "dataset.json"
    if not disk.is_file(path):
        return
    try:
        lists = parse_json(disk.read_text(path))
        if not isinstance(lists, dict):
            raise DecodingError(_("it holds no lists"))
        for role in ROLES:
            for one in lists.get(role, []):
                if isinstance(one, dict):
                    entry = decoded(_Entry, one, role, Rules(skips_unknown=True))
                    files = folder / entry.image, folder / (entry.seg or entry.label)
                    yield Pair(stem_of(files[0]), *files, role)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            _("{path} cannot be read: {error}").format(path=path, error=error),
            hint=_("each case needs an image and a seg"),
        ) from error


def _from_bids(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A label in `derivatives/<pipeline>/sub-X/anat` and the images that it may belong to, in `sub-X/anat` or beside it."""
    for label in sorted(folder.glob("derivatives/*/sub-*/**/*_dseg.nii*")):
        parts = label.relative_to(folder).parts[2:-1]
        raw, derived = (sorted(place.glob("*.nii*")) for place in (folder.joinpath(*parts), label.parent))
        yield label, images_of(label, raw) or images_of(label, derived)


def _from_twins(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A label and the images of the same name."""
    for images, labels in TWINS:
        for label in sorted((folder / labels).glob("*")):
            if not label.name.endswith(SUFFIXES):
                continue
            name = stem_of(label)
            found = [folder / images / f"{stem}{suffix}" for stem in (name, f"{name}_0000") for suffix in SUFFIXES]
            yield label, [path for path in found if path.is_file()]


def _name_of(label: Path) -> str:
    return stem_of(label).removesuffix("_dseg")
