"""The memory encoder: a slice's features and its mask become one small grid to remember.

Source: Ravi et al. 2024, section 4, "Memory encoder"; Liu et al., "A ConvNet for the 2020s", CVPR 2022 (the fuser's blocks).
"""

from collections import OrderedDict
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.layers import LayerNorm2d

MASK_CHANNELS = (1, 4, 16, 64, 256)
LAYER_SCALE_INIT = 1e-6


class MemoryEncoder(nn.Module):
    """Features plus mask, mixed by two ConvNeXt blocks and narrowed to the memory's width."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        width = config.width
        self.mask_downsampler = MaskDownsampler(width)
        self.pix_feat_proj = nn.Conv2d(width, width, kernel_size=1)
        self.fuser = nn.Sequential(OrderedDict(layers=nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width))))
        self.out_proj = nn.Conv2d(width, config.memory_width, kernel_size=1)

    def forward(self, features: Float[Tensor, "#b c s s"], mask: Float[Tensor, "b 1 S S"]) -> Float[Tensor, "b cm s s"]:
        """What to remember of a slice.

        Args:
            features: The slice's own coarse features, before memory touched them.
            mask: The mask, scaled for memory, at the size of the model's input.
        """
        out: Tensor = self.out_proj(self.fuser(self.pix_feat_proj(features) + self.mask_downsampler(mask)))
        return out


class MaskDownsampler(nn.Module):
    """A mask brought to stride 16 by four strided convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(MASK_CHANNELS):
            layers += [nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1), LayerNorm2d(after), nn.GELU()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(MASK_CHANNELS[-1], width, kernel_size=1))

    def forward(self, mask: Float[Tensor, "b 1 S S"]) -> Float[Tensor, "b c s s"]:
        """The mask as features."""
        out: Tensor = self.encoder(mask)
        return out


class ConvNeXtBlock(nn.Module):
    """A depth-wise 7 x 7 convolution and a feed-forward part, scaled and added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), LAYER_SCALE_INIT))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The block's residual update."""
        y = self.norm(self.dwconv(x)).movedim(1, -1)
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(y)))
        return x + y.movedim(-1, 1)
