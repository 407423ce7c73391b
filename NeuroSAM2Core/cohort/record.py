"""What is kept of a cohort: a folder of BIDS derivatives, with one JSON record for each case beside its label map.

A case is done when its record says so for this plan and this very image; whoever starts again skips it. A reviewed label map is a file
of its own, which no run touches: a case is accepted where it is there.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath

from NeuroSAM2Core import disk
from NeuroSAM2Core.cohort.plan import CohortCase, CohortPlan
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import ConfigError, DataError, NeuroSAM2Error
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.version import __version__

COHORT_FILE, LOCK_FILE = "cohort.json", ".cohort.lock"
FORMAT = 1
ANSWERED, REVIEWED = "desc-neurosam2_dseg", "desc-reviewed_dseg"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectResult:
    """One object of a case: how it was prompted, and how sure its mask is."""

    label: int
    name: str
    prompts: ObjectPrompts
    expected_iou: float
    """Of the model's masks, over the slices by their area; 0 for an empty object."""
    agreement: float | None
    """Dice of what the annotated cases say, two and two, on average; None where only one says something."""
    carried_dice: float
    """Of the model's answer with what was carried over."""
    volume_ml: float
    compactness: float
    """36 pi V^2 / S^3: 1 for a ball, near 0 for a sheet; 0 for an empty object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRecord:
    """What was done with a case."""

    case: str
    image: str
    """From the folder of the cohort, with slashes; absolute where there is no such way."""
    fingerprint: str
    """Of the plan; see `CohortPlan.fingerprint`."""
    image_hash: str = ""
    """SHA-256 of its file."""
    labels_hash: str = ""
    """SHA-256 of the label map; empty where it failed."""
    objects: tuple[ObjectResult, ...] = ()
    lost: tuple[str, ...] = ()
    """Names of the objects of which nothing lies in the scan."""
    similarities: tuple[float, ...] = ()
    """Mutual information with each annotated case once registered; 0 where that failed."""
    problem: str = ""
    """Why it failed, in a sentence; empty where it did not."""
    seconds: float = 0.0
    """Spent on it."""

    def to_text(self) -> str:
        """As the JSON file that BIDS wants beside a derivative."""
        objects = [
            {**asdict(replace(one, prompts=ObjectPrompts())), "prompts": one.prompts.to_json()} for one in self.objects
        ]
        software = {"Name": "NeuroSAM2", "Version": __version__}
        payload = {
            "Sources": [self.image],
            "GeneratedBy": [software],
            **asdict(replace(self, objects=())),
            "objects": objects,
        }
        return json.dumps(payload, indent=2) + "\n"

    @classmethod
    def from_text(cls, text: str) -> "CaseRecord":
        """The inverse of `to_text`.

        Raises:
            DataError: It is something else.
        """
        try:
            payload = parse_json(text)
            given = payload.pop("objects", []) if isinstance(payload, dict) else []
            if not isinstance(given, list):
                raise DecodingError("objects is no list")
            record = decoded(cls, payload, "", Rules(skips_unknown=True))
            return replace(record, objects=tuple(_object(one, f"objects[{n}]") for n, one in enumerate(given)))
        except (DecodingError, NeuroSAM2Error) as error:
            raise DataError(f"that is no record of a case: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredObject:
    """`ObjectResult` in JSON, without its prompts."""

    label: int
    name: str
    expected_iou: float
    agreement: float | None
    carried_dice: float
    volume_ml: float
    compactness: float


def _object(value: object, place: str) -> ObjectResult:
    stored = decoded(_StoredObject, value, place, Rules(skips_unknown=True))
    prompts = value.get("prompts") if isinstance(value, Mapping) else None
    if not isinstance(prompts, Mapping):
        raise DecodingError(f"{place}.prompts is no table")
    return ObjectResult(**asdict(stored), prompts=ObjectPrompts.from_json(prompts))


@dataclass(frozen=True, slots=True)
class CohortFolder:
    """The folder of a cohort."""

    path: Path

    def record_path(self, case: CohortCase) -> Path:
        """Its record."""
        return self._file(case, f"{ANSWERED}.json")

    def labels_path(self, case: CohortCase) -> Path:
        """The label map that the model gave."""
        return self._file(case, f"{ANSWERED}.nii.gz")

    def reviewed_path(self, case: CohortCase) -> Path:
        """The label map that a person has accepted."""
        return self._file(case, f"{REVIEWED}.nii.gz")

    def _file(self, case: CohortCase, ending: str) -> Path:
        return self.path / case.folder / f"{case.name}_{ending}"

    def read(self, case: CohortCase) -> CaseRecord | None:
        """What is known of a case; None where nothing is, or where its record is damaged."""
        try:
            return CaseRecord.from_text(disk.read_text(self.record_path(case)))
        except (OSError, UnicodeDecodeError, DataError):
            return None

    def write(self, case: CohortCase, record: CaseRecord) -> None:
        """Keeps the record of a case.

        Raises:
            DataError: It cannot be written.
        """
        self._write(self.record_path(case), record.to_text())

    def source(self, image: Path) -> str:
        """How a record names an image."""
        try:
            return PurePath(os.path.relpath(image.resolve(), self.path.resolve())).as_posix()
        except ValueError:  # it is on another drive of Windows
            return str(image.resolve())

    def is_done(self, case: CohortCase, plan: CohortPlan, image_hash: str) -> bool:
        """A case needs nothing more: its record is of this plan and image, and its label map is whole."""
        record = self.read(case)
        if (
            record is None
            or record.problem
            or (record.fingerprint, record.image_hash) != (plan.fingerprint, image_hash)
        ):
            return False
        try:
            return file_hash(self.labels_path(case)) == record.labels_hash
        except DataError:
            return False

    def claim(self, plan: CohortPlan, cases: tuple[CohortCase, ...], *, overwrite: bool = False) -> None:
        """Makes the folder that of a plan; what is missing there is made.

        Args:
            plan: From now on.
            cases: Of which the cohort consists.
            overwrite: Another plan may have been there.

        Raises:
            ConfigError: The folder holds a cohort of another plan.
            DataError: It cannot be written to, or holds something else.
        """
        known = self.path / COHORT_FILE
        if known.exists():
            before = read_cohort(self.path).fingerprint
            if before != plan.fingerprint and not overwrite:
                raise ConfigError(
                    f"{self.path} holds a cohort of other annotated cases, another model or other settings",
                    hint="choose another folder, or do all cases again with --overwrite; what was reviewed stays",
                )
        self._write(known, _cohort_text(self, plan, cases))
        self._write(
            self.path / "dataset_description.json",
            json.dumps(
                {
                    "Name": "NeuroSAM2 segmentations",
                    "BIDSVersion": "1.9.0",
                    "DatasetType": "derivative",
                    "GeneratedBy": [{"Name": "NeuroSAM2", "Version": __version__}],
                },
                indent=2,
            )
            + "\n",
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs out of the folder, which is made where it is missing, while the body runs.

        Raises:
            ConfigError: Another run is in it.
            DataError: It cannot be written to.
        """
        from filelock import FileLock, Timeout  # panels read cohorts before it is installed

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / LOCK_FILE, timeout=1.0)
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"another run works in {self.path}", hint="wait for it, or choose another folder"
            ) from error
        except OSError as error:
            raise DataError(f"cannot write to {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.write_atomically(path, text)
        except OSError as error:
            raise DataError(f"cannot write {path}: {disk.reason(error, path)}", hint="is there space left?") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Cohort:
    """The file `cohort.json`: which cases there are, and what made them."""

    fingerprint: str
    cases: tuple[CohortCase, ...]


@dataclass(frozen=True, slots=True)
class _StoredCase:
    name: str
    image: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredCohort:
    fingerprint: str
    cases: tuple[_StoredCase, ...]


def read_cohort(folder: Path) -> Cohort:
    """The cases of a cohort's folder; images as absolute paths.

    Raises:
        DataError: It is none.
    """
    path = folder / COHORT_FILE
    try:
        stored = decoded(_StoredCohort, parse_json(disk.read_text(path)), "", Rules(skips_unknown=True))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} is no cohort: {error}", hint="choose the folder that `neurosam2 cohort` wrote"
        ) from error
    root = folder.resolve()
    cases = tuple(
        CohortCase(name=one.name, image=Path(os.path.normpath(root / one.image)), folder=one.folder)
        for one in stored.cases
    )
    for one in cases:
        if not (root / one.folder / one.name).resolve().is_relative_to(root):
            raise DataError(f"{path} names the folder {one.folder}, which is outside of it")
    return Cohort(fingerprint=stored.fingerprint, cases=cases)


def _cohort_text(folder: CohortFolder, plan: CohortPlan, cases: tuple[CohortCase, ...]) -> str:
    templates = [
        {"image": folder.source(one.image), "labels": folder.source(one.labels), "sha256": list(hashes)}
        for one, hashes in zip(plan.templates, plan.template_hashes, strict=True)
    ]
    return (
        json.dumps(
            {
                "format": FORMAT,
                "software": f"NeuroSAM2 {__version__}",
                "fingerprint": plan.fingerprint,
                "templates": templates,
                "model": {"name": Path(plan.model).name, "sha256": plan.model_hash},
                "axis": plan.axis,
                "registration": plan.registration,
                "cases": [{"name": one.name, "image": folder.source(one.image), "folder": one.folder} for one in cases],
            },
            indent=2,
        )
        + "\n"
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with disk.extended(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", hint="check the path") from error
