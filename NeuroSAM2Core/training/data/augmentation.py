"""Random changes to a clip, as MONAI transforms: one draw for all slices, all of it from a seed.

Slices are channels here, so that a change is the same on every one of them and costs as much as on a picture.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from monai.transforms import (
    Compose,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSharpend,
    RandGaussianSmoothd,
    RandHistogramShiftd,
    RandRotate90d,
)
from torch import Tensor

from NeuroSAM2Core.training.config.data import AugmentationConfig
from NeuroSAM2Core.training.data.transforms import IMAGE

MASKS = "masks"
BOTH = (IMAGE, MASKS)
ELASTIC_CELL = 32
"""Pixels between the places whose shifts are drawn."""
ELASTIC_SHIFT = (0.0, 6.0)
"""Smallest and largest deviation of the shifts, pixels."""


class Augmentation:
    """Changes clips as configured.

    Args:
        config: How often.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        self._shapes = Compose(
            [
                RandFlipd(BOTH, prob=config.flip, spatial_axis=0),
                RandFlipd(BOTH, prob=config.flip, spatial_axis=1),
                RandRotate90d(BOTH, prob=config.rotate, max_k=3),
                Rand2DElasticd(
                    BOTH,
                    spacing=(ELASTIC_CELL, ELASTIC_CELL),
                    magnitude_range=ELASTIC_SHIFT,
                    prob=config.elastic,
                    mode=("bilinear", "nearest"),
                    padding_mode="zeros",
                ),
            ]
        )
        self._intensities = Compose(
            [
                RandAdjustContrastd(IMAGE, prob=config.contrast, gamma=(0.5, 2.0)),
                RandHistogramShiftd(IMAGE, prob=config.histogram_shift, num_control_points=10),
                RandGaussianSmoothd(IMAGE, prob=config.smoothing),
                RandGaussianSharpend(IMAGE, prob=config.sharpening),
                RandGaussianNoised(IMAGE, prob=config.noise, std=0.05),
            ]
        )

    def __call__(
        self, images: Float[Tensor, "t s s"], masks: Bool[Tensor, "o t s s"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "t s s"], Bool[Tensor, "o t s s"]]:
        """The clip as it will be shown; a deformation that takes an object off the first slice is not made."""
        shapes, intensities = (int(seed) for seed in rng.integers(2**32, size=2, dtype=np.uint64))
        self._shapes.set_random_state(seed=shapes)
        self._intensities.set_random_state(seed=intensities)
        moved = self._shapes({IMAGE: images, MASKS: masks.flatten(0, 1).float()})
        moved_masks = torch.as_tensor(moved[MASKS]).view(masks.shape) > 0.5
        if (moved_masks[:, 0].flatten(1).any(dim=1) == masks[:, 0].flatten(1).any(dim=1)).all():
            images, masks = torch.as_tensor(moved[IMAGE]), moved_masks
        changed = self._intensities({IMAGE: images})[IMAGE]
        return torch.as_tensor(changed).float().clamp(0, 1).contiguous(), masks.contiguous()
