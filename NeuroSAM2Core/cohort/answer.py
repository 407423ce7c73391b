"""One case of a cohort from beginning to end: read, prompted from the annotated cases, outlined by the model, written.

A case that fails leaves a record with the reason. Nothing here knows of other cases or processes.
"""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint import load_model
from NeuroSAM2Core.checkpoint.load import load_checkpoint
from NeuroSAM2Core.cohort.carry import Deform, LoadedTemplate, carry, joined_table, settled
from NeuroSAM2Core.cohort.deform import deform
from NeuroSAM2Core.cohort.plan import CohortCase, CohortPlan, RegistrationKind, Template
from NeuroSAM2Core.cohort.record import CaseRecord, CohortFolder, ObjectResult, file_hash
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error, is_out_of_memory
from NeuroSAM2Core.inference import Session
from NeuroSAM2Core.labels import write_table
from NeuroSAM2Core.measures import ObjectMask, dice, finished, measuring_size
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.registration import CarriedObject, prompts_of, spline_deformation
from NeuroSAM2Core.registration.register import simple_itk
from NeuroSAM2Core.volume import Axis, SliceMask, Volume, resolve_axis

logger = logging.getLogger(__name__)
DEFORMATIONS: dict[RegistrationKind, Deform | None] = {
    "deformable": deform,
    "bspline": spline_deformation,
    "affine": None,
}
WEIGHTS = (1.0, 2.0)
"""What the model's answer counts beside what was carried over: the outline lies between the two."""
REACH_MM = 6.0
"""So far beyond what was carried over an object is looked for."""
THICKER = 1.2
"""So much thicker slices along another axis decide the axis."""


@dataclass(frozen=True, slots=True, eq=False)
class CohortEngine:
    """Annotated cases and model in memory, for all cases that one process does."""

    plan: CohortPlan
    folder: CohortFolder
    templates: tuple[LoadedTemplate, ...]
    model: SAM2

    @classmethod
    def load(cls, plan: CohortPlan, folder: CohortFolder) -> "CohortEngine":
        """Reads both, and gives this process its share of the cores.

        Raises:
            ConfigError: SimpleITK is not installed.
            NeuroSAM2Error: A file is missing or damaged.
        """
        torch.set_num_threads(plan.threads)
        simple_itk().ProcessObject.SetGlobalDefaultNumberOfThreads(plan.threads)
        templates = tuple(map(LoadedTemplate.read, plan.templates))
        return cls(plan, folder, templates, load_model(plan.model, device=plan.device))

    def do(self, case: CohortCase) -> CaseRecord:
        """Does a case, unless it is done; the record says how it went.

        Raises:
            DataError: The folder cannot be written to.
        """
        started = time.perf_counter()
        image_hash = ""
        try:
            image_hash = file_hash(case.image)
            known = self.folder.read(case)
            if known is not None and self.folder.is_done(case, self.plan, image_hash):
                return known
            record = self._outlined(case)
        except Exception as error:  # whatever a file or a library does: the other cases go on
            if not isinstance(error, NeuroSAM2Error):
                logger.warning("%s failed", case.name, exc_info=True)
            record = self._record(case, problem=_sentence(error))
        record = replace(record, image_hash=image_hash, seconds=round(time.perf_counter() - started, 2))
        self.folder.write(case, record)
        return record

    def _outlined(self, case: CohortCase) -> CaseRecord:
        image = Volume.read(case.image)
        vote = carry(self.templates, image, deform=DEFORMATIONS[self.plan.registration])
        axis = slice_axis(image) if self.plan.axis == "auto" else resolve_axis(image, self.plan.axis)
        session = Session(self.model, image)
        table = joined_table(self.templates)
        names = {entry.value: entry.name for entry in table.entries}
        numbers = {value: number for number, value in enumerate(vote.masks, start=1)}
        outlined = {
            value: outline(session, numbers[value], prompts_of(mask, axis), span_of(mask, axis, image.spacing_mm))
            for value, mask in vote.masks.items()
        }
        found = settled(
            ((value, (session.mask(number), vote.masks[value])) for value, number in numbers.items()), WEIGHTS, image
        )
        labels = image.with_voxels(found.astype(np.uint8 if max(numbers) < 256 else np.int32))
        target = self.folder.labels_path(case)
        target.parent.mkdir(parents=True, exist_ok=True)
        labels.write(target, overwrite=True)
        write_table(
            target.with_name(target.name.removesuffix(".nii.gz") + ".tsv"), table.restricted(outlined), overwrite=True
        )
        return replace(
            self._record(case, labels_hash=file_hash(target)),
            objects=tuple(
                _result(
                    value,
                    names[value],
                    labels,
                    agreement=vote.agreements[value],
                    carried_dice=dice(session.mask(numbers[value]), vote.masks[value]),
                    prompts=prompts,
                    expected_iou=expected_iou,
                )
                for value, (prompts, expected_iou) in outlined.items()
            ),
            lost=tuple(name for value, name in names.items() if value not in outlined),
            similarities=tuple(round(one, 4) for one in vote.similarities),
        )

    def _record(self, case: CohortCase, *, labels_hash: str = "", problem: str = "") -> CaseRecord:
        return CaseRecord(
            case=case.name,
            image=self.folder.source(case.image),
            fingerprint=self.plan.fingerprint,
            labels_hash=labels_hash,
            problem=problem,
        )


def make_plan(
    templates: Sequence[Template],
    *,
    model: str,
    axis: str = "auto",
    registration: RegistrationKind = "deformable",
    threads: int = 1,
    device: str = "auto",
) -> CohortPlan:
    """A plan with the hashes of its files, after all of them were read once.

    Raises:
        NeuroSAM2Error: An annotated case or the model cannot be used.
    """
    for one in templates:
        loaded = LoadedTemplate.read(one)
        if axis != "auto":
            resolve_axis(loaded.image, axis)
    checkpoint = load_checkpoint(model, hashed=True)
    known = Path(model)
    return CohortPlan(
        templates=tuple(templates),
        template_hashes=tuple((file_hash(one.image), file_hash(one.labels)) for one in templates),
        model=str(known.resolve()) if disk.is_file(known) else model,
        model_hash=checkpoint.sha256,
        options_hash=hashlib.sha256(repr(checkpoint.config).encode()).hexdigest(),
        axis=axis,
        registration=registration,
        threads=threads,
        device=device,
    )


def slice_axis(image: Volume) -> Axis:
    """That of the thickest slices, else the axial one."""
    axial = resolve_axis(image, "axial")
    spacing = image.spacing_mm
    thickest = int(np.argmax(spacing))
    return (Axis.I, Axis.J, Axis.K)[thickest] if spacing[thickest] > THICKER * spacing["ijk".index(axial)] else axial


def span_of(mask: NDArray[np.bool_], axis: Axis, spacing_mm: tuple[float, float, float]) -> tuple[int, int]:
    """First and last slice on which an object may lie: those of what was carried over, and `REACH_MM` more.

    Args:
        mask: (K, J, I), not empty.
        axis: Of the slices.
        spacing_mm: Along i, j, k.
    """
    along = axis.array_axis
    there = np.flatnonzero(mask.any(axis=tuple(n for n in range(3) if n != along)))
    reach = math.ceil(REACH_MM / spacing_mm[2 - along])
    return max(0, int(there[0]) - reach), min(mask.shape[along] - 1, int(there[-1]) + reach)


def outline(
    session: Session, object_id: int, carried: CarriedObject, span: tuple[int, int]
) -> tuple[ObjectPrompts, float]:
    """Prompts an object as it was carried over, and lets the model outline it on some slices.

    Args:
        session: Of the image.
        object_id: Of the object, which is new.
        carried: Its prompts.
        span: First and last slice.

    Returns:
        Its prompts, and the overlap that the model expects of its masks, over the slices by their area.
    """
    answers = list(give_prompts(session, object_id, carried))
    answers += list(session.propagate(object_id, first=span[0], last=span[1]))
    areas = np.array([np.count_nonzero(one.mask) for one in answers], dtype=np.float64)
    ious = np.array([one.predicted_iou for one in answers], dtype=np.float64)
    return carried.prompts, float((ious * areas).sum() / areas.sum()) if areas.sum() else 0.0


def give_prompts(session: Session, object_id: int, carried: CarriedObject) -> list[SliceMask]:
    """Gives an object its prompts as they were carried over; the model's answers on their slices."""
    axis, answers = carried.prompts.axis, []
    for one in carried.prompts.boxes:
        assert axis is not None, "there is a box"
        box = one.box
        answers.append(session.add_box(object_id, axis, one.index, (box.row0, box.col0, box.row1, box.col1)))
    for plane, prompt in carried.masks.items():
        answers.append(session.add_mask(object_id, plane.axis, plane.index, prompt.mask))
    return answers


def _result(
    value: int,
    name: str,
    labels: Volume,
    *,
    agreement: float | None,
    carried_dice: float,
    prompts: ObjectPrompts,
    expected_iou: float,
) -> ObjectResult:
    mask: NDArray[np.bool_] = labels.voxels == value
    voxels = ObjectMask.of(mask)
    size = None if voxels.is_empty else finished(measuring_size(labels, voxels))
    volume_mm3 = 0.0 if size is None else size.volume_ml * 1000
    compactness = 0.0 if size is None else 36 * math.pi * volume_mm3**2 / max(size.surface_mm2, 1e-9) ** 3
    return ObjectResult(
        label=value,
        name=name,
        prompts=prompts,
        expected_iou=round(expected_iou, 4),
        agreement=None if agreement is None else round(agreement, 4),
        carried_dice=round(carried_dice, 4),
        volume_ml=round(volume_mm3 / 1000, 4),
        compactness=round(compactness, 4),
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, NeuroSAM2Error):
        return str(error)
    if is_out_of_memory(error):
        return "there is not enough memory for this image"
    if isinstance(error, OSError):
        return str(DataError(f"a file cannot be read or written: {error.strerror or error}"))
    return f"it could not be done: {type(error).__name__}: {error}"
