"""The numbers that Medical-SAM2 and its descendants report, for comparison with them only.

Overlaps slice by slice at five thresholds on the raw logits, averaged over thresholds and slices. Thresholds of 0.1 to 0.9 on logits are
probabilities of 0.52 to 0.71, and slices where both masks are empty count as perfect; ours are over whole volumes at probability 0.5.

Source: Zhu et al., "Medical SAM 2", 2024 (its evaluation code), described anew.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
