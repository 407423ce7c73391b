"""The mask of one slice, and masks as packed bits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.volume.plane import SlicePlane


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceMask:
    """One object on one slice of the stored grid."""

    object_id: int
    plane: SlicePlane
    mask: NDArray[np.bool_]
    """(H, W)."""
    predicted_iou: float
    """The overlap with the truth that the model expects, 0 to 1."""
    object_score: float
    """Probability that the object is in this slice, 0 to 1."""
    revision: int = 0
    """Of the prompts that this answers; 0 where there were none."""
    num_readings: int = 1
    """How many masks the prompts of this slice can mean; 1 where they mean one."""
    ending: str = ""
    """Why the object ends on this slice, a value of `inference.ending.Ending`; empty where it is there or a person removed it."""

    @classmethod
    def drawn(cls, object_id: int, plane: SlicePlane, mask: NDArray[np.bool_]) -> "SliceMask":
        """A mask that a person has drawn: it is sure."""
        return cls(object_id=object_id, plane=plane, mask=mask, predicted_iou=1.0, object_score=float(mask.any()))


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask as bits, row by row."""
    return np.packbits(mask, axis=None).tobytes()


def unpack_mask(bits: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The inverse of `pack_mask`."""
    count = shape[0] * shape[1]
    flat = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count)
    return flat.astype(bool).reshape(shape)
