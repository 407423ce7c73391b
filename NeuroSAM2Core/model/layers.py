"""Small building blocks that several parts of the model share.

Positional encodings: 2-D sine, temporal sine, axial RoPE, random Fourier features.

All are computed in float32 and cast by the caller. Nothing here is learned, save the random matrix that a checkpoint carries.
"""

import math
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Complex, Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with a non-linearity between them, none after the last.

    Args:
        widths: Channels of the input, of each hidden layer and of the output.
        activation: Between the layers.
    """

    def __init__(self, *widths: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.act = activation()

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """Every layer in turn."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.act(layer(x))
        out: Tensor = last(x)
        return out


FEW_CHANNELS = 64
"""Up to so many, whole pictures are normalised at once: row by row, as `layer_norm` does it, takes two to five times as long on a CPU."""


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a channels-first picture."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each pixel's channels to mean 0 and variance 1, then scaled and shifted."""
        if len(self.weight) <= FEW_CHANNELS:
            centred = x.float() - x.float().mean(dim=1, keepdim=True)
            scale = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + self.eps)
            return torch.addcmul(self.bias[:, None, None], centred * scale, self.weight[:, None, None])
        y = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return y.movedim(-1, 1)


def split_heads(x: Float[Tensor, "b n c"], heads: int) -> Float[Tensor, "b h n d"]:
    """Channels divided among attention heads."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def merge_heads(x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b n c"]:
    """The inverse of `split_heads`."""
    return x.transpose(-3, -2).flatten(-2)


def tokens_of(grid: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    """A picture as a row of tokens, row by row."""
    return grid.flatten(2).transpose(1, 2)


def grid_of(tokens: Float[Tensor, "b n c"], side: int) -> Float[Tensor, "b c h w"]:
    """The inverse of `tokens_of` for a square picture."""
    return tokens.transpose(1, 2).unflatten(2, (side, side))


TEMPERATURE = 10_000.0


def _frequencies(half: int, device: torch.device | None = None) -> Float[Tensor, " half"]:
    k = torch.arange(half, dtype=torch.float32, device=device)
    return TEMPERATURE ** (2 * torch.div(k, 2, rounding_mode="floor") / half)


@lru_cache(maxsize=32)
def sine_grid(channels: int, height: int, width: int, device: torch.device) -> Float[Tensor, "1 c h w"]:
    """Sine position encoding of a grid: half of the channels for the row, half for the column.

    Even channels are sines, odd ones cosines, over wavelengths from 2 pi to 10 000 * 2 pi of the normalised position.

    Source: Carion et al., "End-to-End Object Detection with Transformers" (DETR), 2020, appendix A.4.
    """
    with torch.inference_mode(False):
        divisor = _frequencies(channels // 2, device)

        def encode(n: int) -> Tensor:
            place = (torch.arange(n, dtype=torch.float32, device=device) + 1) / (n + 1e-6) * (2 * math.pi)
            angle = place[:, None] / divisor
            return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

        rows = encode(height)[:, None].expand(height, width, -1)
        columns = encode(width)[None].expand(height, width, -1)
        return torch.cat((rows, columns), dim=-1).permute(2, 0, 1)[None].contiguous()


def sine_time(offsets: Float[Tensor, " n"], channels: int) -> Float[Tensor, "n c"]:
    """Sine encoding of positions in time: all sines, then all cosines.

    Args:
        offsets: Positions; not clipped, may be negative.
        channels: Width of the encoding.
    """
    angle = offsets[:, None].float() / _frequencies(channels // 2, offsets.device)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


@lru_cache(maxsize=32)
def axial_rotations(channels: int, side: int, device: torch.device) -> Complex[Tensor, "n c2"]:
    """The rotation of every channel pair at every token of a square grid: half of the pairs turn with x, half with y.

    Source: Su et al., "RoFormer", 2021; Heo et al., "Rotary Position Embedding for Vision Transformer", ECCV 2024 (axial form).
    """
    with torch.inference_mode(False):
        quarter = channels // 4
        frequency = TEMPERATURE ** (-4 * torch.arange(quarter, dtype=torch.float32, device=device) / channels)
        token = torch.arange(side * side, dtype=torch.float32, device=device)
        x, y = token % side, torch.div(token, side, rounding_mode="floor")
        angle = torch.cat((x[:, None] * frequency, y[:, None] * frequency), dim=-1)
        return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Float[Tensor, "*b n d"], rotations: Complex[Tensor, "n d2"]) -> Float[Tensor, "*b n d"]:
    """Channel pairs of `x` turned by the rotation of their token."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)


class RandomFourier(nn.Module):
    """Random Fourier features of points in the unit square.

    Source: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains", 2020.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, places: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b c"]:
        """Encodes (x, y) in 0 to 1."""
        angle = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def grid(self, side: int) -> Float[Tensor, "1 c s s"]:
        """Encodes the pixel centres of a square grid."""
        centre = (torch.arange(side, device=self.positional_encoding_gaussian_matrix.device) + 0.5) / side
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        encoded: Tensor = self(torch.stack((x, y), dim=-1))
        return encoded.permute(2, 0, 1)[None]
