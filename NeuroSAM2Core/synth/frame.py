"""Where a volume's voxels are in the head, and random fields on them. All randomness comes from a passed generator.

A frame is a random pose, zoom, slice direction and smooth deformation. Head coordinates: x to the patient's right, y forward, z up, all in
units in which the brain is about 1.7 long.
"""

import math
from dataclasses import dataclass

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


ORIENTATIONS = ((2, 1, 0), (1, 2, 0), (0, 2, 1))
"""Which of x, y, z runs along the volume's slices, rows and columns: axial, coronal, sagittal."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Head coordinates of every voxel."""

    x: Float[Tensor, "d h w"]
    y: Float[Tensor, "d h w"]
    z: Float[Tensor, "d h w"]
    voxel: float
    """Size of a voxel within a slice, in head units."""

    @property
    def size(self) -> Size:
        """Shape of the volume."""
        d, h, w = self.x.shape
        return d, h, w

    def noise(self, cell: float, generator: torch.Generator) -> Float[Tensor, "d h w"]:
        """Smooth noise with a cell size in head units."""
        return smooth_noise(self.size, cell / self.voxel, generator)

    def depth(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Float[Tensor, "d h w"]:
        """Roughly how deep inside an ellipsoid each voxel is, in head units; negative outside."""
        squares = (
            ((self.x - centre[0]) / radii[0]) ** 2
            + ((self.y - centre[1]) / radii[1]) ** 2
            + ((self.z - centre[2]) / radii[2]) ** 2
        )
        return (1 - squares.sqrt()) * min(radii)


def random_frame(size: Size, generator: torch.Generator) -> Frame:
    """A pose in which the head fills much or little of the slice, upright or turned."""
    device = generator.device
    depth, height, width = size
    voxel = uniform(generator, 0.8, 1.7) * 2 / max(height, width)
    slice_step = voxel * (uniform(generator, 1.0, 3.0) if chance(generator, 0.3) else 1.0)
    grids = torch.meshgrid(
        (torch.arange(depth, device=device) - (depth - 1) / 2) * slice_step,
        ((height - 1) / 2 - torch.arange(height, device=device)) * voxel,
        ((width - 1) / 2 - torch.arange(width, device=device)) * voxel,
        indexing="ij",
    )
    orientation = ORIENTATIONS[int(uniform(generator, 0, 3))]
    axes: list[Tensor] = [grids[0]] * 3
    for place, axis in enumerate(orientation):
        axes[axis] = grids[place]
    along = orientation[0]
    axes[along] = axes[along] + uniform(generator, -0.6, 0.6)
    places = torch.stack([a.flatten() for a in axes])
    shift = torch.tensor([uniform(generator, -0.12, 0.12) for _ in range(3)], device=device)
    places = _rotation(generator, 0.25).to(device) @ (places + shift[:, None])
    x, y, z = (p.view(size) for p in places)
    warp = uniform(generator, 0.02, 0.09)
    cell = uniform(generator, 0.35, 0.8) / voxel
    x, y, z = (p + warp * smooth_noise(size, cell, generator) for p in (x, y, z))
    stretch = [uniform(generator, 0.88, 1.12) for _ in range(3)]
    return Frame(x * stretch[0], y * stretch[1], z * stretch[2], voxel)


def _rotation(generator: torch.Generator, largest: float) -> Float[Tensor, "3 3"]:
    """A rotation by up to `largest` radians about each axis."""
    matrix = torch.eye(3)
    for first, second in ((0, 1), (1, 2), (0, 2)):
        angle = uniform(generator, -largest, largest)
        turn = torch.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix
