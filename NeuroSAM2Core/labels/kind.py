"""Whether an image is a label map, by its values, its name and what its header says."""

import re
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LABELS = 300
"""Distinct values of a label map at most: FreeSurfer's parcellations have fewer."""
FEW_LABELS = 12
LABEL_WORDS = re.compile(
    r"(^|[^a-z])(seg(mentation)?s?|a(parc)?seg|dseg|label(map|s)?|mask|roi|lesion|parc(ellation)?|atlas|gt|ground[-_ ]?truth)([^a-z]|$)"
)
"""Words of file names that mean a label map."""
IMAGE_WORDS = re.compile(r"(^|[^a-z0-9])(t1w?|t2w?|t1ce|t1gd|flair|pd|dwi|adc|swi|bold|ct|cta|mra?|brain)([^a-z0-9]|$)")
LABEL_INTENT = 1002
"""The intent code of NIfTI that means labels."""


class ImageKind(Enum):
    """What an image is."""

    IMAGE = "an image"
    LABELS = "a label map"
    UNSURE = "an image or a label map"


def kind_of_image(voxels: NDArray[Any], name: str = "", *, intent: int = 0) -> ImageKind:
    """What an image is: a label map has few, whole values from 0 on, in large areas of one value.

    Args:
        voxels: Of any real type.
        name: Of its file.
        intent: The intent code of its NIfTI header, 0 where there is none.
    """
    values = _label_values(voxels)
    if values is None:
        return ImageKind.IMAGE
    if intent == LABEL_INTENT:
        return ImageKind.LABELS
    words = name.lower()
    is_named_label, is_named_image = bool(LABEL_WORDS.search(words)), bool(IMAGE_WORDS.search(words))
    if is_named_label:
        return ImageKind.LABELS
    if is_named_image:
        return ImageKind.IMAGE if len(values) > FEW_LABELS else ImageKind.UNSURE
    return ImageKind.LABELS if len(values) <= 2 and int(values[-1]) in (1, 255) else ImageKind.UNSURE


def _label_values(voxels: NDArray[Any]) -> NDArray[Any] | None:
    """The values, where they can be labels; None where they cannot. Most images are told by a few slices."""
    step = max(1, len(voxels) // 16)
    for part in (voxels[::step], voxels):
        if part.dtype.kind == "f" and not (np.isfinite(part).all() and (part == np.rint(part)).all()):
            return None
        values: NDArray[Any] = np.unique(part)
        if len(values) > MAX_LABELS or values[0] < 0:
            return None
    return values if len(values) > 1 and (voxels == 0).mean() > 0.05 and not _is_noisy(voxels) else None


def _is_noisy(voxels: NDArray[Any]) -> bool:
    """Neighbours of one slice differ in more than a third of the places: as in a picture with few grey values."""
    middle = voxels[len(voxels) // 2]
    inside = middle[:, 1:] != 0
    return bool(inside.any() and (middle[:, 1:] != middle[:, :-1])[inside].mean() > 1 / 3)
