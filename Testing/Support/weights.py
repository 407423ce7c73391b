"""Deterministic weights that give a random model lively masks: the same in ours and in any model with the same keys."""

import zlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def lively_state(shapes: dict[str, tuple[int, ...]], *, object_score_bias: float = 3.0) -> dict[str, Tensor]:
    """One tensor per key, seeded by the key's own name.

    Plain random initialisation gives masks that are all absent; here activations keep their size through the layers and
    `object_score_bias` says whether the object is there (+3) or not (-3).
    """
    return dict(_lively_state(tuple(sorted(shapes.items())), object_score_bias))


@lru_cache(maxsize=1)  # of the model and of its reference, at any size of the image
def _lively_state(shapes: tuple[tuple[str, tuple[int, ...]], ...], object_score_bias: float) -> dict[str, Tensor]:
    return {key: torch.from_numpy(_values(key, shape, object_score_bias)).float() for key, shape in shapes}


def _values(key: str, shape: tuple[int, ...], object_score_bias: float) -> np.ndarray:
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    noise = rng.standard_normal(shape)
    if key == "sam_mask_decoder.pred_obj_score_head.layers.2.bias":
        return np.full(shape, object_score_bias)
    if key.endswith("gaussian_matrix"):
        return noise
    if key.endswith("gamma"):
        return 0.5 + 0.1 * noise
    is_norm = any(part.startswith("norm") for part in key.split("."))
    if len(shape) == 1:
        is_norm_weight = key.endswith("weight") and (
            is_norm or "downscaling" in key or "upscaling" in key or "encoder." in key
        )
        return 1 + 0.1 * noise if is_norm_weight else 0.1 * noise
    fan_in = int(np.prod(shape[1:]))
    if key.split(".")[-2 if key.endswith(".weight") else -1].endswith(("_token", "_tokens")) or _is_embedding(key):
        return 0.5 * noise
    return noise * 1.2 / np.sqrt(fan_in)


def _is_embedding(key: str) -> bool:
    return "patch_embed" not in key and any(name in key for name in ("embed", "tpos_enc", "no_obj_", "no_mem_"))
