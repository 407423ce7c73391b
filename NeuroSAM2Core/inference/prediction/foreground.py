"""The foreground of a slice, all that is not air, as a reading of a click.

A click in a head may mean the whole head, which SAM 2 rarely outlines from one point; its intensities do.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.inference.prediction.mask_transfer import overlap_over_union, signed_distance
from NeuroSAM2Core.inference.prediction.slice_answer import PRESENT_SCORE_LOGIT, SliceAnswer

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
