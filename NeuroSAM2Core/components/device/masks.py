"""Holes, islands and parts of masks on any device: the functions of `NeuroSAM2Core.components.cpu` for tensors.

Objects connect through corners and background through faces, as there. The last two or three dimensions are an image, those before
them a batch. On a CUDA device the compiled kernels do the work where they are there (`is_extension_active`), else the CPU; the results
are the same. Nothing waits for the device.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from NeuroSAM2Core.components.cpu import ONLY_LARGEST, ComponentFilter, Connectivity, corners, dims_of, faces
from NeuroSAM2Core.components.cpu.components import NO_LIMIT
from NeuroSAM2Core.components.device import operators as operators  # defines torch.ops.neurosam2
from NeuroSAM2Core.components.device.extension import why_inactive
from NeuroSAM2Core.errors import ConfigError, DataError

Dims = Literal[2, 3]
Mask = Bool[Tensor, "..."]

REFERENCE_LOGIT = 0.1


def fill_holes(mask: Mask, *, dims: Dims, max_area: int | None = None) -> Mask:
    """The mask with its enclosed background filled in.

    Args:
        mask: (..., H, W) or (..., D, H, W).
        dims: Of an image.
        max_area: Fill only holes of up to this many voxels; None for all.

    Raises:
        DataError: The tensor is no mask, or has too few dimensions.
    """
    _check(mask, dims)
    limit = NO_LIMIT if max_area is None else max_area
    return torch.ops.neurosam2.fill(mask, faces(dims), limit, True)


def remove_islands(mask: Mask, *, dims: Dims, min_size: int) -> Mask:
    """The mask without parts of fewer voxels; the largest part of every image always stays. See `fill_holes`."""
    return _keep(mask, corners(dims), ComponentFilter(min_size=min_size, keeps_largest=True))


def largest_component(mask: Mask, *, dims: Dims) -> Mask:
    """The largest part of every image, the first of several equal ones. See `fill_holes`."""
    return _keep(mask, corners(dims), ONLY_LARGEST)


def label_components(mask: Mask, connectivity: Connectivity) -> Int[Tensor, "..."]:
    """One more than the raster index, in its image, of the first voxel of a voxel's part; 0 for the background.

    Args:
        mask: (..., H, W) for 4 and 8, (..., D, H, W) for 6, 18 and 26.
        connectivity: How many neighbours a voxel has.

    Returns:
        int32; int64 from 2**31 - 1 voxels on.

    Raises:
        ConfigError: There is no such connectivity.
        DataError: As of `fill_holes`.
    """
    _check(mask, dims_of(connectivity))
    return torch.ops.neurosam2.label(mask, connectivity)


@dataclass(frozen=True, slots=True)
class Components:
    """Numbered parts and their statistics; rows that no part has are 0."""

    labels: Int[Tensor, "..."]
    """1, 2, ... in the order of first voxels, in every image."""
    counts: Int[Tensor, "*batch"]
    """Parts of every image; there may be more than rows."""
    sizes: Int[Tensor, "*batch rows"]
    """Voxels."""
    touches_border: Bool[Tensor, "*batch rows"]
    """Some voxel lies on the border of the image."""
    boxes: Int[Tensor, "*batch rows dims 2"]
    """First voxel and one past the last, along every axis."""


def tabulate_components(mask: Mask, connectivity: Connectivity, *, max_parts: int) -> Components:
    """Labels and statistics of the parts of every image.

    Args:
        mask: As of `label_components`.
        connectivity: How many neighbours a voxel has.
        max_parts: Rows of the tables. How many parts there are only the device knows.

    Raises:
        ConfigError: There is no such connectivity, or a negative number of rows.
        DataError: As of `fill_holes`, or an image has no voxel.
    """
    dims = dims_of(connectivity)
    _check(mask, dims)
    if max_parts < 0:
        raise ConfigError(f"max_parts must be at least 0; got {max_parts}")
    if mask.numel() == 0:
        raise DataError(f"a mask of shape {tuple(mask.shape)} has no voxels to tabulate")
    labels, counts, table = torch.ops.neurosam2.tabulate(mask, connectivity, max_parts)
    boxes = torch.stack((table[..., 5 - dims : 5], table[..., 8 - dims : 8]), dim=-1)
    return Components(labels, counts, table[..., 0], table[..., 1] > 0, boxes)


def fill_holes_as_reference(logits: Float[Tensor, "b 1 h w"], *, max_area: int = 8) -> Float[Tensor, "b 1 h w"]:
    """What SAM 2 does to the logits of its video predictor where its own extension is built.

    Background of up to `max_area` pixels, 8-connected and wherever it lies, gets a logit of 0.1: specks and corners of background count
    as holes. Ours is `fill_holes`.
    """
    mask = logits > 0
    _check(mask, 2)
    filled = torch.ops.neurosam2.fill(mask, 8, max_area, False)
    return torch.where(filled & ~mask, REFERENCE_LOGIT, logits)


def for_each_object(
    labels: Int[Tensor, "..."], act: Callable[[Mask], Mask], *, ids: Iterable[int]
) -> Int[Tensor, "..."]:
    """Does something to every object of a label image as if it were alone; see `components.cpu.for_each_object`. `ids` are the objects."""
    result = labels.clone()
    for one in ids:
        before = labels == one
        after = act(before)
        result.masked_fill_(before & ~after, 0)
        result.masked_fill_(after & (labels == 0) & (result == 0), one)
    return result


def _keep(mask: Mask, connectivity: Connectivity, rule: ComponentFilter) -> Mask:
    _check(mask, dims_of(connectivity))
    return torch.ops.neurosam2.keep_parts(
        mask, connectivity, rule.min_size, rule.max_size, rule.is_enclosed, rule.keeps_largest
    )


def _check(mask: Tensor, dims: int) -> None:
    if mask.dtype is not torch.bool:
        raise DataError(f"a mask is a bool tensor; got {mask.dtype}", hint="compare logits with 0 first")
    if mask.ndim < dims:
        raise DataError(f"a {dims}-D mask needs {dims} dimensions or more; got shape {tuple(mask.shape)}")
    if mask.device.type == "cuda" and not torch.compiler.is_compiling():
        why_inactive()  # loads the kernels, or tells once
