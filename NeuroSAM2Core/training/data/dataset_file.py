"""`dataset.json`: which image goes with which label, for training, validation and test. docs/dataset.md is its page for people."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.naming import disambiguated, folded, stem_of

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
