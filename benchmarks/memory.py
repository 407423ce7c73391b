"""What every further slice costs in memory."""

import ctypes
import gc
import sys
import types
from collections.abc import Callable
from dataclasses import replace

import psutil
import torch
from torch import Tensor, nn

from benchmarks.pair import NAME, OPTIONS, SIDE, drain, our_model, ours, theirs
from benchmarks.report import beside
from NeuroSAM2Core import Volume
from NeuroSAM2Core.model import SAM2, ImageFeatures
from Testing.Support.reference import reference_model
from Testing.Support.volumes import noise_volume

MAX_PREVIEW_SLICES, MANY = 32, 160


def per_slice(size: int, must: str) -> tuple[str, ...]:
    """MB per slice beyond the volume itself, from two runs of different length each; features are not kept."""
    predictor, model = reference_model(NAME, size, video=True), our_model(size)
    skip_arithmetic_of_reference(predictor)
    skip_arithmetic(model)
    options = replace(OPTIONS, feature_cache_bytes=1)

    def reference(volume: Volume) -> object:
        run = theirs(predictor, volume, size)
        run.propagate()
        return run

    def here(volume: Volume) -> object:
        session = ours(model, volume, options)
        drain(session)
        return session

    a, b = slope(reference), slope(here)
    reference_model.cache_clear()  # that model is of no more use
    return beside(f"memory per further slice, {size} px", a, b, unit="MB", target=must)


def slope(run: Callable[[Volume], object]) -> float:
    """MB per slice that a run of many slices holds beyond one of few."""
    few, many = (noise_volume(count, SIDE, SIDE) for count in (MAX_PREVIEW_SLICES, MANY))
    run(few)  # whatever is only needed once
    held = []
    for volume in (few, many):
        before = resident_mb()
        keep = run(volume)
        held.append(resident_mb() - before)
        del keep
    return (held[1] - held[0]) / (MANY - MAX_PREVIEW_SLICES)


def resident_mb() -> float:
    """Memory of this process that is in use, MB."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back
    return psutil.Process().memory_info().rss / 2**20


def skip_arithmetic(model: SAM2) -> None:
    """Encoder and memory attention answer at once with tensors of the right shape."""
    side, width = model.config.grid, model.config.width

    def encode_image(self: SAM2, images: Tensor) -> ImageFeatures:
        n = len(images)
        return ImageFeatures(
            coarse=torch.randn(n, width, side, side),
            stride8=torch.randn(n, width // 4, 2 * side, 2 * side),
            stride4=torch.randn(n, width // 8, 4 * side, 4 * side),
        )

    model.encode_image = types.MethodType(encode_image, model)  # type: ignore[method-assign]
    model.memory_attention.forward = lambda features, keys, memory: features.flatten(2).transpose(1, 2)  # type: ignore[method-assign]


def skip_arithmetic_of_reference(predictor: nn.Module) -> None:
    """The same for the reference."""
    side = predictor.image_size // 16

    def forward_image(self: nn.Module, images: Tensor) -> dict[str, object]:
        shapes = [(32, 4 * side), (64, 2 * side), (256, side)]
        levels = [torch.randn(1, channels, n, n) for channels, n in shapes]
        places = [torch.randn(1, 256, n, n) for _, n in shapes]
        return {"vision_features": levels[-1], "vision_pos_enc": places, "backbone_fpn": levels}

    predictor.forward_image = types.MethodType(forward_image, predictor)
    predictor.memory_attention.forward = lambda curr, **_: curr[0]
