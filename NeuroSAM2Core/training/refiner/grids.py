"""The grid of a view and the finer one that it is drawn on, and smooth random fields on them."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float32, Shaped

from NeuroSAM2Core.model.mask_refiner import SIDE

PIXELS_PER_CELL = 2
FINE = SIDE * PIXELS_PER_CELL
"""Side of the finer grid, pixels."""


def pooled(fine: Shaped[np.ndarray, "128 128"]) -> Float32[np.ndarray, "64 64"]:
    """The mean of each cell's pixels; of a mask, the share of the cell that it covers."""
    pixels = fine.reshape(SIDE, PIXELS_PER_CELL, SIDE, PIXELS_PER_CELL)
    return np.asarray(pixels.mean(axis=(1, 3), dtype=np.float32))


def smooth_field(rng: np.random.Generator, knots: int, side: int) -> Float32[np.ndarray, "side side"]:
    """Standard normal values on `knots` x `knots` places, the outermost ones at the border, and what lies between them."""
    values = torch.from_numpy(rng.standard_normal((1, 1, knots, knots), dtype=np.float32))
    enlarged = F.interpolate(values, size=(side, side), mode="bilinear", align_corners=True)
    return np.asarray(enlarged[0, 0].numpy())
