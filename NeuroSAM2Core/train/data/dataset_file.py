"""`dataset.json`: which image goes with which label, for training, validation and test. docs/dataset.md is its page for people."""

import difflib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError

Split = Literal["training", "validation", "test"]
SPLITS: tuple[Split, ...] = ("training", "validation", "test")
KEYS = ("image", "seg")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image and its label."""

    name: str
    """Tells it from the other cases of its file."""
    image: Path
    label: Path


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
    cases = [case for path in datasets for case in read_dataset(Path(path)).of(split)]
    if not cases:
        raise DataError(
            f"there is no {split} case in {', '.join(Path(path).name for path in datasets)}",
            hint=f'add entries to the list "{split}"',
        )
    return tuple(cases)


def read_dataset(path: Path) -> DatasetFile:
    """Reads the lists; the volumes themselves are not looked at.

    Raises:
        DataError: The file is missing, is not JSON (the line is named), or a list or an entry is not as it should be.
    """
    try:
        text = disk.read_text(path)
    except FileNotFoundError:
        raise DataError(
            f"there is no dataset file {path}", hint="check the path; docs/dataset.md says what the file holds"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="a dataset file is JSON text in UTF-8") from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
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
    training, validation, test = (_cases(path, split, content.get(split, [])) for split in SPLITS)
    return _with_names(DatasetFile(path=path, training=training, validation=validation, test=test))


def _cases(path: Path, split: str, entries: object) -> tuple[Case, ...]:
    if not isinstance(entries, list):
        raise DataError(f'"{split}" in {path.name} is not a list')
    cases = []
    for number, entry in enumerate(entries):
        where = f"{path.name}: {split}[{number}]"
        if not isinstance(entry, dict):
            raise DataError(f'{where} is not an entry {{"image": ..., "seg": ...}}')
        for key in KEYS:
            if not isinstance(entry.get(key), str) or not entry[key]:
                there = ", ".join(f'"{name}"' for name in entry) or "nothing"
                raise DataError(f'{where} names no file as "{key}"; it has {there}')
        image, label = (path.parent / Path(entry[key]).expanduser() for key in KEYS)
        cases.append(Case(name=_stem(image), image=image, label=label))
    return tuple(cases)


def _with_names(file: DatasetFile) -> DatasetFile:
    """Cases whose images have the same file name are told apart by their folders."""
    count = Counter(case.name for split in SPLITS for case in file.of(split))

    def named(case: Case) -> Case:
        return case if count[case.name] == 1 else replace(case, name=f"{case.image.parent.name}/{case.name}")

    training, validation, test = (tuple(named(case) for case in file.of(split)) for split in SPLITS)
    return replace(file, training=training, validation=validation, test=test)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _not_json(path: Path, text: str, error: json.JSONDecodeError) -> DataError:
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
