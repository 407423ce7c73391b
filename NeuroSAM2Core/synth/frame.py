"""Where a volume's voxels are in the head: a random pose, zoom, slice direction and smooth deformation.

Head coordinates: x to the patient's right, y forward, z up, all in units in which the brain is about 1.7 long.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.synth.noise import Size, chance, smooth_noise, uniform

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
