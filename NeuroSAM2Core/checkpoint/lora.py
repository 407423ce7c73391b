"""Low-rank adapters under NeuroSAM2D's names, folded into the weights that they adapt and taken out of them again.

The modules that train them are in `model.lora`.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from NeuroSAM2Core.errors import CheckpointError

DEFAULT_ALPHA = 16.0
ADAPTER = re.compile(r"(?P<attention>.*\.attn)\.lora_(?P<side>[AB])_(?P<what>q|k|v|proj)(\.weight)?$")
PLACE = {"q": 0, "k": 1, "v": 2}
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


def unmerge_lora(
    merged: Mapping[str, Tensor], adapters: Mapping[str, Tensor], *, alpha: float | None = None
) -> dict[str, Tensor]:
    """The state that `merge_lora` was given: the weights without the adapters, and the adapters beside them.

    Args:
        merged: Weights with the adapters folded in.
        adapters: The adapters; other keys are ignored.
        alpha: The scale they were folded in with.

    Raises:
        CheckpointError: An adapter lacks its other half or does not fit.
    """
    state = dict(merged)
    for (attention, what), update in _updates(adapters, alpha).items():
        with _fitting(attention, what):
            _unfold(state, attention, what, update)
    return state | {key: value for key, value in adapters.items() if ADAPTER.match(key)}


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
    parts[PLACE[what]] = parts[PLACE[what]] + update.T
    state[key] = torch.cat(parts)


def _unfold(state: dict[str, Tensor], attention: str, what: str, update: Tensor) -> None:
    if what != "proj":
        _fold(state, attention, what, -update)
        return
    weight, bias = f"{attention}.proj.weight", f"{attention}.proj.bias"
    factor = torch.eye(len(update), dtype=update.dtype, device=update.device) + update.T
    state[weight] = torch.linalg.solve(factor, state[weight])
    state[bias] = torch.linalg.solve(factor, state[bias])
