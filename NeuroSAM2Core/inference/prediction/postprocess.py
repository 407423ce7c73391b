"""Postprocessing from logits to the final mask: resize, fill small holes, remove islands; then the same in the volume.

Where the logits are on a CUDA device and the compiled kernels are there, masks are cleaned on that device before they leave it.

Converts hole and island sizes from mm to pixels and voxels. Pure.

Enforces clicks: where the predicted mask contradicts a click, it is flipped in a small disc around the click.

A small or untrained model may shrug a click off, and then nothing would change. Where it does, the mask around the click is turned
over. A model that follows its prompts never gets here.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.components import cpu
from NeuroSAM2Core.components.device import fill_holes, is_extension_active, largest_component, remove_islands
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.model.layers import resize_bicubic, values_at
from NeuroSAM2Core.model.sam2 import ABSENT_LOGIT
from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.volume import Axis, MaskCleanup
from NeuroSAM2Core.volume.plane import ball, ball_of_disc, disc


def slice_options(
    options: EngineOptions, cleanup: MaskCleanup, spacing_mm: tuple[float, float, float], axis: Axis
) -> EngineOptions:
    """The clean-up options for the slices along an axis; the engine's defaults where nothing is set.

    Args:
        options: The engine's choices.
        cleanup: The person's.
        spacing_mm: Of the volume along i, j, k.
        axis: That slices are stacked along.
    """
    pixel_mm2 = float(np.prod(spacing_mm)) / dict(zip(Axis, spacing_mm, strict=True))[axis]
    holes, islands = options.max_hole_area, options.min_island_area
    if cleanup.hole_mm is not None:
        holes = largest_below(disc(cleanup.hole_mm, pixel_mm2))
    if cleanup.island_mm is not None:
        islands = math.ceil(disc(cleanup.island_mm, pixel_mm2))
    return replace(options, max_hole_area=holes, min_island_area=islands)


def volume_options(
    options: EngineOptions, cleanup: MaskCleanup, spacing_mm: tuple[float, float, float]
) -> EngineOptions:
    """The clean-up options for a volume: balls as wide as the discs on its slices."""
    voxel_mm3 = float(np.prod(spacing_mm))
    area, holes = options.max_hole_area, None
    if cleanup.hole_mm is not None:
        holes = largest_below(ball(cleanup.hole_mm, voxel_mm3))
    elif area is not None:
        holes = math.floor(ball_of_disc(area))
    if cleanup.island_mm is not None:
        islands = math.ceil(ball(cleanup.island_mm, voxel_mm3))
    else:
        islands = math.ceil(ball_of_disc(options.min_island_area))
    return replace(options, max_hole_volume=holes, min_island_volume=islands)


def largest_below(size: float) -> int:
    """The largest whole number that is smaller than a size; 0 where there is none."""
    return max(0, math.ceil(size) - 1)


Upsampling = Literal["bilinear", "bicubic"]
RINGING_LOGIT = 20.0
"""Logits are limited to this before they are interpolated cubically."""


def at_slice(
    logits: Float[Tensor, "1 1 s4 s4"], crop: Crop, shape: tuple[int, int], options: EngineOptions
) -> Float[Tensor, "h w"]:
    """The logits of a crop at the size of the slice (H, W); surely not the object outside of the crop."""
    inside = to_size(logits, crop.shape, options.upsampling)[0]
    if crop.shape == shape:
        return inside
    full = inside.new_full(shape, ABSENT_LOGIT)
    full[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] = inside
    return full


def to_size(
    logits: Float[Tensor, "n 1 s4 s4"], shape: tuple[int, int], upsampling: Upsampling | None
) -> Float[Tensor, "n h w"]:
    """The logits of N masks at another size. Bicubic ones are limited first: they would ring beside the mark of an absent object."""
    if upsampling == "bicubic":
        return resize_bicubic(logits.float().clamp(-RINGING_LOGIT, RINGING_LOGIT), *shape)[:, 0]
    return F.interpolate(logits.float(), size=shape, mode="bilinear")[:, 0]


def finish(
    logits: Float[Tensor, "1 1 s4 s4"], crop: Crop, shape: tuple[int, int], options: EngineOptions
) -> NDArray[np.bool_]:
    """The mask (H, W) of one slice of the stack."""
    inside = cleaned_slice(to_size(logits, crop.shape, options.upsampling)[0] > 0, options)
    if crop.shape == shape:
        return inside
    mask = np.zeros(shape, bool)
    mask[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] = inside
    return mask


def cleaned_slice(mask: Bool[Tensor, "h w"], options: EngineOptions) -> NDArray[np.bool_]:
    """The mask of a slice without small holes and islands."""
    holes, islands = options.max_hole_area, options.min_island_area
    if mask.device.type == "cuda" and is_extension_active():
        mask = mask if holes == 0 else fill_holes(mask, dims=2, max_area=holes)
        mask = mask if islands <= 1 else remove_islands(mask, dims=2, min_size=islands)
        return np.asarray(mask.cpu().numpy())
    picture = mask.cpu().numpy()
    picture = picture if holes == 0 else cpu.fill_holes(picture, max_area=holes)
    return picture if islands <= 1 else cpu.remove_islands(picture, min_size=islands)


def finish_volume(voxels: NDArray[np.bool_], options: EngineOptions, device: torch.device) -> NDArray[np.bool_]:
    """The mask (K, J, I) of one object, cleaned as a whole.

    Args:
        voxels: The object's slices, put together.
        options: The engine's choices.
        device: Where to do it if the compiled kernels are there.
    """
    if not options.cleans_volume:
        return voxels
    mask = torch.from_numpy(voxels)
    if device.type == "cuda" and is_extension_active():
        mask = mask.to(device)
    if options.max_hole_volume != 0:
        mask = fill_holes(mask, dims=3, max_area=options.max_hole_volume)
    if options.only_largest_part:
        mask = largest_component(mask, dims=3)
    elif options.min_island_volume > 1:
        mask = remove_islands(mask, dims=3, min_size=options.min_island_volume)
    finished: NDArray[np.bool_] = mask.cpu().numpy()
    return finished


RADIUS_PX = 6.0
"""Of what is turned over, in pixels of the slice: more than the holes that are filled and the specks that are dropped by default."""
RADIUS_RATIO = 0.5
"""Likewise as a share of the object's radius (of a disc of its area), where that is less and the click is seen then."""
MIN_GRID_RADIUS: dict[Upsampling, float] = {"bilinear": 1.5, "bicubic": 3.0}
"""Likewise in pixels of the logits, so that interpolation at the click sees nothing else."""
MIN_LOGIT = 1.0


def enforce_clicks(
    logits: Float[Tensor, "1 1 h w"],
    points: Sequence[PointPrompt],
    shape: tuple[int, int],
    options: EngineOptions,
) -> Float[Tensor, "1 1 h w"]:
    """The logits with the sign of every click at its pixel; the last click wins where two contradict each other.

    A part of the mask, or a hole in it, that will be cleaned away does not answer the click in it.

    Args:
        logits: The model's answer.
        points: All clicks on the slice, in order, in pixels of the slice.
        shape: The slice, (H, W).
        options: How the logits will be brought to the size of the slice, and cleaned.
    """
    upsampling = options.upsampling or "bilinear"
    is_cleaned = _are_cleaned_away(logits, points, shape, options)
    if not any(is_cleaned) and agreement(logits, points, shape, upsampling).all():
        return logits
    distances = torch.stack([_distance_px(logits, point, shape) for point in points])
    least = max(MIN_GRID_RADIUS[upsampling] * n / m for n, m in zip(shape, logits.shape[-2:], strict=True))
    own = RADIUS_RATIO * math.sqrt(float((logits > 0).float().mean()) * math.prod(shape) / math.pi) or RADIUS_PX
    for i, point in enumerate(points):
        if not is_cleaned[i] and agreement(logits, [point], shape, upsampling).all():
            continue
        others = [j for j, other in enumerate(points) if other.positive != point.positive]
        size = logits.abs().clamp(min=MIN_LOGIT)
        for radius in (min(own, RADIUS_PX), RADIUS_PX):
            near = distances[i] <= max(radius, least)
            if others and i < len(points) - 1:
                near &= distances[i] <= distances[others].amin(dim=0)
            turned = torch.where(near, size if point.positive else -size, logits)
            if not _are_cleaned_away(turned, [point], shape, options)[0]:
                break
        logits = turned
    return logits


def _are_cleaned_away(
    logits: Float[Tensor, "1 1 h w"], points: Sequence[PointPrompt], shape: tuple[int, int], options: EngineOptions
) -> list[bool]:
    """For each click whether the mask that agrees with it at its pixel no longer does once it is cleaned."""
    if not _may_be_cleaned(logits, points, shape, options):
        return [False] * len(points)
    mask = to_size(logits, shape, options.upsampling)[0] > 0
    cleaned = cleaned_slice(mask, options)
    pixels = [(min(round(p.row), shape[0] - 1), min(round(p.col), shape[1] - 1)) for p in points]
    return [
        bool(mask[at]) == p.positive and bool(cleaned[at]) != p.positive for at, p in zip(pixels, points, strict=True)
    ]


def _may_be_cleaned(
    logits: Float[Tensor, "1 1 h w"], points: Sequence[PointPrompt], shape: tuple[int, int], options: EngineOptions
) -> bool:
    """False where around each click a square has the click's sign that is too large to be cleaned away, even in a corner of the slice."""
    holes = math.prod(shape) if options.max_hole_area is None else options.max_hole_area
    mask = (logits[0, 0] > 0).cpu().numpy()
    scale = [n / m for n, m in zip(mask.shape, shape, strict=True)]
    for point in points:
        reach = math.sqrt(options.min_island_area if point.positive else holes)
        places = [((at + 0.5) * s, reach * s + 1) for at, s in zip((point.row, point.col), scale, strict=True)]
        around = mask[tuple(slice(max(int(at - wide), 0), int(at + wide) + 1) for at, wide in places)]
        if (around != point.positive).any():
            return True
    return False


def agreement(
    logits: Float[Tensor, "1 m h w"],
    points: Sequence[PointPrompt],
    shape: tuple[int, int],
    upsampling: Upsampling = "bilinear",
) -> Bool[Tensor, "m n"]:
    """Whether each of M masks agrees with each of N clicks at its pixel; see `enforce_clicks`."""
    height, width = shape
    rows = [(p.row + 0.5) * logits.shape[-2] / height - 0.5 for p in points]
    cols = [(p.col + 0.5) * logits.shape[-1] / width - 0.5 for p in points]
    if upsampling == "bicubic":
        logits = logits.clamp(-RINGING_LOGIT, RINGING_LOGIT)
    values = values_at(logits[0], rows, cols, upsampling)
    return (values > 0) == torch.tensor([p.positive for p in points], device=logits.device)


def _distance_px(logits: Float[Tensor, "1 1 h w"], point: PointPrompt, shape: tuple[int, int]) -> Float[Tensor, "h w"]:
    """How far each pixel of the logits is from a click, in pixels of the slice."""
    (height, width), (rows, cols) = shape, logits.shape[-2:]
    row = (torch.arange(rows, device=logits.device) + 0.5) * (height / rows) - 0.5 - point.row
    col = (torch.arange(cols, device=logits.device) + 0.5) * (width / cols) - 0.5 - point.col
    return (row[:, None] ** 2 + col[None, :] ** 2).sqrt()
