"""Enforces clicks: where the predicted mask contradicts a click, it is flipped in a small disc around the click.

A small or untrained model may shrug a click off, and then nothing would change. Where it does, the mask around the click is turned over.
A model that follows its prompts never gets here.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from NeuroSAM2Core.inference.prediction.postprocess import RINGING_LOGIT, Upsampling
from NeuroSAM2Core.model.interpolation import values_at
from NeuroSAM2Core.prompts import PointPrompt

RADIUS_PX = 6.0
"""Of what is turned over, in pixels of the slice: more than the holes that are filled and the specks that are dropped by default."""
MIN_GRID_RADIUS: dict[Upsampling, float] = {"bilinear": 1.5, "bicubic": 3.0}
"""Likewise in pixels of the logits, so that interpolation at the click sees nothing else."""
MIN_LOGIT = 1.0


def enforce_clicks(
    logits: Float[Tensor, "1 1 h w"],
    points: Sequence[PointPrompt],
    shape: tuple[int, int],
    upsampling: Upsampling = "bilinear",
) -> Float[Tensor, "1 1 h w"]:
    """The logits with the sign of every click at its pixel; the last click wins where two contradict each other.

    Args:
        logits: The model's answer.
        points: All clicks on the slice, in order, in pixels of the slice.
        shape: The slice, (H, W).
        upsampling: How the logits will be brought to the size of the slice.
    """
    if agreement(logits, points, shape, upsampling).all():
        return logits
    distances = torch.stack([_distance_px(logits, point, shape) for point in points])
    radius = max(
        RADIUS_PX, *(MIN_GRID_RADIUS[upsampling] * n / m for n, m in zip(shape, logits.shape[-2:], strict=True))
    )
    for i, point in enumerate(points):
        if agreement(logits, [point], shape, upsampling).all():
            continue
        near = distances[i] <= radius
        others = [j for j, other in enumerate(points) if other.positive != point.positive]
        if others and i < len(points) - 1:
            near &= distances[i] <= distances[others].amin(dim=0)
        size = logits.abs().clamp(min=MIN_LOGIT)
        logits = torch.where(near, size if point.positive else -size, logits)
    return logits


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
