"""The prompt encoder: points and boxes become tokens, a mask becomes a grid.

Source: Kirillov et al., "Segment Anything", ICCV 2023, section 3 and appendix A.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.layers import LayerNorm2d, RandomFourier, resized, sample_bilinear
from NeuroSAM2Core.model.results import Points

NOTHING, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
RASTER_LOGIT = 10.0
BOX_RASTER_LOGIT = 3.0
BRUSH_RADIUS_PX = 6.0


class PromptEncoder(nn.Module):
    """Encodes the prompts of B objects."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        width, narrow = config.width, config.mask_prompt_width
        self.image_size, self.side = config.image_size, config.grid
        self.rasterize_prompts, self.sample_point_features = config.rasterize_prompts, config.sample_point_features
        self.pe_layer = RandomFourier(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, narrow // 4, kernel_size=2, stride=2),
            LayerNorm2d(narrow // 4),
            nn.GELU(),
            nn.Conv2d(narrow // 4, narrow, kernel_size=2, stride=2),
            LayerNorm2d(narrow),
            nn.GELU(),
            nn.Conv2d(narrow, width, kernel_size=1),
        )
        if config.sample_point_features:
            self.sampled_embed = nn.Linear(width // 4 + width // 8, width, bias=False)
            nn.init.zeros_(self.sampled_embed.weight)

    def tokens(
        self, points: Points, stride8: Float[Tensor, "#b c4 s2 s2"], stride4: Float[Tensor, "#b c8 s4 s4"]
    ) -> Float[Tensor, "b n1 c"]:
        """One token per point, and one that says that no more follow.

        Args:
            points: In model pixels.
            stride8: The slice's own fine features, for models that sample them.
            stride4: Likewise.
        """
        places = (points.coords + 0.5) / self.image_size
        encoded = F.pad(self.pe_layer(places), (0, 0, 0, 1))
        labels = F.pad(points.labels, (0, 1), value=NOTHING)[..., None]
        tokens = torch.where(labels == NOTHING, self.not_a_point_embed.weight, encoded)
        for label, embedding in enumerate(self.point_embeddings.parameters()):
            tokens = tokens + (labels == label) * embedding
        if self.sample_point_features:
            seen = torch.cat([sample_bilinear(grid, places) for grid in (stride8, stride4)], dim=-1)
            tokens = tokens + (labels != NOTHING) * F.pad(self.sampled_embed(seen), (0, 0, 0, 1))
        return tokens

    def grid(
        self, mask_logits: Float[Tensor, "b 1 h w"] | None, points: Points | None, batch: int
    ) -> Float[Tensor, "b c s s"]:
        """The mask prompt on the feature grid; a learned constant where there is none."""
        side = 4 * self.side
        if mask_logits is not None and mask_logits.shape[-1] != side:
            mask_logits = resized(mask_logits.float(), side, side)
        if self.rasterize_prompts and points is not None:
            mask_logits = rasterized(points, mask_logits, side, self.image_size)
        if mask_logits is None:
            return self.no_mask_embed.weight[..., None, None].expand(batch, -1, self.side, self.side)
        if self.rasterize_prompts:
            mask_logits = mask_logits.clamp(-RASTER_LOGIT, RASTER_LOGIT)
        out: Tensor = self.mask_downscaling(mask_logits)
        return out

    def grid_position(self) -> Float[Tensor, "1 c s s"]:
        """The position encoding of the feature grid, as random Fourier features, like the points'."""
        return self.pe_layer.grid(self.side)


def rasterized(
    points: Points, mask_logits: Float[Tensor, "b 1 h h"] | None, side: int, image_size: int
) -> Float[Tensor, "b 1 h h"]:
    """Points and boxes rasterized over the mask prompt: surely not outside all boxes, surely so or not around each click.

    Args:
        points: In model pixels.
        mask_logits: What to rasterize onto; nothing yet if None.
        side: Side of the painting.
        image_size: Side of the model's input.
    """
    pixel = image_size / side
    centre = (torch.arange(side, device=points.coords.device) + 0.5) * pixel - 0.5
    x, y = centre[None, None, :], centre[None, :, None]
    is_box = (points.labels[:, :-1] == TOP_LEFT) & (points.labels[:, 1:] == BOTTOM_RIGHT)
    (left, top), (right, bottom) = (
        corner[..., None, None].unbind(dim=2) for corner in (points.coords[:, :-1], points.coords[:, 1:])
    )
    reach = pixel / 2
    is_in_box = (x >= left - reach) & (x <= right + reach) & (y >= top - reach) & (y <= bottom + reach)
    is_inside = (is_in_box & is_box[..., None, None]).any(dim=1)
    has_box = is_box.any(dim=1)[:, None, None]
    if mask_logits is None:
        canvas = torch.where(has_box, BOX_RASTER_LOGIT, 0.0).expand(-1, side, side)
    else:
        canvas = mask_logits[:, 0].float().clamp(-RASTER_LOGIT, RASTER_LOGIT)
    canvas = torch.where(has_box & ~is_inside, -RASTER_LOGIT, canvas)
    px, py = points.coords[..., None, None].unbind(dim=2)
    labels = points.labels[..., None, None]
    is_click = (labels == POSITIVE) | (labels == NEGATIVE)
    is_near = is_click & ((x[:, None] - px) ** 2 + (y[:, None] - py) ** 2 <= BRUSH_RADIUS_PX**2)
    paint = torch.where(labels == POSITIVE, RASTER_LOGIT, -RASTER_LOGIT)
    for near, value in zip(is_near.unbind(dim=1), paint.unbind(dim=1), strict=True):
        canvas = torch.where(near, value, canvas)
    return canvas[:, None]
