"""Random fields and small tools on grids: smooth noise, uniform draws, blur, dilation. All randomness comes from a passed generator."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

Size = tuple[int, int, int]


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """One number."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def chance(generator: torch.Generator, probability: float) -> bool:
    """True with the given probability."""
    return uniform(generator) < probability


def smooth_noise(
    size: Size, cell: float | tuple[float, float, float], generator: torch.Generator
) -> Float[Tensor, "d h w"]:
    """Normal noise on a coarse grid of the given cell size in voxels, interpolated: mean 0, deviation about 0.6."""
    cells = cell if isinstance(cell, tuple) else (cell, cell, cell)
    coarse = [max(2, math.ceil(n / max(c, 1.0)) + 1) for n, c in zip(size, cells, strict=True)]
    field = torch.randn(1, 1, *coarse, generator=generator, device=generator.device)
    return F.interpolate(field, size=size, mode="trilinear", align_corners=True)[0, 0]


def blur(x: Float[Tensor, "d h w"], sigma: tuple[float, float, float]) -> Float[Tensor, "d h w"]:
    """Gaussian blur with a deviation in voxels for each axis; 0 leaves the axis alone."""
    y = x[None, None]
    for axis, s in enumerate(sigma):
        if s < 0.2:
            continue
        radius = max(1, round(2.5 * s))
        offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
        kernel = torch.exp(-0.5 * (offsets / s) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = -1
        pad = [0] * 6
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = radius
        y = F.conv3d(F.pad(y, pad, mode="replicate"), (kernel / kernel.sum()).view(shape))
    return y[0, 0]


def dilate(mask: Bool[Tensor, "d h w"], steps: int) -> Bool[Tensor, "d h w"]:
    """Grown by about `steps` voxels: a cross and a cube in turn, which together are nearly round."""
    for step in range(steps):
        grown = mask.clone()
        for axis in range(3):
            source = grown.clone() if step % 2 else mask
            upper, lower = _along(axis, slice(1, None)), _along(axis, slice(None, -1))
            grown[upper] |= source[lower]
            grown[lower] |= source[upper]
        mask = grown
    return mask


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def border(sign: Bool[Tensor, "d h w"]) -> Bool[Tensor, "d h w"]:
    """The sheet, about two voxels thick, on both sides of where `sign` changes."""
    return dilate(sign, 1) & dilate(~sign, 1)
