"""Whole cases through the real engine: every object, every kind of first prompt, every correction.

The numbers that Medical-SAM2 and its descendants report, for comparison with them only.

Overlaps slice by slice at five thresholds on the raw logits, averaged over thresholds and slices. Thresholds of 0.1 to 0.9 on logits
are probabilities of 0.52 to 0.71, and slices where both masks are empty count as perfect; ours are over whole volumes at probability
0.5.

Source: Zhu et al., "Medical SAM 2", 2024 (its evaluation code), described anew.

Simulates a user who segments one object through the real engine.

One prompt on the slice where the object is largest, the whole volume, then corrections as a person makes them: a click in the middle of
the largest error on the slice with the most wrong voxels, and the volume again.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.inference import EngineOptions, Session
from NeuroSAM2Core.measures.agreement import SurfaceAgreement, dice, iou, surface_agreement
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.prompts import box_from_mask, click_from_error, lasso_from_mask, scribble_from_error
from NeuroSAM2Core.training.config.data import DataConfig, EvaluationConfig, FirstPrompt
from NeuroSAM2Core.training.data.dataset import (
    Case,
    LabelledVolume,
    ObjectMap,
    find_objects,
    read_labelled,
    with_unique_names,
)
from NeuroSAM2Core.training.evaluation.results import EvaluationResult, Measurement, SkippedCase
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume, resolve_axis

logger = logging.getLogger(__name__)
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
IOU_SMOOTHING = 1e-6
DICE_SMOOTHING = 1e-4


@dataclass(frozen=True, slots=True)
class MedSAM2Overlap:
    """Mean over thresholds and slices, 0 to 1."""

    iou: float
    dice: float


def medsam2_overlap(logits: NDArray[np.float32], truth: NDArray[np.bool_], array_axis: int) -> MedSAM2Overlap:
    """Overlaps on the slices from the first to the last that shows the object.

    Args:
        logits: (K, J, I).
        truth: The object, (K, J, I); not empty.
        array_axis: Across the slices.
    """
    shown = np.flatnonzero(truth.any(axis=tuple(a for a in range(3) if a != array_axis)))
    part = slice(int(shown[0]), int(shown[-1]) + 1)
    values = np.moveaxis(logits, array_axis, 0)[part].reshape(part.stop - part.start, -1)
    target = np.moveaxis(truth, array_axis, 0)[part].reshape(values.shape)
    ious, dices = [], []
    for threshold in THRESHOLDS:
        found = values > threshold
        overlap = (found & target).sum(axis=1)
        sizes = found.sum(axis=1) + target.sum(axis=1)
        ious.append((overlap + IOU_SMOOTHING) / (sizes - overlap + IOU_SMOOTHING))
        dices.append((2 * overlap + DICE_SMOOTHING) / (sizes + DICE_SMOOTHING))
    return MedSAM2Overlap(float(np.mean(ious)), float(np.mean(dices)))


OBJECT_ID = 1
Mask = NDArray[np.bool_]


class Segmenter(Protocol):
    """What is measured: the engine's `Session`, or another tool behind the same prompts."""

    def add_box(self, object_id: int, axis: str, index: int, box: Sequence[float], /) -> object:
        """A box (row0, col0, row1, col1) on a slice."""

    def add_point(
        self, object_id: int, axis: str, index: int, point: Sequence[float], /, *, positive: bool = True
    ) -> object:
        """A click (row, col) on a slice."""

    def propagate(self, object_id: int, /) -> Iterable[object]:
        """Carries the object through the volume, slice by slice."""

    def mask(self, object_id: int, /) -> Mask:
        """The current mask of the object, (K, J, I)."""


class MaskSegmenter(Segmenter, Protocol):
    """One that takes a mask for a prompt, too, as a lasso needs."""

    def add_mask(self, object_id: int, axis: str, index: int, mask: Mask, /) -> object:
        """The object's outline on a slice, (H, W)."""


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """The result after some prompts."""

    clicks: int
    """Correction clicks so far."""
    dice: float
    """Over the whole volume."""
    slice_dice: float
    """On the slice prompted last."""
    mask: Mask
    """(K, J, I)."""


def evaluate(
    session: MaskSegmenter,
    truth: Mask,
    axis: Axis,
    *,
    start: FirstPrompt = "box",
    num_clicks: int = 5,
    on_slice: Callable[[], object] = lambda: None,
) -> Iterator[Round]:
    """Yields the result after the first prompt and after each correction; ends early where nothing is wrong.

    Args:
        session: Without prompts.
        truth: The object, (K, J, I).
        axis: The stored axis that slices are cut along.
        start: The first prompt: the tight box, a click in the middle, a scribble along the middle, or a lasso around the largest part.
        num_clicks: Corrections.
        on_slice: Called after every slice that was done.

    Raises:
        DataError: The truth is empty.
    """
    if not truth.any():
        raise DataError("the label is empty: there is nothing to evaluate")
    plane = SlicePlane(axis, largest_slice(truth, axis))
    _prompt(session, plane, plane.of(truth), start)
    for clicks in range(num_clicks + 1):
        for _ in session.propagate(OBJECT_ID):
            on_slice()
        found = session.mask(OBJECT_ID)
        yield Round(clicks, dice(found, truth), dice(plane.of(found), plane.of(truth)), found)
        if clicks == num_clicks:
            return
        plane = SlicePlane(axis, largest_slice(found ^ truth, axis))
        click = click_from_error(plane.of(truth), plane.of(found))
        if click is None:
            return
        session.add_point(OBJECT_ID, axis, plane.index, (click.row, click.col), positive=click.positive)


def _prompt(session: MaskSegmenter, plane: SlicePlane, truth: Mask, start: FirstPrompt) -> None:
    """Gives the first prompt of an object that is on a slice, (H, W)."""
    match start:
        case "box":
            box = box_from_mask(truth)
            assert box is not None
            session.add_box(OBJECT_ID, plane.axis, plane.index, (box.row0, box.col0, box.row1, box.col1))
        case "lasso":
            lasso = lasso_from_mask(truth)
            inside = truth if lasso is None else lasso.mask((truth.shape[0], truth.shape[1]))
            session.add_mask(OBJECT_ID, plane.axis, plane.index, inside)
        case "click":
            middle = click_from_error(truth, np.zeros_like(truth))
            assert middle is not None
            session.add_point(OBJECT_ID, plane.axis, plane.index, (middle.row, middle.col))
        case "scribble":
            scribble = scribble_from_error(truth, np.zeros_like(truth))
            assert scribble is not None
            for click in scribble.clicks:
                session.add_point(OBJECT_ID, plane.axis, plane.index, (click.row, click.col))


def largest_slice(mask: Mask, axis: Axis) -> int:
    """The slice with the most voxels."""
    others = tuple(a for a in range(3) if a != axis.array_axis)
    return int(mask.sum(axis=others).argmax())


def clicks_to(rounds: Sequence[Round], target: float) -> int | None:
    """Corrections until the Dice was reached; None if it was not."""
    return next((r.clicks for r in rounds if r.dice >= target), None)


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
