"""Checks every case of a data set before a run: all problems are reported at once, each case with its reason.

Errors make a case useless; warnings are what a person may want to know. An image in two lists is found by its voxels, whatever its files
are called. One volume is in memory at a time.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import nibabel
import numpy as np

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data.dataset import (
    SPLITS,
    Case,
    DatasetFile,
    LabelledVolume,
    ObjectMap,
    Split,
    areas_by_slice,
    find_objects,
    read_datasets,
    read_labelled,
)
from NeuroSAM2Core.verdict import MIN_CASES
from NeuroSAM2Core.volume import Axis, Volume, is_constant, padding_mark, percentile_window, resolve_axis

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """An issue of a case."""

    severity: Severity
    dataset: str
    split: Split
    case: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """The result of checking all cases."""

    issues: tuple[Issue, ...]
    cases: dict[Split, int]
    """How many each list has, useless ones included; one that is listed twice counts once."""
    objects: dict[Split, int]
    """How many objects were found in them."""

    @property
    def is_usable(self) -> bool:
        """There is at least one training case without an error."""
        bad = {f.case for f in self.issues if f.severity == "error" and f.split == "training"}
        return len(bad) < self.cases["training"]

    @property
    def num_bad(self) -> int:
        """Cases that cannot be used."""
        return len({(f.split, f.case) for f in self.issues if f.severity == "error"})

    @property
    def proof(self) -> str:
        """What is missing for a proof that training helps; empty where there is enough."""
        split: Split = "test" if self.cases["test"] else "validation"
        bad = {f.case for f in self.issues if f.severity == "error" and f.split == split}
        usable = self.cases[split] - len(bad)
        if usable == 0:
            return "no case is held out: no proof will be possible; add two, or better three, which give an interval"
        if usable < MIN_CASES:
            return (
                f"{_counted(usable, 'case')} held out for the proof: too few for an interval, which takes {MIN_CASES}"
            )
        return ""

    def as_text(self) -> str:
        """A table for people, the errors first."""
        counts = "; ".join(
            f"{split}: {_counted(self.cases[split], 'case')}, {_counted(self.objects[split], 'object')}"
            for split in SPLITS
        )
        if not self.issues:
            return f"{counts}\n{self.proof or 'nothing is wrong'}\n"
        rows = [("", "list", "case", "reason")]
        rows += [
            (f.severity, f.split, f.case, f.reason)
            for f in sorted(self.issues, key=lambda f: (f.severity, SPLITS.index(f.split)))
        ]
        widths = [max(len(row[n]) for row in rows) for n in range(3)]
        lines = ["  ".join((*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3])) for row in rows]
        proof = f"{self.proof}\n" if self.proof else ""
        return f"{counts}\n{proof}{self.num_bad} cannot be used\n\n" + "\n".join(line.rstrip() for line in lines) + "\n"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def check_datasets(
    data: DataConfig,
    sampling: SamplingConfig,
    *,
    on_case: Callable[[], object] = lambda: None,
) -> CheckReport:
    """Reads every case of every list.

    Args:
        data: Which cases, and what counts as an object in them.
        sampling: What a clip needs.
        on_case: Called after every case.

    Raises:
        DataError: A dataset file cannot be read at all.
    """
    issues: list[Issue] = []
    cases: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    objects: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    first_use: dict[str, _Use] = {}
    for split, case in _listed_cases(read_datasets(data.datasets)):
        cases[split] += 1
        found = check_case(case, data, sampling)
        objects[split] += found.objects
        messages = [*found.messages, *_used_before(found.image_sha256, _Use(split, case.name), first_use)]
        issues += [
            Issue(severity=severity, dataset=case.dataset.name, split=split, case=case.name, reason=reason)
            for severity, reason in messages
        ]
        on_case()
    return CheckReport(issues=tuple(issues), cases=cases, objects=objects)


def num_cases(data: DataConfig) -> int:
    """How many cases a check will look at."""
    return sum(1 for _ in _listed_cases(read_datasets(data.datasets)))


def _listed_cases(files: Sequence[DatasetFile]) -> Iterator[tuple[Split, Case]]:
    """Every case of every list once."""
    yield from dict.fromkeys((split, case) for file in files for split in SPLITS for case in file.of(split))


@dataclass(frozen=True, slots=True)
class CaseCheck:
    """The result of checking one case."""

    messages: tuple[tuple[Severity, str], ...]
    objects: int = 0
    image_sha256: str = ""
    """See `image_hash`; empty where the case cannot be read."""


@dataclass(frozen=True, slots=True)
class _Use:
    """Where an image is listed."""

    split: Split
    case: str


def check_case(case: Case, data: DataConfig, sampling: SamplingConfig) -> CaseCheck:
    """Looks at one case; what is wrong is in the result, not raised."""
    sha256 = ""
    try:
        pair = read_labelled(case)
        sha256 = image_hash(pair.image)
        objects = find_objects(pair.labels, data)
    except NeuroSAM2Error as error:
        return CaseCheck((("error", str(error)),), image_sha256=sha256)
    messages = [*_about_image(pair.image), *_about_objects(pair, objects, data, sampling)]
    return CaseCheck(tuple(("warning", note) for note in messages), len(objects), sha256)


def image_hash(image: Volume) -> str:
    """SHA-256 of an image's voxels turned to RAS: the same for a copy in another file, number type or order of voxels."""
    turn = nibabel.orientations.io_orientation(image.ijk_to_ras)
    voxels = nibabel.orientations.apply_orientation(image.voxels.T, turn).astype(np.float32)
    voxels[np.isnan(voxels)] = np.nan  # there are many numbers that are none, and two zeros
    digest = hashlib.sha256(repr(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels + np.float32(0.0)).data)
    return digest.hexdigest()


def _about_image(image: Volume) -> list[str]:
    messages = []
    voxels = image.voxels
    if voxels.dtype.kind == "f" and not (is_number := np.isfinite(voxels)).all():
        fraction = 1 - float(is_number.mean())
        messages.append(f"{100 * fraction:.2g} % of the image is not a number and becomes its minimum")
    if (mark := padding_mark(voxels)) is not None:
        fraction = float((voxels == mark).mean())
        messages.append(
            f"{100 * fraction:.2g} % of the image is at {mark:g}, far below the rest, and is taken for padding"
        )
    window = percentile_window(voxels)
    if is_constant(voxels):
        messages.append("the image is the same everywhere")
    elif float((window.normalise(voxels) == 1.0).mean()) > 0.2:
        messages.append("more than a fifth of the image is at its largest value")
    return messages


def _about_objects(pair: LabelledVolume, objects: ObjectMap, data: DataConfig, sampling: SamplingConfig) -> list[str]:
    messages = []
    missing = sorted(set(data.classes) - set(np.unique(pair.labels).tolist()))
    if missing:
        messages.append(f"the label has none of the values {', '.join(map(str, missing))}")
    areas = areas_by_slice(objects)
    for axis in _axes(pair.image, data):
        along = areas[axis.array_axis]
        small = [name for name, row in zip(objects.names, along, strict=True) if row.max() < sampling.min_pixels]
        if small:
            messages.append(
                f"{_listed(small)} never has {sampling.min_pixels} pixels on a slice along {axis}; clips start where it is largest"
            )
        if along.shape[1] < sampling.slices:
            messages.append(
                f"{along.shape[1]} slices along {axis}; clips of {sampling.slices} are filled up by repeating the last one"
            )
    return messages


def _axes(image: Volume, data: DataConfig) -> Sequence[Axis]:
    return list(Axis) if data.axis == "random" else [resolve_axis(image, data.axis)]


def _used_before(sha256: str, use: _Use, first_use: dict[str, _Use]) -> list[tuple[Severity, str]]:
    before = first_use.setdefault(sha256, use) if sha256 else use
    if before.split == use.split:
        return []
    other = "" if before.case == use.case else f" as {before.case}"
    return [
        ("warning", f"the same image is in the list {before.split!r}{other}: what is measured on it is not independent")
    ]


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"object{'s' if len(names) > 1 else ''} {text}"
