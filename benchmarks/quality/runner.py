"""One method on one object: a box with corrections, then a click, as the simulated user makes them, and everything that is measured."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.cases import Case
from benchmarks.quality.measures import Confidence, Measurement, SliceOverlap
from benchmarks.quality.prompts import FirstPrompts, correction, first_prompts
from NeuroSAM2Core import Session
from NeuroSAM2Core.training.evaluation.cases import Segmenter
from NeuroSAM2Core.volume import Axis, SliceMask

Mask = NDArray[np.bool_]
AXES = (Axis.K, Axis.J, Axis.I)
"""By array axis."""
BOXED, CLICKED, CHOSEN, TIMED = 1, 2, 3, 4
"""Object ids."""
READINGS = 3
SHOWN_OFFSETS = (-2, 0, 2)
"""Slices shown in pictures, from the prompted one."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Masks for pictures."""

    boxed: Mask
    """After the box on the slices `SHOWN_OFFSETS` away from the prompted one, (N, H, W); empty beyond the volume."""
    clicked: Mask
    """What answered the click on the prompted slice, (H, W)."""


def measure_case(
    tool: Segmenter, case: Case, *, corrections: int, review_iou_threshold: float | None = None
) -> tuple[Measurement, Shown]:
    """Measures one object.

    Args:
        tool: Without any prompt so far. A session is also measured with a click alone, which is not enough for classical tools.
        case: The object.
        corrections: Clicks after the box, each followed by a propagation.
        review_iou_threshold: From this expected overlap on a slice counts as sure; None for a tool that has none.
    """
    began = time.perf_counter()
    prompts = first_prompts(case.truth, case.axes)
    axis, index = AXES[prompts.axis], prompts.index
    answer = tool.add_box(BOXED, axis, index, prompts.box)
    started = time.process_time()
    slices = list(tool.propagate(BOXED))
    propagated = time.process_time() - started
    found = tool.mask(BOXED)
    overlap = SliceOverlap.of(found, case.truth, prompts.axis)
    first = overlap
    on_slice = slice_overlap(answer.mask, case, prompts) if isinstance(answer, SliceMask) else overlap
    is_sure = {
        one.plane.index: one.predicted_iou >= review_iou_threshold and one.object_score > 0.5
        for one in slices
        if review_iou_threshold is not None and isinstance(one, SliceMask)
    }
    boxed = shown_slices(found, prompts)
    task = [overlap]
    for _ in range(corrections):
        wrong = correction(case.truth, found, overlap)
        if wrong is None:
            break
        number, click = wrong
        tool.add_point(BOXED, axis, number, (click.row, click.col), positive=click.positive)
        for _ in tool.propagate(BOXED):
            pass
        found = tool.mask(BOXED)
        overlap = SliceOverlap.of(found, case.truth, prompts.axis)
        task.append(overlap)
    clicks: dict[str, Any] = {}
    clicked = np.zeros_like(boxed[0])
    if isinstance(tool, Session):
        tool.remove(BOXED)
        clicked, clicks = measure_click(tool, case, prompts)
    ml = case.image.voxel_volume_ml
    return Measurement(
        corrections=corrections,
        voxels=int(first.truth.sum()),
        slices=first.num_slices,
        axis=prompts.axis,
        index=index,
        box_slice=on_slice.slice_dice(index),
        box_over=on_slice.over_segmentation(index),
        box_whole=tuple(one.dice for one in task),
        false_slices=tuple(one.false_slices for one in task),
        missed_slices=tuple(one.missed_slices for one in task),
        found_ml=float(first.found.sum()) * ml,
        truth_ml=float(first.truth.sum()) * ml,
        retention=tuple(first.retention(index)),
        confidence=Confidence.of(first, is_sure),
        slice_seconds=propagated / len(slices) if slices else math.nan,
        seconds=time.perf_counter() - began,
        **clicks,
    ), Shown(boxed, clicked)


def measure_click(session: Session, case: Case, prompts: FirstPrompts) -> tuple[Mask, dict[str, Any]]:
    """One click in the middle of the object: its answer, and what is measured of it."""
    axis, index = AXES[prompts.axis], prompts.index
    place = (prompts.click.row, prompts.click.col)
    answers = [session.add_point(CLICKED, axis, index, place)]
    if hasattr(session, "readings"):  # engines before readings give one
        answers = session.readings(CLICKED, axis, index)[:READINGS]
    first = slice_overlap(answers[0].mask, case, prompts)
    dices = [slice_overlap(one.mask, case, prompts).slice_dice(index) for one in answers]
    whole = whole_overlap(session, CLICKED, case, prompts)
    best_whole = whole.dice
    if (best := int(np.argmax(dices))) > 0 and hasattr(session, "choose_reading"):
        session.add_point(CHOSEN, axis, index, place)
        session.choose_reading(CHOSEN, axis, index, best)
        best_whole = whole_overlap(session, CHOSEN, case, prompts).dice
    started = time.process_time()
    session.add_point(TIMED, axis, index, place)
    return answers[0].mask, {
        "warm_click_seconds": time.process_time() - started,
        "click_slice": dices[0],
        "click_over": first.over_segmentation(index),
        "click_best": max(dices),
        "click_whole": whole.dice,
        "click_best_whole": best_whole,
        "click_false_slices": whole.false_slices,
        "click_missed_slices": whole.missed_slices,
    }


def whole_overlap(tool: Segmenter, object_id: int, case: Case, prompts: FirstPrompts) -> SliceOverlap:
    """Propagates an object and compares it with the truth."""
    for _ in tool.propagate(object_id):
        pass
    return SliceOverlap.of(tool.mask(object_id), case.truth, prompts.axis)


def slice_overlap(mask: Mask, case: Case, prompts: FirstPrompts) -> SliceOverlap:
    """Of the prompted slice alone, at its own index; other slices count as empty."""
    truth = np.moveaxis(case.truth, prompts.axis, 0)[prompts.index]
    counts = np.zeros((3, case.truth.shape[prompts.axis]), dtype=np.int64)
    counts[:, prompts.index] = [np.count_nonzero(one) for one in (mask, truth, mask & truth)]
    return SliceOverlap(prompts.axis, *counts)


def shown_slices(volume: NDArray[Any], prompts: FirstPrompts) -> NDArray[Any]:
    """The slices for pictures, (N, H, W)."""
    planes = np.moveaxis(volume, prompts.axis, 0)
    numbers = [prompts.index + offset for offset in SHOWN_OFFSETS]
    return np.stack([planes[n] if 0 <= n < len(planes) else np.zeros_like(planes[0]) for n in numbers])
