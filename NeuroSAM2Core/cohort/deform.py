"""How one head bends onto another, beyond an affine map: a field of displacements under which the surroundings of each place look alike.

What is compared is not brightness but self-similarity: how alike the neighbours of a voxel are to each other. It is nearly the same in T1
and T2. The field is optimised on three grids, the coarsest one first, and stays smooth.

Source: Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using self-similarities", 2013 (the descriptor);
Siebert, Hansen, Heinrich, "Fast 3D registration with accurate optimisation and little learning for Learn2Reg 2021" (the optimisation).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.optim.adam import adam

from NeuroSAM2Core.errors import Cancelled
from NeuroSAM2Core.registration import Deformation, Registration
from NeuroSAM2Core.registration.between_people import as_transform
from NeuroSAM2Core.registration.register import RAS_TO_LPS, grid_of, sampled, simple_itk
from NeuroSAM2Core.volume import Volume

NEIGHBOURS = tuple((axis, sign) for axis in range(3) for sign in (-1, 1))
PAIRS = tuple((a, b) for a, b in itertools.combinations(NEIGHBOURS, 2) if a[0] != b[0])
"""Of neighbours that are compared with each other: those at right angles."""
MAX_VOXELS = 1 << 20
"""Of a grid; larger images are sampled more coarsely."""
STIFFNESS = 1.25
"""What a displacement that changes by a voxel from one voxel to the next costs, beside the largest difference of a descriptor."""


@dataclass(frozen=True, slots=True)
class Level:
    """A grid that the field is optimised on."""

    spacing_mm: float
    steps: int
    step_vx: float
    """So far a displacement moves in the first step; a tenth of that in the last one."""


LEVELS = (Level(8.0, 60, 0.5), Level(4.0, 40, 0.5), Level(3.0, 25, 0.4))


def deform(
    earlier: Volume, later: Volume, registration: Registration, *, is_cancelled: Callable[[], bool] = lambda: False
) -> Deformation:
    """How one head bends onto another once an affine map has laid it there.

    Args:
        earlier: One head; see `thinned`.
        later: Another one, of any contrast.
        registration: The affine map; see `register_people`.
        is_cancelled: Asked in every step.

    Raises:
        ConfigError: SimpleITK is not installed.
        GeometryError: The axes of one are not at right angles.
        DataError: One is the same everywhere.
        Cancelled: It was asked for.
    """
    sitk = simple_itk()
    affine = as_transform(sitk, registration)
    shift: Tensor | None = None
    for level in LEVELS:
        spacing_mm = max(_least_spacing(later, level.spacing_mm), min(earlier.spacing_mm), min(later.spacing_mm))
        target = sampled(sitk, later, spacing_mm)
        source = sampled(sitk, earlier, spacing_mm)
        moved = sitk.Resample(source, target, affine, sitk.sitkLinear, 0.0)
        covered = sitk.Resample(source * 0 + 1, target, affine, sitk.sitkLinear, 0.0)
        fixed, moving = (self_similarity(_tensor(sitk, one)) for one in (target, moved))
        inside = (_tensor(sitk, covered) > 0.99).float()
        begin = torch.zeros(1, 3, *inside.shape) if shift is None else _on_grid(shift, tuple(inside.shape))
        shift, unlike = optimised(fixed, moving, inside, begin, level, is_cancelled=is_cancelled)
    assert shift is not None, "there are levels"
    grid = grid_of(target)
    to_lps = (RAS_TO_LPS @ grid)[:3, :3]
    field_mm = np.einsum("ab,bkji->kjia", to_lps, shift[0].numpy().astype(np.float64))
    return Deformation(field_mm=field_mm, unlike=unlike.numpy(), ijk_to_ras=grid)


def self_similarity(image: Float[Tensor, "d h w"]) -> Float[Tensor, "12 d h w"]:
    """How alike the neighbours of each voxel are to each other, 0 to 1, for each pair of them; 1 for the most alike pair."""
    padded = functional.pad(image[None, None], [1] * 6, mode="replicate")[0, 0]

    def moved(neighbour: tuple[int, int]) -> Tensor:
        begins = [1 + neighbour[1] * (axis == neighbour[0]) for axis in range(3)]
        return padded[tuple(slice(begin, begin + n) for begin, n in zip(begins, image.shape, strict=True))]

    squares = torch.stack([(moved(a) - moved(b)) ** 2 for a, b in PAIRS])
    patches = functional.avg_pool3d(functional.pad(squares[None], [1] * 6, mode="replicate"), 3, stride=1)[0]
    patches = patches - patches.amin(dim=0)
    noise = patches.mean(dim=0)
    usual = float(noise.mean())
    return torch.exp(-patches / noise.clamp(max(1e-3 * usual, 1e-9), max(1e3 * usual, 1e-9)))


def optimised(
    fixed: Float[Tensor, "c d h w"],
    moving: Float[Tensor, "c d h w"],
    inside: Float[Tensor, "d h w"],
    begin: Float[Tensor, "1 3 d h w"],
    level: Level,
    *,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Float[Tensor, "1 3 d h w"], Float[Tensor, "d h w"]]:
    """Displacements under which the descriptors of two images are alike.

    Args:
        fixed: Of the image that the displacements belong to.
        moving: Of the other one, on the same grid.
        inside: 1 where both images have something, else 0.
        begin: Displacements to begin with, voxels along (i, j, k).
        level: How many steps.
        is_cancelled: Asked in every step.

    Returns:
        The displacements, and what is unlike with them: the mean squared difference of the descriptors.

    Raises:
        Cancelled: It was asked for.
    """
    shift = begin.clone().requires_grad_()
    mean, mean_square, count = torch.zeros_like(begin), torch.zeros_like(begin), torch.zeros(())
    with torch.enable_grad():
        for step in range(level.steps):
            if is_cancelled():
                raise Cancelled
            smooth = _smoothed(shift)
            differences = (warped(moving[None], smooth)[0] - fixed).square().sum(dim=0) * inside
            bends = [smooth.diff(dim=axis).square().mean() for axis in (2, 3, 4) if smooth.shape[axis] > 1]
            loss = differences.mean() + STIFFNESS * sum(bends, torch.zeros(()))
            gradient = torch.autograd.grad(loss, shift)
            # The optimizer class with its compiler costs a process 2.5 s before its first step; the function does the same.
            with torch.no_grad():
                adam(
                    [shift],
                    list(gradient),
                    [mean],
                    [mean_square],
                    [],
                    [count],
                    lr=level.step_vx * 10 ** (-step / level.steps),
                    beta1=0.9,
                    beta2=0.999,
                    eps=1e-8,
                    weight_decay=0.0,
                    amsgrad=False,
                    maximize=False,
                )
    with torch.no_grad():
        found = _smoothed(shift)
        return found, (warped(moving[None], found)[0] - fixed).square().mean(dim=0) * inside + (1 - inside)


def warped(features: Float[Tensor, "1 c d h w"], shift: Float[Tensor, "1 3 d h w"]) -> Float[Tensor, "1 c d h w"]:
    """Features at displaced places; at the border's where that is outside.

    Args:
        features: On a grid.
        shift: Displacements in voxels along (i, j, k).
    """
    depth, height, width = features.shape[2:]
    grid = functional.affine_grid(torch.eye(3, 4)[None], [1, 1, depth, height, width], align_corners=True)
    halves = torch.tensor([max(1, n - 1) / 2 for n in (width, height, depth)])
    return functional.grid_sample(
        features, grid + shift.permute(0, 2, 3, 4, 1) / halves, padding_mode="border", align_corners=True
    )


def _smoothed(shift: Tensor) -> Tensor:
    """Displacements without what changes from voxel to voxel: three means over cubes are nearly a Gaussian."""
    for _ in range(3):
        shift = functional.avg_pool3d(shift, 3, stride=1, padding=1, count_include_pad=False)
    return shift


def _on_grid(shift: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Displacements of a coarser grid over the same place, in the voxels of a finer one."""
    ratio = torch.tensor([new / old for new, old in zip(shape, shift.shape[2:], strict=True)][::-1])
    finer = functional.interpolate(shift, size=shape, mode="trilinear", align_corners=False)
    return finer * ratio.view(1, 3, 1, 1, 1)


def _least_spacing(volume: Volume, spacing_mm: float) -> float:
    """A spacing with which the volume has no more than `MAX_VOXELS`."""
    size_mm3 = math.prod(n * mm for n, mm in zip(volume.shape[::-1], volume.spacing_mm, strict=True))
    return max(spacing_mm, (size_mm3 / MAX_VOXELS) ** (1 / 3))


def _tensor(sitk: Any, image: Any) -> Tensor:  # noqa: ANN401  (SimpleITK is optional)
    return torch.from_numpy(np.asarray(sitk.GetArrayFromImage(image), np.float32))
