"""The annotated cases of a dataset: `dataset.json`, the image and label map of a case, and the objects in it.

`dataset.json` says which image goes with which label, for training, validation and test; docs/dataset.md is its page for people. An
image and its label are checked to belong together. An object is a label value, or each of its connected parts. Cases that a run could
not use are in a file of its folder, for those who watch it.
"""

import difflib
import itertools
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import SAME_POSITION_MM, corners_apart_mm, whole_numbers
from NeuroSAM2Core.naming import disambiguated, folded, stem_of
from NeuroSAM2Core.training.config.data import DataConfig
from NeuroSAM2Core.volume import Volume

logger = logging.getLogger(__name__)
Split = Literal["training", "validation", "test"]
SPLITS: tuple[Split, ...] = ("training", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image and its label in one dataset."""

    name: str
    """For people and tables; tells it from all other cases that were read with it."""
    image: Path
    label: Path
    dataset: Path = Path()
    """The file that lists it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFile:
    """The cases of one file."""

    path: Path
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...] = ()

    def of(self, split: Split) -> tuple[Case, ...]:
        """The cases of one list."""
        return {"training": self.training, "validation": self.validation, "test": self.test}[split]


def read_cases(datasets: Sequence[str | Path], split: Split) -> tuple[Case, ...]:
    """The cases of one list of several files.

    Raises:
        DataError: A file cannot be read, or the list is empty in all of them.
    """
    cases = [case for file in read_datasets(datasets) for case in file.of(split)]
    if not cases:
        raise DataError(
            f"there is no {split} case in {', '.join(Path(path).name for path in datasets)}",
            hint=f'add entries to the list "{split}"',
        )
    return tuple(cases)


def read_datasets(paths: Sequence[str | Path]) -> tuple[DatasetFile, ...]:
    """Reads several files whose cases are used together; all their names are different. See `read_dataset`."""
    files = [_read(Path(path)) for path in paths]
    named = iter(with_unique_names(case for file in files for split in SPLITS for case in file.of(split)))

    def renamed(cases: tuple[Case, ...]) -> tuple[Case, ...]:
        return tuple(next(named) for _ in cases)

    return tuple(
        replace(file, training=renamed(file.training), validation=renamed(file.validation), test=renamed(file.test))
        for file in files
    )


def read_dataset(path: Path) -> DatasetFile:
    """Reads the lists; the volumes themselves are not looked at.

    Raises:
        DataError: The file is missing, is not JSON (the line is named), or a list or an entry is not as it should be.
    """
    return read_datasets([path])[0]


def _read(path: Path) -> DatasetFile:
    try:
        text = disk.read_text(path)
    except FileNotFoundError:
        raise DataError(
            f"there is no dataset file {path}", hint="check the path; docs/dataset.md says what the file holds"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="a dataset file is JSON text in UTF-8") from error
    try:
        content = parse_json(text)
    except DecodingError as error:
        raise _not_json(path, text, error) from None
    if not isinstance(content, dict):
        raise DataError(f'{path.name} holds no lists; expected {{"training": [...], "validation": [...]}}')
    for split in ("training", "validation"):
        if split not in content:
            near = difflib.get_close_matches(split, content, n=1)
            raise DataError(
                f'{path.name} has no list "{split}"' + (f'; did you mean "{split}" by "{near[0]}"?' if near else ""),
                hint="an empty list is allowed",
            )
    try:
        lists = decoded(_Lists, content, "", Rules(skips_unknown=True))
    except DecodingError as error:
        raise DataError(f"{path.name}: {error}", hint='an entry is {"image": ..., "seg": ...}') from None
    return DatasetFile(
        path=path,
        training=_cases(path, "training", lists.training),
        validation=_cases(path, "validation", lists.validation),
        test=_cases(path, "test", lists.test),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A case in JSON: two files."""

    image: str
    seg: str


@dataclass(frozen=True, slots=True)
class _Lists:
    """A whole file in JSON."""

    training: tuple[_Entry, ...]
    validation: tuple[_Entry, ...]
    test: tuple[_Entry, ...] = ()


def _cases(path: Path, split: str, entries: Sequence[_Entry]) -> tuple[Case, ...]:
    cases = []
    for number, entry in enumerate(entries):
        for key, text in (("image", entry.image), ("seg", entry.seg)):
            if not text:
                raise DataError(f'{path.name}: {split}[{number}] names no file as "{key}"')
        image, label = _absolute(path, entry.image), _absolute(path, entry.seg)
        cases.append(Case(name=stem_of(image), image=image, label=label, dataset=path))
    return tuple(cases)


def _absolute(path: Path, text: str) -> Path:
    try:
        return path.parent / Path(text).expanduser()
    except RuntimeError:  # there is no user of that name
        return path.parent / text


def with_unique_names(cases: Iterable[Case]) -> tuple[Case, ...]:
    """The same cases; where some have one name, all are named after as much of their paths as tells them apart."""
    cases = tuple(cases)
    if not _clashing(cases):
        return cases
    named = _named(cases, disambiguated([case.image for case in cases]))
    for word, paths in (("with", [case.label for case in named]), ("in", [case.dataset for case in named])):
        clashing = _clashing(named)
        names = [
            f"{case.name} {word} {path}" if folded(case.name) in clashing else case.name
            for case, path in zip(named, disambiguated(paths), strict=True)
        ]
        named = _named(named, names)
    return named


def _clashing(cases: Sequence[Case]) -> set[str]:
    """Names that several cases have; the same case twice is one."""
    first: dict[str, Case] = {}
    return {folded(case.name) for case in cases if first.setdefault(folded(case.name), case) != case}


def _named(cases: Sequence[Case], names: Sequence[str]) -> tuple[Case, ...]:
    return tuple(replace(case, name=name) for case, name in zip(cases, names, strict=True))


def _not_json(path: Path, text: str, reason: DecodingError) -> DataError:
    error = reason.__cause__
    if not isinstance(error, json.JSONDecodeError):
        return DataError(f"{path.name} is not JSON: {reason}")
    before = text[: error.pos].rstrip()
    is_trailing = before.endswith(",") and text[error.pos : error.pos + 1] in ("]", "}")
    if not is_trailing and text[error.pos : error.pos + 1] == ",":  # newer Pythons point at the comma itself
        before, is_trailing = text[: error.pos + 1], text[error.pos + 1 :].lstrip()[:1] in ("]", "}")
    if is_trailing:
        line = before.count("\n") + 1
        return DataError(
            f"{path.name}, line {line}: there is a comma after the last entry", hint="JSON allows none there: delete it"
        )
    return DataError(f"{path.name}, line {error.lineno}, column {error.colno} is not JSON: {error.msg}")


CORNERS = np.ones((3, 3, 3), dtype=bool)
"""Parts connect through faces, edges and corners: 26 neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMap:
    """The objects of a volume, numbered from 1."""

    numbers: NDArray[np.int32]
    """(K, J, I): the object of every voxel, 0 for none."""
    names: tuple[str, ...]
    """By number less 1: the label value, and for instances the part's number after a dot."""

    def __len__(self) -> int:
        return len(self.names)

    def mask(self, number: int) -> NDArray[np.bool_]:
        """The voxels of one object, (K, J, I)."""
        return np.asarray(self.numbers == number)


def find_objects(labels: NDArray[np.integer], data: DataConfig) -> ObjectMap:
    """The objects that a run looks at; parts and values with fewer voxels than `data.min_voxels` are left out.

    Raises:
        DataError: There is none.
    """
    foreground = labels > 0
    present, inverse = np.unique(labels[foreground], return_inverse=True)
    is_wanted = np.isin(present, data.classes) if data.classes else np.ones(len(present), dtype=bool)
    if not is_wanted.any():
        there = f"label values {_listed(present.tolist())}" if len(present) else "no voxel above 0"
        asked = f"; expected one of {_listed(list(data.classes))}" if data.classes else ""
        raise DataError(f"the label is empty: it has {there}{asked}")
    ranks = np.zeros(labels.shape, dtype=np.int32)
    ranks[foreground] = np.where(is_wanted[inverse], inverse + 1, 0)
    parts, names = (_by_part if data.labels == "instances" else _by_value)(ranks, present.tolist())
    sizes = np.bincount(parts.ravel(), minlength=len(names) + 1)[1:]
    is_kept = sizes >= data.min_voxels
    if not is_kept.any():
        raise DataError(
            f"the largest object has {sizes.max()} voxels; expected at least {data.min_voxels}",
            hint="see data.min_voxels",
        )
    number_of = np.concatenate(([0], np.where(is_kept, np.cumsum(is_kept), 0))).astype(np.int32)
    return ObjectMap(number_of[parts], tuple(name for name, kept in zip(names, is_kept, strict=True) if kept))


def _by_value(ranks: NDArray[np.int32], values: list[int]) -> tuple[NDArray[np.int32], list[str]]:
    """Every value is one part; those that are not wanted have no voxels."""
    return ranks, [str(value) for value in values]


def _by_part(ranks: NDArray[np.int32], values: list[int]) -> tuple[NDArray[np.int32], list[str]]:
    """Every connected part of every value."""
    parts = np.zeros_like(ranks)
    names: list[str] = []
    for rank, box in enumerate(ndimage.find_objects(ranks), start=1):
        if box is None:
            continue
        inside, count = ndimage.label(ranks[box] == rank, structure=CORNERS)
        parts[box] += np.where(inside > 0, inside + len(names), 0).astype(np.int32)
        names += [f"{values[rank - 1]}.{number + 1}" for number in range(count)]
    return parts, names


def areas_by_slice(objects: ObjectMap) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How many pixels of each object each slice has: for the three array axes an array (objects, slices)."""
    places = np.nonzero(objects.numbers)
    of = objects.numbers[places] - 1

    def along(axis: int) -> NDArray[np.int64]:
        count = objects.numbers.shape[axis]
        return np.bincount(of * count + places[axis], minlength=len(objects) * count).reshape(len(objects), count)

    return along(0), along(1), along(2)


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")


SKIPPED_FILE = "skipped.jsonl"
"""One JSON object for each, with the case and the reason; begun anew by every session of a run."""


@dataclass(slots=True)
class SkippedCases:
    """What was skipped so far.

    Args:
        file: Gets a line for each; None for no file.
    """

    file: Path | None = None
    found: dict[tuple[str, str], None] = field(default_factory=dict)
    """Cases with their reasons, in order."""

    def add(self, case: str, reason: str) -> bool:
        """Writes a case down; false where this was done before."""
        if (case, reason) in self.found:
            return False
        self.found[case, reason] = None
        if self.file is not None:
            try:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"case": case, "reason": reason}) + "\n")
            except OSError as error:
                logger.warning("cannot write to %s: %s", self.file.name, error.strerror or error)
        return True


@dataclass(frozen=True, slots=True, eq=False)
class LabelledVolume:
    """A volume as stored, with its label values."""

    image: Volume
    labels: NDArray[np.int32]
    """(K, J, I)."""


def read_labelled(case: Case) -> LabelledVolume:
    """Reads a case.

    Raises:
        DataError: A file is missing or damaged, the label has values that are not whole numbers, or the two are not on one grid.
        GeometryError: A file does not hold one volume.
    """
    image, label = Volume.read(case.image), Volume.read(case.label)
    check_same_grid(image, label)
    return LabelledVolume(image, whole_numbers(label))


def check_same_grid(image: Volume, label: Volume) -> None:
    """Checks that two volumes have the same shape, and every corner voxel in the same place.

    Where the header of the image holds two places, a label at either belongs to it.

    Raises:
        DataError: They have not.
    """
    if image.shape != label.shape:
        raise DataError(
            f"the label {label.name} has shape {label.shape[::-1]}; its image has {image.shape[::-1]}",
            hint="resample the label to the image first",
        )
    apart = min(
        corners_apart_mm(one, other, image.shape)
        for one, other in itertools.product(_matrices(image), _matrices(label))
    )
    if apart > SAME_POSITION_MM:
        raise DataError(
            f"the label {label.name} is not on the grid of its image: their matrices put a corner {apart:.3g} mm apart",
            hint="resample the label to the image first",
        )


def _matrices(volume: Volume) -> list[NDArray[np.float64]]:
    return [volume.ijk_to_ras, *(volume.place.forms() if volume.place else ())]
