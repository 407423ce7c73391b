"""A person's prompts, simulated for evaluation: the tight box of the truth, and the click in the middle of the largest error.

Nothing here is random. The prompts of training, drawn for a whole batch at once, are in `train.simulate`.

Source: Ravi et al. 2024, appendix F.1; Sofiiuk et al., "Reviving Iterative Training with Mask Guidance", 2022 (centre clicks).
"""

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.prompts.prompts import BoxPrompt, PointPrompt

Mask = NDArray[np.bool_]


def box_from_mask(mask: Mask) -> BoxPrompt | None:
    """The tight box of a mask (H, W); None for an empty one."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return BoxPrompt(float(rows[0]), float(cols[0]), float(rows[-1]), float(cols[-1]))


def click_from_error(target: Mask, predicted: Mask) -> PointPrompt | None:
    """The click that a person would add: positive where the object was missed, negative where too much was taken.

    Args:
        target: The truth, (H, W).
        predicted: The answer, (H, W).

    Returns:
        The click in the middle of the largest error; None where there is nothing to correct.
    """
    missed, excess = target & ~predicted, predicted & ~target
    (inner, place), (outer, other) = _middle(missed), _middle(excess)
    if max(inner, outer) == 0:
        return None
    row, col = place if inner >= outer else other
    return PointPrompt(float(row), float(col), inner >= outer)


def _middle(mask: Mask) -> tuple[float, tuple[int, int]]:
    """How far the pixel farthest from the mask's border is from it, and where it is; 0 for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, (0, 0)
    top, left = int(rows[0]), int(cols[0])
    crop = np.pad(mask[top : rows[-1] + 1, left : cols[-1] + 1], 1)
    from scipy import ndimage  # here, so that prompts can be made where SciPy is not

    distance = ndimage.distance_transform_edt(crop)
    row, col = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[row, col]), (int(row) - 1 + top, int(col) - 1 + left)
