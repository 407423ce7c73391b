"""In which number type a device computes fastest: measured, not believed.

Many CPUs offer bfloat16 and are a hundred times slower with it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

from NeuroSAM2Core.model import SAM2

SIDE = 384
REPEATS = 20
"""So many that one of them is undisturbed, however busy the machine is: the same masks come out of every start."""
SLOW_S = 0.05
NARROW = 128

Part = Literal["encoder", "rest"]


@cache
def fastest_dtype(device: torch.device) -> torch.dtype:
    """float32 or bfloat16, whichever multiplies matrices faster here; takes about 50 ms the first time."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type != "cpu":
        return torch.float32
    return torch.bfloat16 if _seconds(torch.bfloat16) < 0.8 * _seconds(torch.float32) else torch.float32


@contextmanager
def computing(model: SAM2, *, is_exact: bool, part: Part = "rest") -> Iterator[None]:
    """Inference without gradients, in the fastest type for that part of the model on its device or, if exact, in float32.

    What follows the encoder in a narrow model is so little work that a CPU loses more by converting than it gains.
    """
    device = model.device
    is_tiny = device.type == "cpu" and part == "rest" and model.config.width <= NARROW
    dtype = torch.float32 if is_exact or is_tiny else fastest_dtype(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        yield


def _seconds(dtype: torch.dtype) -> float:
    """The best time of some matrix products; one slow product is enough to know."""
    a = torch.ones(SIDE, SIDE, dtype=dtype)
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
        if best > SLOW_S:
            break
    return best
