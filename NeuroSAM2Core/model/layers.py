"""Small building blocks that several parts of the model share."""

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
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


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a channels-first picture."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each pixel's channels to mean 0 and variance 1, then scaled and shifted."""
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
