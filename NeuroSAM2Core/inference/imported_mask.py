"""Masks imported from an earlier session: from a scene that is opened again, or from a worker that is gone.

They are shown exactly as they were given. What the engine would remember of such a slice is made from the mask when it is first needed:
the memory of a mask, where the one before had the memory of an answer.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.volume import SliceMask, pack_mask, unpack_mask

MAX_LOGIT = 700.0
"""Beyond this, probabilities are 0 or 1 as numbers."""


@dataclass(frozen=True, slots=True)
class ImportedMask:
    """An imported mask in the orientation of the stored plane."""

    bits: bytes
    shape: tuple[int, int]
    iou: float
    object_score: float
    ending: str = ""
    """See `SliceMask`."""

    @classmethod
    def of(cls, known: SliceMask) -> "ImportedMask":
        """The imported form of a slice mask."""
        height, width = known.mask.shape
        return cls(pack_mask(known.mask), (height, width), known.predicted_iou, known.object_score, known.ending)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W)."""
        return unpack_mask(self.bits, self.shape)

    @property
    def object_score_logits(self) -> float:
        """Above 0 the object is in this slice."""
        if not 0 < self.object_score < 1:
            return MAX_LOGIT if self.object_score >= 1 else -MAX_LOGIT
        return math.log(self.object_score / (1 - self.object_score))


def probability(logit: float) -> float:
    """The probability that a logit stands for."""
    return 1 / (1 + math.exp(-max(-MAX_LOGIT, min(MAX_LOGIT, logit))))
