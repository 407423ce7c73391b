"""Whole cases through the real engine: every object, every kind of first prompt, every correction."""

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.inference import EngineOptions, Session
from NeuroSAM2Core.measures.agreement import SurfaceAgreement, iou, surface_agreement
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.training.config.data import DataConfig
from NeuroSAM2Core.training.config.evaluation import EvaluationConfig
from NeuroSAM2Core.training.data.dataset_file import Case, with_unique_names
from NeuroSAM2Core.training.data.labelled_volume import LabelledVolume, read_labelled
from NeuroSAM2Core.training.data.objects import ObjectMap, find_objects
from NeuroSAM2Core.training.evaluation.medsam2_metrics import medsam2_overlap
from NeuroSAM2Core.training.evaluation.result import EvaluationResult, Measurement, SkippedCase
from NeuroSAM2Core.training.evaluation.rounds import OBJECT_ID, evaluate
from NeuroSAM2Core.volume import Axis, Volume, resolve_axis

logger = logging.getLogger(__name__)

NOT_MEASURED = SurfaceAgreement(float("nan"), float("nan"))


def evaluate_cases(
    model: SAM2,
    cases: Iterable[Case],
    data: DataConfig,
    config: EvaluationConfig,
    *,
    options: EngineOptions | None = None,
    on_slice: Callable[[], object] = lambda: None,
    on_measured: Callable[[Measurement], object] = lambda measurement: None,
) -> EvaluationResult:
    """Measures a model on annotated cases, read one at a time.

    Args:
        model: Its mode (training or not) is the same afterwards.
        cases: From `read_cases`; of these every process of a distributed run may take its share.
        data: What counts as an object, and whether a bad case is skipped.
        config: What is prompted and measured.
        options: The engine's choices; the model's own if None.
        on_slice: Called after every slice that the engine did; may raise to stop.
        on_measured: Called with every measurement.

    Raises:
        DataError: A case cannot be used and `data.on_bad_case` is "stop".
    """
    was_training = model.training
    measurements: list[Measurement] = []
    skipped: list[SkippedCase] = []
    try:
        for case in with_unique_names(cases):
            try:
                pair = read_labelled(case)
                objects = find_objects(pair.labels, data)
            except NeuroSAM2Error as error:
                if data.on_bad_case == "stop":
                    raise DataError(f"the case {case.name} cannot be used: {error}") from error
                logger.warning("skipped the case %s: %s", case.name, error)
                skipped.append(SkippedCase(case.name, str(error)))
                continue
            for one in measure(model, case.name, pair, objects, config, options=options, on_slice=on_slice):
                measurements.append(one)
                on_measured(one)
    finally:
        model.train(was_training)
    return EvaluationResult(tuple(measurements), tuple(skipped))


def measure(
    model: SAM2,
    name: str,
    pair: LabelledVolume,
    objects: ObjectMap,
    config: EvaluationConfig,
    *,
    options: EngineOptions | None = None,
    on_slice: Callable[[], object] = lambda: None,
) -> Iterator[Measurement]:
    """All measurements of one volume; the engine's features are shared by all objects and prompts."""
    axis = resolve_axis(pair.image, config.axis)
    session = Session(model, pair.image, options=options)
    for number in _largest_first(objects)[: config.max_objects or None]:
        truth = objects.mask(number)
        is_there = has_mask(truth, axis)
        for kind in config.kinds:
            for one in evaluate(session, truth, axis, start=kind, num_clicks=config.num_clicks, on_slice=on_slice):
                overlap = medsam2_overlap(session.logits(OBJECT_ID), truth, axis.array_axis)
                surfaces = _surfaces(pair.image, one.mask, truth, config)
                is_found = has_mask(one.mask, axis)
                yield Measurement(
                    case=name,
                    object=objects.names[number - 1],
                    kind=kind,
                    clicks=one.clicks,
                    dice=one.dice,
                    iou=iou(one.mask, truth),
                    slice_dice=one.slice_dice,
                    false_slices=int((is_found & ~is_there).sum()),
                    missed_slices=int((is_there & ~is_found).sum()),
                    hd95_mm=surfaces.hd95_mm,
                    surface_dice=surfaces.surface_dice,
                    medsam2_iou=overlap.iou,
                    medsam2_dice=overlap.dice,
                )
            session.remove(OBJECT_ID)


def has_mask(mask: NDArray[np.bool_], axis: Axis) -> NDArray[np.bool_]:
    """Which slices along an axis have any of a mask (K, J, I)."""
    others = tuple(a for a in range(3) if a != axis.array_axis)
    return np.asarray(mask.any(axis=others))


def _surfaces(
    image: Volume, found: NDArray[np.bool_], truth: NDArray[np.bool_], config: EvaluationConfig
) -> SurfaceAgreement:
    if not config.has_surfaces:
        return NOT_MEASURED
    i, j, k = image.spacing_mm
    return surface_agreement(found, truth, (k, j, i), tolerance_mm=config.tolerance_mm)


def _largest_first(objects: ObjectMap) -> list[int]:
    sizes = np.bincount(objects.numbers.ravel(), minlength=len(objects) + 1)[1:]
    return (np.argsort(-sizes, kind="stable") + 1).tolist()
