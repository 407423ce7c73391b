"""Selects the fastest floating-point type of a device by measuring it.

Many CPUs offer bfloat16 and are a hundred times slower with it. It is measured once on a machine and kept (`machine`): masks differ a
little between number types, and the same prompts are to give the same masks at every start, however busy the machine is.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Literal

import torch

from NeuroSAM2Core.machine import cached_fact, facts_file, processor_name
from NeuroSAM2Core.model import SAM2

logger = logging.getLogger(__name__)

SIDE = 384
REPEATS = 20
"""So many that one of them is undisturbed, however busy the machine is."""
SLOW_S = 0.05
NARROW = 128

Part = Literal["encoder", "rest"]


@cache
def fastest_dtype(device: torch.device) -> torch.dtype:
    """float32 or bfloat16, whichever multiplies matrices faster; on a CPU it takes about 50 ms on a machine's very first start."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type != "cpu":
        return torch.float32
    question = f"number type on {processor_name()} with torch {torch.__version__}"
    name = cached_fact(question, lambda: "bfloat16" if _is_bfloat16_faster() else "float32")
    logger.info("the CPU computes in %s, as was measured once and is kept in %s", name, facts_file())
    return torch.bfloat16 if name == "bfloat16" else torch.float32


@contextmanager
def computing(model: SAM2, *, is_exact: bool, part: Part = "rest") -> Iterator[None]:
    """Inference without gradients, in the fastest type for that part of the model on its device or, if exact, in float32.

    What follows the encoder in a narrow model is so little work that a CPU loses more by converting than it gains.
    """
    device = model.device
    is_tiny = device.type == "cpu" and part == "rest" and model.config.width <= NARROW
    dtype = torch.float32 if is_exact or is_tiny else fastest_dtype(device)
    with torch.inference_mode(), _autocast(device.type, is_on=dtype is torch.bfloat16):
        yield


def _autocast(device_type: str, *, is_on: bool) -> AbstractContextManager[object]:
    """On devices that may be asked for bfloat16; others warn even where it is off."""
    if device_type in ("cpu", "cuda"):
        return torch.autocast(device_type, torch.bfloat16, enabled=is_on)
    return nullcontext()


def _is_bfloat16_faster() -> bool:
    return _seconds(torch.bfloat16) < 0.8 * _seconds(torch.float32)


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
