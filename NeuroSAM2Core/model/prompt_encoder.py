"""The prompt encoder: points and boxes become tokens, a mask becomes a grid.

Source: Kirillov et al., "Segment Anything", ICCV 2023, section 3 and appendix A.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.layers import LayerNorm2d
from NeuroSAM2Core.model.position import RandomFourier
from NeuroSAM2Core.model.results import Points

NOTHING = -1


class PromptEncoder(nn.Module):
    """Encodes the prompts of B objects on one slice."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        width, narrow = config.width, config.mask_prompt_width
        self.image_size, self.side = config.image_size, config.grid
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

    def tokens(self, points: Points) -> Float[Tensor, "b n1 c"]:
        """One token per point, and one that says that no more follow."""
        places = (points.coords + 0.5) / self.image_size
        encoded = F.pad(self.pe_layer(places), (0, 0, 0, 1))
        labels = F.pad(points.labels, (0, 1), value=NOTHING)[..., None]
        tokens = torch.where(labels == NOTHING, self.not_a_point_embed.weight, encoded)
        for label, embedding in enumerate(self.point_embeddings):
            tokens = tokens + (labels == label) * embedding.weight
        return tokens

    def grid(self, mask_logits: Float[Tensor, "b 1 h w"] | None, batch: int) -> Float[Tensor, "b c s s"]:
        """The mask prompt on the feature grid; a learned constant where there is none."""
        side = self.side
        if mask_logits is None:
            return self.no_mask_embed.weight[..., None, None].expand(batch, -1, side, side)
        if mask_logits.shape[-1] != 4 * side:
            mask_logits = F.interpolate(mask_logits.float(), size=(4 * side, 4 * side), mode="bilinear", antialias=True)
        out: Tensor = self.mask_downscaling(mask_logits)
        return out

    def grid_position(self) -> Float[Tensor, "1 c s s"]:
        """The position encoding of the feature grid, in the points' own dialect."""
        return self.pe_layer.grid(self.side)
