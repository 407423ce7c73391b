"""The readings of a first click: candidate masks from several fields of view, the most likely first.

A click in a putamen may mean the putamen, the hemisphere or the head. Each field (crops of several sizes around the click and the whole
slice) is answered with three candidates. The model's own expected IoU says little about an ambiguous click; what does is support: a
structure that is really there looks alike in several fields. The best supported candidate comes first; the third one is the largest thing
around the click, all that is not air, so that a large structure is never more than two steps away (docs/adr/0013).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import CropPlanner
from NeuroSAM2Core.inference.prediction.postprocess import to_size
from NeuroSAM2Core.inference.prediction.slice_answer import SliceAnswer

ALIKE_IOU = 0.7
"""Readings that overlap more than this are one."""
MAX_READINGS = 5
STABILITY_WEIGHT = 0.2
"""What a mask that no threshold changes is worth beside full support."""
STABILITY_DELTA = 1.0
SPECK_MM2 = 40.0
"""Smaller masks come last."""
OVERLAP_STEP = 2
"""Overlaps are counted on every second row and column."""
LARGER = 4.0
"""The largest reading has at least so many times the area of the first one."""
LARGE_READING = 2
"""Its place among the readings, from 0."""


def rank_readings(
    candidates: Sequence[SliceAnswer],
    foreground: SliceAnswer | None,
    planner: CropPlanner,
    options: EngineOptions,
) -> list[SliceAnswer]:
    """The readings of a click, the most likely first; at least one.

    Args:
        candidates: One mask each, several for every field.
        foreground: All that is not air, which becomes the third reading; None where there is none.
        planner: Of the stack.
        options: How masks are brought to the slice.
    """
    answers = [*candidates, *([foreground] if foreground is not None else [])]
    masks = _masks_on_slice(answers, planner.whole.shape, options)
    overlaps = pairwise_iou(masks[:, ::OVERLAP_STEP, ::OVERLAP_STEP])
    areas = np.count_nonzero(masks, axis=(1, 2)) * planner.pixel_mm[0] * planner.pixel_mm[1]
    count = len(candidates)
    scores = support(overlaps[:count, :count], [one.crop for one in candidates])
    scores += STABILITY_WEIGHT * _stability(candidates) - (areas[:count] < SPECK_MM2)
    distinct: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        if areas[number] > 0 and all(overlaps[number, other] <= ALIKE_IOU for other in distinct):
            distinct.append(number)
    if not distinct:
        return [candidates[int(scores.argmax())]]
    first = distinct[0]
    alike = [number for number in distinct if foreground is not None and overlaps[number, count] > ALIKE_IOU]
    replaces = foreground is not None and first not in alike
    order = [number for number in distinct if number not in alike] if replaces else distinct
    large = max(order, key=lambda number: float(areas[number]))
    place = LARGE_READING - 1 if replaces else LARGE_READING  # before the foreground: the brain in a head
    if areas[large] >= LARGER * areas[first] and large in order[place:] and not (replaces and alike):
        order.remove(large)
        order.insert(place, large)
    if replaces:
        order.insert(LARGE_READING, count)
    return [answers[number] for number in order[:MAX_READINGS]]


def split(answer: SliceAnswer) -> list[SliceAnswer]:
    """One prediction for each candidate mask."""
    return [
        SliceAnswer(answer.prediction.candidate(m), answer.crop) for m in range(answer.prediction.all_ious.shape[1])
    ]


def pairwise_iou(masks: Bool[np.ndarray, "n h w"]) -> Float[np.ndarray, "n n"]:
    """The overlap over union of each mask with each other; 0 where both are empty."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    common = flat @ flat.T
    areas = flat.sum(axis=1)
    union = areas[:, None] + areas[None] - common
    return common / np.maximum(union, 1.0)


def support(overlaps: Float[np.ndarray, "n n"], fields: Sequence[object]) -> NDArray[np.float64]:
    """How well each candidate is found again in the other fields: the mean over them of its best overlap there, 0 to 1."""
    names = list(dict.fromkeys(fields))
    if len(names) < 2:
        return np.zeros(len(fields))
    member = np.array([[field == name for field in fields] for name in names])
    best = np.stack([np.where(row, overlaps, 0.0).max(axis=1) for row in member])
    best[member] = 0.0
    return best.sum(axis=0) / (len(names) - 1)


def _masks_on_slice(
    candidates: Sequence[SliceAnswer], shape: tuple[int, int], options: EngineOptions
) -> Bool[np.ndarray, "n h w"]:
    """The candidates' masks at the size of the slice; those of a field are resized together."""
    masks = np.zeros((len(candidates), *shape), dtype=bool)
    for crop in dict.fromkeys(one.crop for one in candidates):
        numbers = [n for n, one in enumerate(candidates) if one.crop == crop]
        logits = torch.cat([candidates[n].prediction.logits for n in numbers])
        seen = to_size(logits, crop.shape, options.upsampling) > 0
        masks[numbers, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] = seen.cpu().numpy()
    return masks


def _stability(candidates: Sequence[SliceAnswer]) -> NDArray[np.float64]:
    """How little each mask changes as its threshold moves; 1 where it does not."""
    logits = torch.cat([one.prediction.logits for one in candidates]).flatten(1)
    inner, outer = ((logits > delta).sum(dim=1) for delta in (STABILITY_DELTA, -STABILITY_DELTA))
    return (inner / outer.clamp(min=1)).cpu().numpy().astype(np.float64)
