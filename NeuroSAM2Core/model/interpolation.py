"""Interpolation as products of small matrices: one form on every device, whose gradients have the same bits each time.

PyTorch's own kernels will not do everywhere: on MPS, bicubic and antialiased resizing, sampling beyond the border and the gradient of
sampling are missing in some versions since 2.5; on CUDA their gradients are added up in any order. Interpolation along two axes is
separable, so that each axis is one matrix; the weights are those of PyTorch's kernels.

Source: Keys, "Cubic convolution interpolation for digital image processing", 1981 (with a = -0.75).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Kernel = Literal["bilinear", "bicubic"]
CUBIC_A = -0.75


def resize_bicubic(grid: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c h2 w2"]:
    """A small picture at another size, bicubic."""
    return _along_both(grid, _upsampling_matrix(grid.shape[2], height), _upsampling_matrix(grid.shape[3], width))


def resized(grid: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c h2 w2"]:
    """A picture at another size, bilinear; where it shrinks, every pixel counts (antialiased)."""
    return _along_both(grid, _downsampling_matrix(grid.shape[2], height), _downsampling_matrix(grid.shape[3], width))


def sample_bilinear(grid: Float[Tensor, "#b c h w"], places: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n c"]:
    """The features of a grid at some places, (x, y) from 0 to 1, interpolated; beyond the border, those of the border."""
    grid = grid.float()
    height, width = grid.shape[2:]
    size = torch.tensor([width, height], device=grid.device)
    place = (places * size - 0.5).clamp(min=0).minimum(size - 1.0)
    low = place.floor()
    right, below = (place - low).split(1, dim=-1)
    x0, y0 = low.long().unbind(-1)
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    batch = torch.arange(len(grid), device=grid.device)[:, None]
    pixels = grid.permute(0, 2, 3, 1)
    upper = torch.lerp(pixels[batch, y0, x0], pixels[batch, y0, x1], right)
    lower = torch.lerp(pixels[batch, y1, x0], pixels[batch, y1, x1], right)
    return torch.lerp(upper, lower, below)


def values_at(
    maps: Float[Tensor, "m h w"], rows: Sequence[float], cols: Sequence[float], kernel: Kernel
) -> Float[Tensor, "m n"]:
    """The values of some maps at N places, in pixels from the centre of the first one; beyond the border, those of the border."""
    (row, down), (col, across) = (
        _taps(np.asarray(places, np.float64), size, kernel)
        for places, size in zip((rows, cols), maps.shape[1:], strict=True)
    )
    pixels, weights = (
        torch.from_numpy(one).to(maps.device)
        for one in (row[:, :, None] * maps.shape[2] + col[:, None], down[:, :, None] * across[:, None])
    )
    return (maps.float().flatten(1)[:, pixels] * weights).sum(dim=(-2, -1))


def _along_both(
    grid: Float[Tensor, "b c h w"], rows: Float[Tensor, "h2 h"], cols: Float[Tensor, "w2 w"]
) -> Float[Tensor, "b c h2 w2"]:
    rows, cols = (matrix.to(grid.device) for matrix in (rows, cols))
    with torch.autocast(grid.device.type, enabled=False):
        return (rows @ grid.float() @ cols.T).to(grid.dtype)


@lru_cache(maxsize=64)
def _upsampling_matrix(before: int, after: int) -> Float[Tensor, "after before"]:
    """What bicubic interpolation does along one axis."""
    places = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * np.float32(before / after) - np.float32(0.5)
    return _tensor(_weights(places.astype(np.float64), before, "bicubic"))  # rounded as PyTorch's kernel does


@lru_cache(maxsize=64)
def _downsampling_matrix(before: int, after: int) -> Float[Tensor, "after before"]:
    """What antialiased bilinear interpolation does along one axis: a triangle, as wide as the pixels that become one."""
    centres = (np.arange(after) + 0.5) * (before / after) - 0.5
    distances = np.abs(np.arange(before) - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distances / max(before / after, 1.0))
    return _tensor((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def _weights(places: NDArray[np.float64], size: int, kernel: Kernel) -> NDArray[np.float32]:
    """How much each of `size` pixels counts at some places, (N, size)."""
    weights = np.zeros((len(places), size), np.float32)
    pixels, taps = _taps(places, size, kernel)
    np.add.at(weights, (np.arange(len(places))[:, None], pixels), taps)
    return weights


def _taps(places: NDArray[np.float64], size: int, kernel: Kernel) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The pixels that count at some places, and how much each does, both (N, taps); the border goes on for ever."""
    low = np.floor(places)
    fraction = places - low
    weights, first = [1 - fraction, fraction], 0
    if kernel == "bicubic":
        weights, first = [_far(1 + fraction), _near(fraction), _near(1 - fraction), _far(2 - fraction)], -1
    pixels = (low[:, None] + np.arange(first, first + len(weights))).clip(0, size - 1).astype(np.int64)
    return pixels, np.stack(weights, axis=1).astype(np.float32)


def _near(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic kernel up to a distance of 1."""
    return ((CUBIC_A + 2) * distance - (CUBIC_A + 3)) * distance**2 + 1


def _far(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic kernel from 1 to 2."""
    return CUBIC_A * (((distance - 5) * distance + 8) * distance - 4)


def _tensor(weights: NDArray[np.float32]) -> Tensor:
    """Kept from call to call, also by those that train: an inference tensor would not do."""
    with torch.inference_mode(False):
        return torch.from_numpy(weights)
