"""Postprocessing from logits to the final mask: resize, fill small holes, remove islands; then the same in the volume.

Where the logits are on a CUDA device and the compiled kernels are there, masks are cleaned on that device before they leave it.
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.components.device import fill_holes, is_extension_active, largest_component, remove_islands
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.model.interpolation import resize_bicubic
from NeuroSAM2Core.model.sam2 import ABSENT_LOGIT

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
    mask = _where_cleaned(at_slice(logits, crop, shape, options) > 0)
    if options.max_hole_area != 0:
        mask = fill_holes(mask, dims=2, max_area=options.max_hole_area)
    if options.min_island_area > 1:
        mask = remove_islands(mask, dims=2, min_size=options.min_island_area)
    finished: NDArray[np.bool_] = mask.cpu().numpy()
    return finished


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


def _where_cleaned(mask: Bool[Tensor, "..."]) -> Bool[Tensor, "..."]:
    """The mask where it is cleaned: on its device if the kernels are there, else on the CPU."""
    return mask if mask.device.type == "cuda" and is_extension_active() else mask.cpu()
