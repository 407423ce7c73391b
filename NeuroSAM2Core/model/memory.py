"""Memory: a slice's features and its mask become a grid to remember, and the features of other slices look at it.

Memory attention: a slice's features look at what is remembered of other slices.

Two exact rearrangements keep it cheap. A memory's key is the sum of a part that never changes while it is remembered (`keys_of`) and
a part that depends only on its temporal slot (`slot_keys`), since rotation and projection are linear; both may be kept. And values are
projected after they are mixed, not before, where the small width of memories makes that cheaper.

Source: Ravi et al. 2024, section 4, "Memory attention"; appendix D.1.

The memory encoder: a slice's features and its mask become one small grid to remember.

Source: Ravi et al. 2024, section 4, "Memory encoder"; Liu et al., "A ConvNet for the 2020s", CVPR 2022 (the fuser's blocks).
"""

from collections import OrderedDict
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Complex, Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.layers import (
    LayerNorm2d,
    axial_rotations,
    merge_heads,
    rotate,
    sine_grid,
    split_heads,
    tokens_of,
)

POSITION_WEIGHT = 0.1
QUERIES_AT_ONCE = 128

LayerKeys = tuple[Float[Tensor, "_ _ _"], ...]
"""One tensor of rotated keys per layer of memory attention."""


class SelfAttention(nn.Module):
    """Rotary self-attention over one grid."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n c"], rotations: Complex[Tensor, "n c2"]) -> Float[Tensor, "b n c"]:
        """Every token's mixture of the grid."""
        q, k = (rotate(split_heads(proj(x), 1), rotations) for proj in (self.q_proj, self.k_proj))
        v = split_heads(self.v_proj(x), 1)
        dropout = self.dropout if self.training else 0.0
        out: Tensor = self.out_proj(merge_heads(F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)))
        return out


class CrossAttention(nn.Module):
    """Rotary attention from a grid to memory tokens, which are narrower."""

    def __init__(self, width: int, memory_width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(memory_width, width)
        self.v_proj = nn.Linear(memory_width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "#b n c"],
        keys: Float[Tensor, "b m c"],
        memory: Float[Tensor, "b m cm"],
        rotations: Complex[Tensor, "n c2"],
    ) -> Float[Tensor, "b n c"]:
        """Every token's mixture of the memory; `keys` are already projected and rotated."""
        q = rotate(split_heads(self.q_proj(x), 1), rotations)
        if (
            x.device.type != "cpu"
            or self.training
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled(x.device.type)
        ):
            # Fused kernels want keys and values of one width.
            dropout = self.dropout if self.training else 0.0
            v = split_heads(self.v_proj(memory), 1)
            q = q.expand(len(v), -1, -1, -1)
            mixed = merge_heads(F.scaled_dot_product_attention(q, split_heads(keys, 1), v, dropout_p=dropout))
        else:
            mixed = self.v_proj(_mix(q[:, 0], keys, memory))
        out: Tensor = self.out_proj(mixed)
        return out


def _mix(
    q: Float[Tensor, "#b n c"], keys: Float[Tensor, "b m c"], memory: Float[Tensor, "b m cm"]
) -> Float[Tensor, "b n cm"]:
    """Attention with the memory itself as values, a few queries at a time so that a CPU's cache holds their weights.

    In float32 that beats the fused kernel.
    """
    q = q * q.shape[-1] ** -0.5
    keys = keys.transpose(1, 2)
    return torch.cat([(some @ keys).softmax(dim=-1) @ memory for some in q.split(QUERIES_AT_ONCE, dim=1)], dim=1)


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to memory, feed-forward; each normalised first and added."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        width, dropout = config.width, config.memory_dropout
        self.self_attn = SelfAttention(width, dropout)
        self.cross_attn_image = CrossAttention(width, config.memory_width, dropout)
        self.linear1 = nn.Linear(width, config.memory_mlp_width)
        self.linear2 = nn.Linear(config.memory_mlp_width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "#b n c"],
        keys: Float[Tensor, "b m c"],
        memory: Float[Tensor, "b m cm"],
        rotations: Complex[Tensor, "n c2"],
    ) -> Float[Tensor, "b n c"]:
        """The layer's update of the slice's tokens."""
        x = x + self.dropout(self.self_attn(self.norm1(x), rotations))
        x = x + self.dropout(self.cross_attn_image(self.norm2(x), keys, memory, rotations))
        hidden = self.dropout(F.relu(self.linear1(self.norm3(x))))
        out: Tensor = x + self.dropout(self.linear2(hidden))
        return out


class MemoryAttention(nn.Module):
    """The stack of layers and the keys they look memories up by."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.width, self.memory_width = config.width, config.memory_width
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.memory_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, features: Float[Tensor, "#b c s s"], keys: LayerKeys, memory: Float[Tensor, "b m cm"]
    ) -> Float[Tensor, "b n c"]:
        """The slice's tokens after they have seen the memory.

        Args:
            features: The slice's own coarse features; objects on one slice share all that comes before memory is looked at.
            keys: Rotated keys of every memory token, one tensor per layer.
            memory: The memory tokens themselves.
        """
        side = features.shape[-1]
        position = sine_grid(self.width, side, side, features.device).to(features.dtype)
        x = tokens_of(features + POSITION_WEIGHT * position)
        rotations = axial_rotations(self.width, side, features.device)
        for layer, layer_keys in zip(self.layers, keys, strict=True):
            x = layer(x, layer_keys, memory, rotations)
        out: Tensor = self.norm(x)
        return out

    def keys_of(self, memory: Float[Tensor, "b cm s s"]) -> LayerKeys:
        """The part of a spatial memory's keys that does not depend on when it was."""
        side = memory.shape[-1]
        placed = tokens_of(memory + sine_grid(self.memory_width, side, side, memory.device).to(memory.dtype))
        rotations = axial_rotations(self.width, side, memory.device)
        return tuple(rotate(projection(placed), rotations) for projection in self._projections())

    def slot_keys(self, slots: Float[Tensor, "k cm"], side: int) -> LayerKeys:
        """The part of the keys that depends only on the temporal slot: per layer (K, s * s, C)."""
        rotations = axial_rotations(self.width, side, slots.device)
        return tuple(
            rotate(F.linear(slots, projection.weight)[:, None].expand(-1, side * side, -1), rotations)
            for projection in self._projections()
        )

    def pointer_keys(self, placed: Float[Tensor, "b p cm"]) -> LayerKeys:
        """The keys of pointer tokens, position included; they have no place in the grid and are not rotated."""
        return tuple(projection(placed) for projection in self._projections())

    def _projections(self) -> list[nn.Linear]:
        return [cast(MemoryAttentionLayer, layer).cross_attn_image.k_proj for layer in self.layers]


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
