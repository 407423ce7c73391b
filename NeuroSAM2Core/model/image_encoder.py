"""The image encoder: Hiera's stages joined by a small feature pyramid into the three levels that the rest of the model uses.

Source: Ravi et al. 2024, section 4 and appendix D.1; Lin et al., "Feature Pyramid Networks", CVPR 2017.

From grey slices in 0 to 1 to the model's normalised square input.

Source: Ravi et al. 2024 (ImageNet normalisation, square resize without keeping the aspect ratio).

Hiera: the image encoder's trunk. Four stages of transformer blocks; most attend within windows, a few over the whole grid.

Pictures are channels-last here. The reference pads the grid to whole windows and lets the padding take part in attention; the same
function is computed here without it: windows at the border hold fewer tokens, and all their padding is one more key and value (those
of an empty token) that counts as often as there is padding.

Source: Ryali et al., "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", ICML 2023; Ravi et al. 2024, app. D.1.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import HieraConfig, SAM2Config
from NeuroSAM2Core.model.layers import MLP, merge_heads, resize_bicubic, resized
from NeuroSAM2Core.model.results import ImageFeatures

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def to_square(slices: Float[Tensor, "b h w"], size: int) -> Float[Tensor, "b S S"]:
    """Grey slices at the model's size, whatever their shape; those that have it already stay as they are."""
    if slices.shape[-2:] == (size, size):
        return slices.float()
    return resized(slices[:, None].float(), size, size)[:, 0]


def to_model_input(
    slices: Float[Tensor, "b h w"], size: int, intensity_range: tuple[float, float] = (0.0, 1.0)
) -> Float[Tensor, "b 3 S S"]:
    """Grey slices as the model's input: resized once while they have one channel, then normalised as three.

    Args:
        slices: Intensities from 0 to 1.
        size: Side of the model's input, pixels.
        intensity_range: What 0 and 1 become before they are normalised.
    """
    low, high = intensity_range
    grey = to_square(slices, size)[:, None] * (high - low) + low
    mean, std = (torch.tensor(v, device=grey.device).view(1, 3, 1, 1) for v in (PIXEL_MEAN, PIXEL_STD))
    return (grey - mean) / std


LAYER_NORM_EPS = 1e-6
STRIP_TOKENS = 4096


class Hiera(nn.Module):
    """The trunk: an image in, the grid of each stage out."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.width, *config.background_grid))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, config.width, config.windows[0], config.windows[0]))
        self.blocks = nn.ModuleList(_blocks(config))
        self.last_of_stage = [sum(config.stages[: i + 1]) - 1 for i in range(4)]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """The four stages' outputs, channels-first, finest (stride 4) first."""
        x = self.patch_embed(images)
        x = x + self._position(x.shape[1], x.shape[2])
        stages = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.last_of_stage:
                stages.append(x.permute(0, 3, 1, 2))
        return stages

    def _position(self, height: int, width: int) -> Float[Tensor, "1 h w c"]:
        window = self.pos_embed_window
        background = resize_bicubic(self.pos_embed, height, width)
        tiles = window.tile(1, 1, height // window.shape[2], width // window.shape[3])
        return (background + tiles).permute(0, 2, 3, 1)


class PatchEmbed(nn.Module):
    """Overlapping 7 x 7 patches at stride 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=7, stride=4, padding=3)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h4 w4 c"]:
        """One token per patch."""
        out: Tensor = self.proj(images)
        return out.permute(0, 2, 3, 1)


def _blocks(config: HieraConfig) -> Iterator["Block"]:
    """Every block of the trunk in order. The first block of a stage still has the window of the stage before: it does the pooling."""
    width, heads = config.width, config.num_heads
    index = 0
    for stage, depth in enumerate(config.stages):
        for place in range(depth):
            pools = stage > 0 and place == 0
            window = config.windows[stage - 1 if pools else stage]
            out = 2 * width if pools else width
            heads = 2 * heads if pools else heads
            yield Block(width, out, heads, window=0 if index in config.global_blocks else window, pools=pools)
            width = out
            index += 1


class Block(nn.Module):
    """One transformer block; the first of a stage halves the grid and doubles the channels."""

    def __init__(self, width: int, out: int, heads: int, *, window: int, pools: bool) -> None:
        super().__init__()
        self.pools = pools
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = WindowAttention(width, out, heads, window=window, pools=pools)
        self.norm2 = nn.LayerNorm(out, eps=LAYER_NORM_EPS)
        self.mlp = MLP(out, 4 * out, out, activation=nn.GELU)
        if pools:
            self.proj = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c2"]:
        """Attention, then the feed-forward part, each on top of what was there.

        A windowed block does nothing across windows, so that a CPU can take a large grid in strips that stay in its cache.
        """
        window = self.attn.window
        if window == 0 or x.device.type != "cpu" or torch.is_grad_enabled():
            return self._whole(x)
        rows = max(1, STRIP_TOKENS // (window * x.shape[2])) * window
        return torch.cat([self._whole(strip) for strip in x.split(rows, dim=1)], dim=1)

    def _whole(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c2"]:
        y = self.norm1(x)
        if self.pools:
            x = max_pool(self.proj(y))
        x = x + self.attn(y)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class WindowAttention(nn.Module):
    """Multi-head attention within windows of a grid (`window` 0: over all of it); optionally the queries are pooled 2 x 2."""

    def __init__(self, width: int, out: int, heads: int, *, window: int, pools: bool) -> None:
        super().__init__()
        assert not (pools and window % 2), "a pooled window has an even side"
        self.heads, self.window, self.pools = heads, window, pools
        self.qkv = nn.Linear(width, 3 * out)
        self.proj = nn.Linear(out, out)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c2"]:
        """The grid after every token has looked at its window."""
        height, width = x.shape[1:3]
        side = self.window or max(height, width)
        qkv = self.project_in(x)
        if self.window == 0 or (height % side == 0 and width % side == 0):
            attended = self._attend(qkv, min(side, height), min(side, width), padding=0)
        else:
            attended = torch.cat(
                [
                    torch.cat(
                        [
                            self._attend(qkv[:, top:bottom, left:right], h, w, padding=side * side - h * w)
                            for left, right, w in _spans(width, side)
                        ],
                        dim=2,
                    )
                    for top, bottom, h in _spans(height, side)
                ],
                dim=1,
            )
        return self.project_out(attended)

    def project_in(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c3"]:
        """Queries, keys and values side by side."""
        qkv: Tensor = self.qkv(x)
        return qkv

    def project_out(self, attended: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Output projection."""
        out: Tensor = self.proj(attended)
        return out

    def _attend(self, qkv: Float[Tensor, "b h w c3"], h: int, w: int, *, padding: int) -> Float[Tensor, "b h2 w2 c"]:
        """Attention within each h x w window of a grid that they fill exactly."""
        batch, height, width, _ = qkv.shape
        rows, columns = height // h, width // w
        windows = qkv.view(batch, rows, h, columns, w, -1).transpose(2, 3).reshape(batch * rows * columns, h, w, -1)
        q, k, v = windows.chunk(3, dim=-1)
        if self.pools:
            q = max_pool(q)
            h, w = h // 2, w // 2
        q, k, v = (t.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        bias = None
        if padding:
            _, empty_k, empty_v = self.qkv.bias.to(k.dtype).view(3, 1, self.heads, 1, -1)
            k = torch.cat((k, empty_k.expand(len(k), -1, -1, -1)), dim=2)
            v = torch.cat((v, empty_v.expand(len(v), -1, -1, -1)), dim=2)
            bias = q.new_zeros(1, 1, 1, k.shape[2])
            bias[..., -1] = math.log(padding)
            bias = bias.expand(1, 1, q.shape[2], -1)
        y = merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
        return y.view(batch, rows, columns, h, w, -1).transpose(2, 3).reshape(batch, rows * h, columns * w, -1)


def _spans(length: int, side: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, window side) of the whole windows along an axis, then of the cut one at its end."""
    whole = length - length % side
    if whole:
        yield 0, whole, side
    if whole < length:
        yield whole, length, length - whole


def max_pool(x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c"]:
    """The largest of each 2 x 2 tokens, per channel."""
    rows = torch.maximum(x[:, ::2], x[:, 1::2])
    return torch.maximum(rows[:, :, ::2], rows[:, :, 1::2])


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.trunk = Hiera(config.trunk)
        self.neck = Neck(config.trunk.stage_widths, config.width)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], *, to_stride8: nn.Conv2d, to_stride4: nn.Conv2d
    ) -> ImageFeatures:
        """Encodes normalised images; the two fine levels leave through the mask decoder's own projections."""
        return self.neck(self.trunk(images), to_stride8=to_stride8, to_stride4=to_stride4)


class Neck(nn.Module):
    """A feature pyramid in which only the coarsest level flows down, and only one step."""

    def __init__(self, stage_widths: tuple[int, int, int, int], width: int) -> None:
        super().__init__()
        # Coarsest first, as in the published files.
        self.convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, width, kernel_size=1)))
            for channels in stage_widths[::-1]
        )

    def laterals(self) -> list[nn.Conv2d]:
        """The 1 x 1 convolution of each stage, coarsest first."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]

    def forward(
        self, stages: list[Float[Tensor, "b c h w"]], *, to_stride8: nn.Conv2d, to_stride4: nn.Conv2d
    ) -> ImageFeatures:
        """Joins the four stages, finest first, into the three levels that are kept."""
        stride4, stride8, stride16, stride32 = stages
        from_stride32, from_stride16, from_stride8, from_stride4 = self.laterals()
        above = F.interpolate(from_stride32(stride32).float(), scale_factor=2.0, mode="nearest")
        return ImageFeatures(
            coarse=from_stride16(stride16) + above,
            stride8=_both(stride8, from_stride8, to_stride8),
            stride4=_both(stride4, from_stride4, to_stride4),
        )


def _both(x: Float[Tensor, "b c h w"], first: nn.Conv2d, second: nn.Conv2d) -> Float[Tensor, "b o h w"]:
    """Two 1 x 1 convolutions in a row as the one that they are."""
    outer = second.weight.flatten(1)
    weight = outer @ first.weight.flatten(1)
    assert first.bias is not None
    assert second.bias is not None
    return F.conv2d(x, weight[..., None, None], outer @ first.bias + second.bias)
