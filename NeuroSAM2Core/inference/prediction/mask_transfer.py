"""Transfers masks between slices: a box prompt, an interpolated shape, and the candidate with the best overlap.

Memory alone lets small masks grow or dissolve from slice to slice (docs/adr/0013).

Source: shape-based interpolation as in Raya and Udupa, "Shape-based interpolation of multidimensional objects", 1990.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.model import MaskSelector, Points
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, TOP_LEFT

CONFIDENT_LOGIT = 10.0
MIDDLE = 0.8
"""Depth of a place in the middle of a mask, as a share of the deepest place's."""


def box_of_mask(mask: Bool[Tensor, "1 1 h w"], image_size: int, margin_px: float) -> Points | None:
    """The tight box of a mask, a little wider, as a prompt in pixels of the model's input; None for an empty mask.

    Args:
        mask: On the slice before, as seen in the crop of this slice.
        image_size: Side of the model's input, pixels.
        margin_px: How much wider the box is on each side, likewise.
    """
    box = bounding_box(mask[0, 0].cpu().numpy())
    if box is None:
        return None
    rows, cols = box
    scale = image_size / mask.shape[-1]
    low = [ends.start * scale - margin_px for ends in (cols, rows)]
    high = [ends.stop * scale - 1 + margin_px for ends in (cols, rows)]
    corners = torch.tensor([[low, high]], device=mask.device).clamp(0, image_size - 1.0)
    return Points(corners, corners.new_tensor([[TOP_LEFT, BOTTOM_RIGHT]]))


def keeping(mask: Bool[Tensor, "1 1 h w"], weight: float) -> MaskSelector:
    """Chooses the candidate with the largest expected IoU plus `weight` times its Dice with the mask of the slice before."""

    def choose(logits: Float[Tensor, "1 m h w"], ious: Float[Tensor, "1 m"]) -> Int[Tensor, " 1"]:
        return torch.argmax(ious + weight * dice(logits > 0, mask), dim=1)

    return choose


def dice(masks: Bool[Tensor, "1 m h w"], mask: Bool[Tensor, "1 1 h w"]) -> Float[Tensor, "1 m"]:
    """Dice of each mask with another; 0 where both are empty."""
    common = (masks & mask).sum(dim=(2, 3))
    return 2 * common / (masks.sum(dim=(2, 3)) + mask.sum(dim=(2, 3))).clamp(min=1)


def overlap_over_union(one: Bool[Tensor, "1 1 h w"], other: Bool[Tensor, "1 1 h w"]) -> float:
    """The IoU of two masks; 0 where both are empty."""
    return float((one & other).sum() / (one | other).sum().clamp(min=1))


def interpolated(
    before: Bool[Tensor, "1 1 h w"], ahead: Bool[Tensor, "1 1 h w"], distance: int
) -> Float[Tensor, "1 1 h w"]:
    """The logits of a shape between the mask of the slice before and one that lies `distance` slices ahead of this one.

    Args:
        before: On the slice before.
        ahead: On a confirmed slice, in the same crop.
        distance: From this slice to that one, at least 1.
    """
    near, far = (signed_distance(mask[0, 0].cpu().numpy()) for mask in (before, ahead))
    between = (distance * near + far) / (distance + 1)
    logits = torch.from_numpy(between.astype(np.float32)).clamp(-CONFIDENT_LOGIT, CONFIDENT_LOGIT)
    return logits[None, None].to(before.device)


def signed_distance(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Distance to the border of a mask in cells, above 0 inside."""
    return ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)


def is_in_the_middle(mask: Bool[np.ndarray, "h w"], row: int, col: int) -> bool:
    """A cell lies so deep in its part of a mask that it stands for the part as a whole."""
    if not mask[row, col]:
        return False
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    depth = ndimage.distance_transform_edt(np.pad(labels == labels[row, col], 1))[1:-1, 1:-1]
    return bool(depth[row, col] >= MIDDLE * depth.max())
