"""Low-rank adapters of NeuroSAM2D files, merged into the weights that they adapt.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from NeuroSAM2Core.errors import CheckpointError

DEFAULT_ALPHA = 16.0
ADAPTER = re.compile(r"(?P<attention>.*\.attn)\.lora_(?P<side>[AB])_(?P<what>q|k|v|proj)(\.weight)?$")
PLACE = {"q": 0, "k": 1, "v": 2}


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
    pairs: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, value in state.items():
        if found := ADAPTER.match(key):
            pairs.setdefault((found["attention"], found["what"]), {})[found["side"]] = value
    for (attention, what), pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise CheckpointError(f"the adapter {attention}.lora_{what} has only one of its two halves")
        down, up = pair["A"], pair["B"]
        update = (down @ up) * ((DEFAULT_ALPHA if alpha is None else alpha) / down.shape[1])
        try:
            _fold(merged, attention, what, update)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"the adapter {attention}.lora_{what} does not fit the model") from error
    return merged


def _fold(state: dict[str, Tensor], attention: str, what: str, update: Tensor) -> None:
    if what == "proj":  # adapts what comes out: y + y U
        weight, bias = f"{attention}.proj.weight", f"{attention}.proj.bias"
        state[bias] = state[bias] + state[bias] @ update
        state[weight] = state[weight] + update.T @ state[weight]
        return
    key = f"{attention}.qkv.weight"
    parts = list(state[key].chunk(3))
    parts[PLACE[what]] = parts[PLACE[what]] + update.T
    state[key] = torch.cat(parts)
