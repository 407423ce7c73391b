"""From grey slices in 0 to 1 to the model's normalised square input.

Source: Ravi et al. 2024 (ImageNet normalisation, square resize without keeping the aspect ratio).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.model.interpolation import resized

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def to_square(slices: Float[Tensor, "b h w"], size: int) -> Float[Tensor, "b S S"]:
    """Grey slices at the model's size, whatever their shape; those that have it already stay as they are."""
    if slices.shape[-2:] == (size, size):
        return slices.float()
    return resized(slices[:, None].float(), size, size)[:, 0]


def to_model_input(
    slices: Float[Tensor, "b h w"], size: int, intensity_range: tuple[float, float] = (0.0, 1.0)
) -> Float[Tensor, "b 3 S S"]:
    """Grey slices as the model's input: resized once while they have one channel, then normalised as three.

    Args:
        slices: Intensities from 0 to 1.
        size: Side of the model's input, pixels.
        intensity_range: What 0 and 1 become before they are normalised.
    """
    low, high = intensity_range
    grey = to_square(slices, size)[:, None] * (high - low) + low
    mean, std = (torch.tensor(v, device=grey.device).view(1, 3, 1, 1) for v in (PIXEL_MEAN, PIXEL_STD))
    return (grey - mean) / std
