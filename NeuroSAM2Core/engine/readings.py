"""What a first click can mean: the masks of several fields around it, the most likely first.

A click in a putamen may mean the putamen, the hemisphere or the head. Each field (crops of several sizes around the click and the whole
slice) is answered with three candidates; those that look alike count once. The order follows what was measured on the development set
(benchmarks/README.md, *Quality*): the expected IoU, less a penalty where the mask is cut off by its field.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.engine.crop import CropPlanner
from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.postprocess import at_slice
from NeuroSAM2Core.engine.slice_answer import SliceAnswer

ALIKE_IOU = 0.75
"""Readings that overlap more than this are one."""
MAX_READINGS = 5
CUT_OFF_PENALTY = 0.3
"""Of a mask that touches a border of its field beyond which the slice goes on."""
WHOLE_PENALTY = 0.05
"""Of a reading on the whole slice."""


def rank_readings(
    candidates: Sequence[SliceAnswer], planner: CropPlanner, number: int, options: EngineOptions
) -> list[SliceAnswer]:
    """The readings of a click, the most likely first; at least one.

    Args:
        candidates: One mask each.
        planner: Of the stack.
        number: The slice.
        options: How masks are brought to the slice.
    """
    order = sorted(candidates, key=lambda one: -_score(one, planner, number))
    chosen: list[SliceAnswer] = []
    masks: list[NDArray[np.bool_]] = []
    for one in order:
        mask = (at_slice(one.prediction.logits, one.crop, planner.whole.shape, options) > 0).cpu().numpy()
        if not mask.any() or any(_iou(mask, other) > ALIKE_IOU for other in masks):
            continue
        chosen.append(one)
        masks.append(mask)
        if len(chosen) == MAX_READINGS:
            break
    return chosen or [order[0]]


def split(answer: SliceAnswer) -> list[SliceAnswer]:
    """An answer for each of its candidate masks."""
    return [
        SliceAnswer(answer.prediction.candidate(m), answer.crop) for m in range(answer.prediction.all_ious.shape[1])
    ]


def _score(one: SliceAnswer, planner: CropPlanner, number: int) -> float:
    bounds = one.crop.bounds_of(one.prediction.logits)
    score = float(one.prediction.iou)
    if one.crop == planner.whole:
        return score - WHOLE_PENALTY
    return score - CUT_OFF_PENALTY * (planner.widened(one.crop, number, bounds) is not None)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum()) / max(1, int((a | b).sum()))
