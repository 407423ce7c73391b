"""Low-rank adapters on the trunk's attention: a few new weights that change what the old ones do, while those stay as they are.

Queries, keys and values gain `x A B * alpha / rank`, the output projection gains the same of its own output; B starts at zero, so that
a model is the same right after it was adapted. The names are those of NeuroSAM2D's files; `merge_lora` folds adapters into the weights.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.errors import CheckpointError, ConfigError
from NeuroSAM2Core.model.image_encoder import Block, Hiera, WindowAttention

Projection = Literal["q", "k", "v", "proj"]
PLACE: Mapping[Projection, int] = {"q": 0, "k": 1, "v": 2}
"""Where queries, keys and values lie in what the attention's first layer gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Adapters on every attention of the trunk."""

    rank: int = 0
    """Width of the bottleneck; 0 for no adapters."""
    alpha: float = 16.0
    """Scale: the adapters' output is multiplied by `alpha / rank`."""
    dropout: float = 0.0
    """Share of what enters an adapter that is dropped while training, 0 to 1."""
    projections: tuple[Projection, ...] = ("q", "v", "proj")
    """What is adapted: queries, keys, values, output."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ConfigError(f"the rank of adapters must not be negative; got {self.rank}")
        if not self.alpha > 0:
            raise ConfigError(f"the alpha of adapters must be above 0; got {self.alpha:g}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"the dropout of adapters must be from 0 to below 1; got {self.dropout:g}")
        if self.rank and (not self.projections or len(set(self.projections)) < len(self.projections)):
            raise ConfigError(f"adapters need some of q, k, v, proj, each once; got {list(self.projections)}")


class AdaptedAttention(WindowAttention):
    """Window attention with adapters; the weights that were there are shared with it, not copied.

    Args:
        base: What is adapted.
        config: The adapters.
    """

    def __init__(self, base: WindowAttention, config: LoraConfig) -> None:
        nn.Module.__init__(self)
        self.heads, self.window, self.pools = base.heads, base.window, base.pools
        self.qkv, self.proj = base.qkv, base.proj
        self.scale, self.dropout, self.projections = config.alpha / config.rank, config.dropout, config.projections
        like = base.qkv.weight
        for name in config.projections:
            out = self.proj.out_features
            width = out if name == "proj" else self.qkv.in_features
            down = nn.Parameter(like.new_empty(width, config.rank))
            nn.init.kaiming_uniform_(down.T, a=math.sqrt(5))
            self.register_parameter(f"lora_A_{name}", down)
            self.register_parameter(f"lora_B_{name}", nn.Parameter(like.new_zeros(config.rank, out)))
        self.train(base.training)

    def project_in(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c3"]:
        """Queries, keys and values side by side."""
        parts = list(self.qkv(x).chunk(3, dim=-1))
        for name, place in PLACE.items():
            if name in self.projections:
                parts[place] = parts[place] + self._adapter(name, x)
        return torch.cat(parts, dim=-1)

    def project_out(self, attended: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Output projection."""
        out: Tensor = self.proj(attended)
        return out + self._adapter("proj", out) if "proj" in self.projections else out

    def _adapter(self, name: Projection, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c2"]:
        x = F.dropout(x, self.dropout, training=self.training)
        down, up = self.get_parameter(f"lora_A_{name}"), self.get_parameter(f"lora_B_{name}")
        return self.scale * (x @ down @ up)


def adapt(trunk: Hiera, config: LoraConfig) -> None:
    """Puts adapters on every attention of a trunk and freezes all of its own weights; nothing where the rank is 0."""
    if config.rank == 0:
        return
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
    for block in trunk.blocks:
        assert isinstance(block, Block)
        assert not isinstance(block.attn, AdaptedAttention), "a trunk is adapted once"
        block.attn = AdaptedAttention(block.attn, config)


DEFAULT_ALPHA = 16.0
ADAPTER = re.compile(r"(?P<attention>.*\.attn)\.lora_(?P<side>[AB])_(?P<what>q|k|v|proj)(\.weight)?$")
MAX_SIDE = 4096
"""Of an adapter's matrix; far more than any has."""


def merge_lora(state: Mapping[str, Tensor], *, alpha: float | None = None) -> dict[str, Tensor]:
    """The state with every adapter folded in and no adapter key left; unchanged where there is none.

    Queries, keys and values gain `x A B * alpha / rank`; the output projection gains the same of its own output.

    Args:
        state: Weights and adapters, A (in, rank) and B (rank, out).
        alpha: The adapters' scale; `DEFAULT_ALPHA` if None.

    Raises:
        CheckpointError: An adapter lacks its other half or does not fit.
    """
    merged = {key: value for key, value in state.items() if not ADAPTER.match(key)}
    for (attention, what), update in _updates(state, alpha).items():
        with _fitting(attention, what):
            _fold(merged, attention, what, update)
    return merged


def _updates(state: Mapping[str, Tensor], alpha: float | None) -> dict[tuple[str, str], Tensor]:
    """What each adapter does, as one matrix (in, out), by attention and projection."""
    pairs: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, value in state.items():
        if found := ADAPTER.match(key):
            pairs.setdefault((found["attention"], found["what"]), {})[found["side"]] = value
    updates = {}
    for (attention, what), pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise CheckpointError(f"the adapter {attention}.lora_{what} has only one of its two halves")
        if any(value.ndim != 2 or max(value.shape) > MAX_SIDE or not value.numel() for value in pair.values()):
            raise CheckpointError(f"the adapter {attention}.lora_{what} does not fit the model")
        with _fitting(attention, what):
            scale = (DEFAULT_ALPHA if alpha is None else alpha) / pair["A"].shape[1]
            updates[attention, what] = (pair["A"].float() @ pair["B"].float()) * scale
    return updates


@contextmanager
def _fitting(attention: str, what: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"the adapter {attention}.lora_{what} does not fit the model") from error


def _fold(state: dict[str, Tensor], attention: str, what: str, update: Tensor) -> None:
    if what == "proj":  # adapts what comes out: y + y U
        weight, bias = f"{attention}.proj.weight", f"{attention}.proj.bias"
        state[bias] = state[bias] + state[bias] @ update
        state[weight] = state[weight] + update.T @ state[weight]
        return
    key = f"{attention}.qkv.weight"
    parts = list(state[key].chunk(3))
    place = "qkv".index(what)
    parts[place] = parts[place] + update.T
    state[key] = torch.cat(parts)
