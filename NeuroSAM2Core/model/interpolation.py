"""Two interpolations whose gradients PyTorch adds up in any order on a GPU, in another form where every bit must be the same each time.

The forms agree within float noise; the slower ones are only used under `torch.use_deterministic_algorithms`.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor


def stretched(grid: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c h2 w2"]:
    """A small picture at another size, bicubic."""
    if not torch.are_deterministic_algorithms_enabled():
        return F.interpolate(grid, size=(height, width), mode="bicubic")
    rows, cols = (_bicubic_matrix(a, b, grid) for a, b in ((grid.shape[2], height), (grid.shape[3], width)))
    return rows @ grid @ cols.T


def sampled(grid: Float[Tensor, "b c h w"], places: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n c"]:
    """The features of a grid at some places, (x, y) from 0 to 1, interpolated; beyond the border, those of the border."""
    grid = grid.float()
    if not torch.are_deterministic_algorithms_enabled():
        at = F.grid_sample(grid, 2 * places[:, None] - 1, mode="bilinear", padding_mode="border", align_corners=False)
        return at[:, :, 0].mT
    height, width = grid.shape[2:]
    size = torch.tensor([width, height], device=grid.device)
    place = (places * size - 0.5).clamp(min=0).minimum(size - 1.0)
    low = place.floor()
    share = place - low
    x0, y0 = low.long().unbind(-1)
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    right, below = share.split(1, dim=-1)
    batch = torch.arange(len(grid), device=grid.device)[:, None]
    pixels = grid.permute(0, 2, 3, 1)
    upper = pixels[batch, y0, x0] * (1 - right) + pixels[batch, y0, x1] * right
    lower = pixels[batch, y1, x0] * (1 - right) + pixels[batch, y1, x1] * right
    return upper * (1 - below) + lower * below


def _bicubic_matrix(before: int, after: int, like: Tensor) -> Float[Tensor, "after before"]:
    """What bicubic interpolation does along one axis."""
    unit = torch.eye(before, dtype=like.dtype, device=like.device)
    return F.interpolate(unit[None, None], size=(after, before), mode="bicubic")[0, 0]
