"""Where an individual's brain lies in the upright frame, and how large it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from NeuroSAM2Core.synth.anatomy.grid import SHAPE, coordinates
from NeuroSAM2Core.synth.anatomy.labels import ID, is_in

AVERAGE_LENGTH_MM = 165.0


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """What the formulas for missing structures are placed by."""

    thalami: Float[np.ndarray, "3"]
    """x, y, z in mm: the middle between the two thalami."""
    scale: float
    """Length of the brain beside an average one."""

    @classmethod
    def of(cls, labels: UInt8[np.ndarray, "k j i"]) -> "Landmarks":
        """Those of a label map with cortex and nuclei."""
        centres = []
        for side in "LR":
            thalamus = labels == ID[f"thalamus {side}"]
            centres.append([float(np.broadcast_to(c, SHAPE)[thalamus].mean()) for c in coordinates()])
        return cls(np.mean(centres, axis=0), brain_length(labels) / AVERAGE_LENGTH_MM)


def brain_length(labels: UInt8[np.ndarray, "k j i"]) -> float:
    """From the occipital to the frontal pole, mm, without the outermost hundredth of the cortex at each end."""
    counts = is_in(labels, "cortex").sum((0, 2)).cumsum()
    ends = np.searchsorted(counts, [0.01 * counts[-1], 0.99 * counts[-1]])
    return float(ends[1] - ends[0])
