"""Which mask answers a click: the readings of a first click, and the choice among the model's four masks at a correction.

Selects which of the model's four masks answers a correction click.

After the first prompt the reference takes the single mask, whatever it is. A small model's single mask may shrug the click off, or jump
to another object for it; one of its three readings of the prompt often does neither. So all four are scored: what the model expects of
a mask, how many of the clicks it agrees with, and how much of the mask so far it keeps (docs/adr/0012).

The foreground of a slice, all that is not air, as a reading of a click.

A click in a head may mean the whole head, which SAM 2 rarely outlines from one point; its intensities do.

The readings of a first click: candidate masks from several fields of view, the most likely first.

A click in a putamen may mean the putamen, the hemisphere or the head. Each field (crops of several sizes around the click and the whole
slice) is answered with three candidates. The model's own expected IoU says little about an ambiguous click; what does is support: a
structure that is really there looks alike in several fields. The best supported candidate comes first; the third one is the largest
thing around the click, all that is not air, so that a large structure is never more than two steps away (docs/adr/0013).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop, CropPlanner
from NeuroSAM2Core.inference.prediction.mask_transfer import overlap_over_union, signed_distance
from NeuroSAM2Core.inference.prediction.postprocess import agreement, to_size
from NeuroSAM2Core.inference.prediction.slice_answer import PRESENT_SCORE_LOGIT, SliceAnswer
from NeuroSAM2Core.model import MaskSelector
from NeuroSAM2Core.prompts import PointPrompt

CLICK_WEIGHT, OVERLAP_WEIGHT = 0.5, 0.25
"""The weights of agreement with all clicks, and of full overlap with the mask so far, beside an expected IoU of 1."""


def select_mask(
    before: Float[Tensor, "1 1 h w"], points: Sequence[PointPrompt], shape: tuple[int, int]
) -> MaskSelector:
    """Chooses an answer to corrections.

    Args:
        before: The answer to the prompts before.
        points: All clicks on the slice, in pixels of the slice.
        shape: The slice, (H, W).
    """

    def choose(logits: Float[Tensor, "1 m h w"], ious: Float[Tensor, "1 m"]) -> Int[Tensor, " 1"]:
        click_agreement = agreement(logits, points, shape).float().mean(dim=1)
        masks, mask = logits > 0, before > 0
        common = (masks & mask).sum(dim=(2, 3))
        overlap = 2 * common / (masks.sum(dim=(2, 3)) + mask.sum(dim=(2, 3))).clamp(min=1)
        return torch.argmax(ious + CLICK_WEIGHT * click_agreement + OVERLAP_WEIGHT * overlap, dim=1)

    return choose


LEAST_INTENSITY = 0.1
"""Of tissue, between the robust least and most: percentiles 2 and 98."""
MIN_SHARE, MAX_SHARE = 0.05, 0.95
"""Of the slice; less or more of it is no outline of a body."""
MAX_LOGIT = 10.0
"""Its logits are signed distances in cells up to this."""


def foreground_parts(picture: Float[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """The connected parts of the foreground, without holes, numbered from 1; air is 0.

    Source: the threshold of Smith, "Fast robust automated brain extraction", 2002.
    """
    least, most = np.percentile(picture, (2, 98))
    bright = np.pad(picture > least + LEAST_INTENSITY * (most - least), 2)
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(bright))[2:-2, 2:-2]
    parts, _ = ndimage.label(ndimage.binary_opening(solid))
    return np.asarray(parts)


def part_at(parts: Int[np.ndarray, "h w"], row: int, col: int) -> Bool[np.ndarray, "h w"] | None:
    """The part with a clicked cell; None where there is none, or it fills the slice."""
    mask = np.asarray(parts == parts[row, col])
    return mask if parts[row, col] and MIN_SHARE <= mask.mean() <= MAX_SHARE else None


def foreground_answer(
    candidates: Sequence[SliceAnswer], whole: Crop, mask: Bool[np.ndarray, "s4 s4"]
) -> SliceAnswer | None:
    """A foreground as an answer on the whole slice, with what the model says of the candidate there that is most like it.

    Args:
        candidates: To the same click, one mask each.
        whole: The crop that is the whole slice.
        mask: The foreground.

    Returns:
        None if no candidate saw the whole slice. The expected IoU counts as far as model and foreground agree.
    """
    seen = [one.prediction for one in candidates if one.crop == whole]
    if not seen:
        return None
    found = torch.from_numpy(mask)[None, None].to(seen[0].logits.device)
    likest = max(seen, key=lambda one: overlap_over_union(one.logits > 0, found))
    logits = torch.from_numpy(signed_distance(mask).astype(np.float32)).clamp(-MAX_LOGIT, MAX_LOGIT)[None, None]
    answer = replace(
        likest,
        logits=logits.to(likest.logits),
        iou=likest.iou * overlap_over_union(likest.logits > 0, found),
        object_score_logits=likest.object_score_logits.clamp(min=PRESENT_SCORE_LOGIT),
    )
    return SliceAnswer(answer, whole)


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
