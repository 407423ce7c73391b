"""Finds image and label pairs in a folder as people keep them: a dataset.json, BIDS derivatives, or twins of the same name. Pure paths.

Which image a label belongs to is never guessed: where several fit, or an image has several labels, the pair is skipped and reported.

Which image a segmentation of a BIDS dataset belongs to, by the entities in their names. Pure.

Source: Brain Imaging Data Structure, "Common principles" (entities, indices) and "Derivatives: imaging data types" (segmentations).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.naming import SUFFIXES, stem_of
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.cases import ROLES, Role

INDICES = ("run", "echo", "flip", "inv", "split", "chunk")
"""Their values are numbers, with or without zeros before them; all others are compared letter by letter."""
DESCRIPTIONS = ("desc", "atlas", "seg", "label", "hemi")
"""They say what a derivative is, not what it was made from."""
NATIVE = ("orig", "native", "individual", "scanner")
"""Spaces that are the image's own."""
OWN_SPACES = ("T1w", "T2w", "PDw", "FLAIR", "T2star", "UNIT1")
"""Spaces that are named after the image whose own they are."""
SEGMENTATIONS = ("dseg", "probseg", "mask", "defacemask")


@dataclass(frozen=True, slots=True)
class BidsName:
    """What the name of a file says."""

    suffix: str
    """What kind of image it is: T1w, FLAIR, dseg."""
    source: str = ""
    """The kind of image that it was made from, where the name tells it: sub-1_space-T1w_dseg, sub-1_T1w_dseg."""
    entities: frozenset[tuple[str, str]] = field(default=frozenset())
    """Keys and values, without descriptions."""

    @classmethod
    def of(cls, path: Path) -> "BidsName | None":
        """None for a name that is none."""
        *parts, suffix = stem_of(path).split("_")
        source = parts.pop() if suffix in SEGMENTATIONS and parts and "-" not in parts[-1] else ""
        entities = []
        for key, dash, value in (part.partition("-") for part in parts):
            if not (key and dash and value):
                return None
            if key == "space" and value in OWN_SPACES:
                source = value
            elif key not in DESCRIPTIONS and (key, value) not in {("space", native) for native in NATIVE}:
                entities.append((key, value.lstrip("0") or "0" if key in INDICES else value))
        return cls(suffix, source, frozenset(entities))


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What a segmentation was made from, in the words of BIDS: one file or several."""

    Sources: tuple[str, ...] | None = None
    RawSources: tuple[str, ...] | None = None


def images_of(label: Path, images: Iterable[Path]) -> list[Path]:
    """The images that a segmentation can belong to: those that its metadata name, or of the same entities, or else with more of them."""
    parsed = BidsName.of(label)
    named = [(path, name) for path in images if (name := BidsName.of(path)) and name.suffix not in SEGMENTATIONS]
    if sources := _sources(label):
        return [path for path, _ in named if path.name in sources]
    if parsed is None:
        return []
    fitting = [(path, name) for path, name in named if parsed.source in ("", name.suffix)]
    exact = [path for path, name in fitting if name.entities == parsed.entities]
    return exact or [path for path, name in fitting if name.entities > parsed.entities and _grid(name) == _grid(parsed)]


def _grid(name: BidsName) -> set[tuple[str, str]]:
    """What places the voxels."""
    return {(key, value) for key, value in name.entities if key in ("space", "res")}


def _sources(label: Path) -> set[str]:
    """The names of the files that a segmentation's metadata say it was made from; empty where they say nothing."""
    try:
        text = disk.read_text(label.with_name(f"{stem_of(label)}.json"))
        metadata = decoded(_Metadata, parse_json(text), "", Rules(skips_unknown=True, is_for_people=True))
    except (OSError, ValueError):
        return set()
    listed = (*(metadata.Sources or ()), *(metadata.RawSources or ()))
    return {one.replace(":", "/").rsplit("/", 1)[-1] for one in listed}


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
