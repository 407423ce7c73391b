"""The configuration of the losses."""

from dataclasses import dataclass
from typing import Literal

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The weights of the losses, and what they are computed of."""

    focal: float = 20.0
    """Weight of the focal loss of the mask."""
    dice: float = 1.0
    """Weight of the Dice loss of the mask."""
    iou: float = 1.0
    """Weight of the error of the expected IoU."""
    object_score: float = 1.0
    """Weight of the cross-entropy of the object score."""
    bce: float = 0.0
    """Weight of the mask's plain cross-entropy with object pixels counted twice, on every slice whether the object is there or not:
    the whole of Medical-SAM2's loss."""
    supervised: Literal["least_loss", "predicted_best"] = "least_loss"
    """Which of several candidate masks the mask losses are of: the one with the least, or the one that the model would give out."""
    iou_error: Literal["l1", "mse"] = "l1"
    """Absolute or squared error of the expected IoU."""
    supervise_all_iou: bool = True
    """supervise the expected IoU of every candidate; False: only of the supervised one."""
    supervise_absent_iou: bool = False
    """Teach an expected IoU of 0 where the object is absent; False: supervise none there, as SAM 2."""
    slices: Literal["sum", "mean"] = "sum"
    """Slices add up, or: the mean over prompted slices plus the mean over the others (Medical-SAM2)."""

    def __post_init__(self) -> None:
        parts = {name: getattr(self, name) for name in ("focal", "dice", "iou", "object_score", "bce")}
        for name, weight in parts.items():
            if not weight >= 0:
                raise ConfigError(f"the weight of a loss must not be negative; got {name} = {weight:g}")
        if not any(parts.values()):
            raise ConfigError("every loss has weight 0: there is nothing to learn")
