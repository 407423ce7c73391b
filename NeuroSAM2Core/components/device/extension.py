"""Finds the compiled CUDA kernels (`cuda_ext/`), once; without them everything works, on the CPU."""

import importlib
import logging
import sys
from functools import cache
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

MODULE = "neurosam2_cuda"
IN_PLACE = Path(__file__).resolve().parents[3] / "cuda_ext"


def is_extension_active() -> bool:
    """Whether masks on a CUDA device are cleaned there, by the compiled kernels."""
    return why_inactive() == ""


@cache
def why_inactive() -> str:
    """Why the compiled kernels are not used, in a sentence; empty where they are.

    The first call looks for them: installed, or built in place in a checkout. It tells once where a GPU goes without them.
    """
    if not torch.cuda.is_available():
        return "PyTorch has no CUDA device here"
    try:
        _load()
    except (ImportError, OSError) as error:
        reason = f"the CUDA kernels are not used ({error}); masks are cleaned on the CPU, see cuda_ext/README.md"
        logger.info("%s", reason)
        return reason
    return ""


def _load() -> None:
    try:
        importlib.import_module(MODULE)
    except ModuleNotFoundError:
        if not (IN_PLACE / MODULE).is_dir():
            raise
        sys.path.append(str(IN_PLACE))
        try:
            importlib.import_module(MODULE)
        finally:
            sys.path.remove(str(IN_PLACE))
