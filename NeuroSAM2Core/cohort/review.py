"""What a person should look at first: the cases of a cohort by doubt, as a list for panels and as files for a paper.

Doubt is 0 to 1: for each object the mean of what the model expects to be wrong, how much the annotated cases differ, how far the answer
is from what they say, and how unusual volume and shape are in the cohort, weighted by what each told of the true overlap of 40
synthetic cases (benchmarks/README.md, *Cohort*); for a case the mean of its objects. An object that is lost counts as 1.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.cohort.plan import CohortCase
from NeuroSAM2Core.cohort.record import CaseRecord, CohortFolder, ObjectResult, read_cohort
from NeuroSAM2Core.errors import DataError

REVIEW_JSON, REVIEW_CSV = "review.json", "review.csv"
MIN_CASES = 5
"""From so many cases with an object on, its volume and shape can be unusual."""
USUAL_SPREAD = 0.05
"""Least spread of the logarithms of volumes and shapes: five per cent are never unusual."""
HALF_DOUBT_DEVIATIONS = 3.0
"""So many robust standard deviations from the middle of the cohort are a doubt of one half."""
MAD_TO_DEVIATION = 1.4826
MODEL, DEPARTURE = "the model is not sure", "the model departs from the annotated cases"
UNUSUAL, DISAGREEMENT = "volume or shape is unusual in the cohort", "the annotated cases disagree"
WEIGHTS = {MODEL: 1, DEPARTURE: 8, UNUSUAL: 4, DISAGREEMENT: 2}
"""Departures are a third of the size of the others; what the model expects says the least."""


class CaseState(Enum):
    """What has become of a case."""

    PENDING = "pending"
    """It was not done yet."""
    FAILED = "failed"
    WAITING = "waiting"
    """For a person to look at it."""
    ACCEPTED = "accepted"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectDoubt:
    """Why an object is doubtful, each 0 to 1."""

    name: str
    model: float
    """What the model expects to be wrong of its overlap."""
    disagreement: float | None
    """Between annotated cases; None where only one has the object."""
    departure: float
    """Of the answer from what was carried over."""
    unusual: float
    """Volume or shape, whichever is farther from the cohort's middle."""

    @property
    def parts(self) -> dict[str, float]:
        """By what is said of them."""
        known = {MODEL: self.model, DEPARTURE: self.departure, UNUSUAL: self.unusual}
        return known if self.disagreement is None else {**known, DISAGREEMENT: self.disagreement}

    @property
    def doubt(self) -> float:
        """All of it, 0 to 1."""
        parts = self.parts
        return float(np.average(list(parts.values()), weights=[WEIGHTS[part] for part in parts]))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewRow:
    """A case on the list."""

    case: CohortCase
    state: CaseState
    doubt: float
    reason: str
    """What is most doubtful, or what went wrong, in a sentence."""
    objects: tuple[ObjectDoubt, ...] = ()


def review_rows(folder: Path) -> list[ReviewRow]:
    """The cases of a cohort, the most doubtful first; those that failed before all others.

    Raises:
        DataError: The folder holds no cohort.
    """
    kept = CohortFolder(folder)
    records = {case: kept.read(case) for case in read_cohort(folder).cases}
    done = {case: record for case, record in records.items() if record is not None and not record.problem}
    usual = _usual(list(done.values()))
    doubts = {case: tuple(_doubt(one, usual) for one in record.objects) for case, record in done.items()}
    middles = _middles([one for objects in doubts.values() for one in objects])
    rows = []
    for case, record in records.items():
        row = _row(case, record, doubts.get(case, ()), middles)
        is_accepted = disk.is_file(kept.reviewed_path(case))
        rows.append(replace(row, state=CaseState.ACCEPTED) if is_accepted else row)
    return sorted(rows, key=lambda row: (-row.doubt, row.case.name))


def write_review(folder: Path) -> list[ReviewRow]:
    """Writes the list as `review.json` and `review.csv`, and gives it.

    Raises:
        DataError: The folder holds no cohort, or cannot be written to.
    """
    rows = review_rows(folder)
    payload = [
        {
            "case": row.case.name,
            "state": row.state.value,
            "doubt": round(row.doubt, 4),
            "reason": row.reason,
            "labels": _labels(folder, row),
            "objects": [
                {
                    "name": one.name,
                    "doubt": round(one.doubt, 4),
                    "parts": {key: round(x, 4) for key, x in one.parts.items()},
                }
                for one in row.objects
            ],
        }
        for row in rows
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("rank", "case", "state", "doubt", "reason", "labels"))
    for rank, row in enumerate(rows, start=1):
        writer.writerow((rank, row.case.name, row.state.value, f"{row.doubt:.4f}", row.reason, _labels(folder, row)))
    try:
        disk.write_atomically(folder / REVIEW_JSON, json.dumps(payload, indent=2) + "\n")
        disk.write_atomically(folder / REVIEW_CSV, text.getvalue())
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}") from error
    return rows


def _labels(folder: Path, row: ReviewRow) -> str:
    kept = CohortFolder(folder)
    if row.state in (CaseState.PENDING, CaseState.FAILED):
        return ""
    path = kept.reviewed_path(row.case) if row.state is CaseState.ACCEPTED else kept.labels_path(row.case)
    return path.relative_to(folder).as_posix()


@dataclass(frozen=True, slots=True)
class _Usual:
    """Middle and spread of a number in the cohort."""

    middle: float
    spread: float

    def doubt(self, value: float) -> float:
        """How unusual a value is, 0 to 1."""
        deviations = abs(_log(value) - self.middle) / self.spread
        return deviations / (deviations + HALF_DOUBT_DEVIATIONS)


def _usual(records: Sequence[CaseRecord]) -> dict[tuple[int, str], _Usual]:
    """By label value and measure, of objects that enough cases have."""
    values: dict[tuple[int, str], list[float]] = {}
    for one in (one for record in records for one in record.objects):
        values.setdefault((one.label, "volume"), []).append(_log(one.volume_ml))
        values.setdefault((one.label, "shape"), []).append(_log(one.compactness))
    usual = {}
    for key, logs in values.items():
        if len(logs) >= MIN_CASES:
            middle = float(np.median(logs))
            spread = MAD_TO_DEVIATION * float(np.median(np.abs(np.array(logs) - middle)))
            usual[key] = _Usual(middle, max(USUAL_SPREAD, spread))
    return usual


def _log(value: float) -> float:
    return math.log(max(value, 1e-6))


def _middles(doubts: Sequence[ObjectDoubt]) -> dict[tuple[str, str], float]:
    """The usual size of each part of the doubt about an object, by its name; empty where it is in too few cases to say."""
    sizes: dict[tuple[str, str], list[float]] = {}
    for one in doubts:
        for part, size in one.parts.items():
            sizes.setdefault((one.name, part), []).append(size)
    return {key: float(np.median(known)) for key, known in sizes.items() if len(known) >= MIN_CASES}


def _row(
    case: CohortCase,
    record: CaseRecord | None,
    objects: tuple[ObjectDoubt, ...],
    middles: Mapping[tuple[str, str], float],
) -> ReviewRow:
    if record is None:
        return ReviewRow(case=case, state=CaseState.PENDING, doubt=0.0, reason="it was not done yet")
    if record.problem:
        return ReviewRow(case=case, state=CaseState.FAILED, doubt=1.0, reason=record.problem)
    doubts = [one.doubt for one in objects] + [1.0] * len(record.lost)
    return ReviewRow(
        case=case,
        state=CaseState.WAITING,
        doubt=float(np.mean(doubts)) if doubts else 1.0,
        reason=_reason(record, objects, middles),
        objects=objects,
    )


def _doubt(one: ObjectResult, usual: Mapping[tuple[int, str], _Usual]) -> ObjectDoubt:
    measured = {"volume": one.volume_ml, "shape": one.compactness}
    unusual = [usual[one.label, key].doubt(value) for key, value in measured.items() if (one.label, key) in usual]
    return ObjectDoubt(
        name=one.name,
        model=1 - one.expected_iou,
        disagreement=None if one.agreement is None else 1 - one.agreement,
        departure=1 - one.carried_dice,
        unusual=max(unusual, default=0.0),
    )


def _reason(record: CaseRecord, objects: Sequence[ObjectDoubt], middles: Mapping[tuple[str, str], float]) -> str:
    """What adds most to the doubt about the most doubtful object, beside what is usual in the cohort."""
    if record.lost:
        return f"nothing of {', '.join(record.lost)} lies in the scan"
    if not objects:
        return "the record names no object"
    worst = max(objects, key=lambda one: one.doubt)
    added = {part: WEIGHTS[part] * (size - middles.get((worst.name, part), 0.0)) for part, size in worst.parts.items()}
    return f"{worst.name}: {max(added, key=lambda part: added[part])}"
