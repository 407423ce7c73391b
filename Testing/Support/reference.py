"""The reference: the PyPI package `sam2`, the oracle of the parity tests. Skips with a sentence where it is not installed."""

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from Testing.Support.weights import lively_state

REASON = "the reference package sam2==1.1.0 is not installed; `make setup` installs it"


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@lru_cache(maxsize=2)  # the large ones take a gigabyte each
def reference_model(
    name: str, image_size: int, *, object_score_bias: float = 3.0, overrides: tuple[str, ...] = (), video: bool = False
) -> nn.Module:
    """The reference's own model or video predictor with lively weights, in eval mode.

    Args:
        name: One of our preset names.
        image_size: Side of the model's input.
        object_score_bias: See `lively_state`.
        overrides: Hydra overrides.
        video: Build the video predictor instead of the bare model.
    """
    pytest.importorskip("sam2", reason=REASON)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hydra import compose
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        version = "sam2.1" if name.startswith("sam2.1") else "sam2"
        target = "sam2.sam2_video_predictor.SAM2VideoPredictor" if video else "sam2.modeling.sam2_base.SAM2Base"
        config = compose(
            config_name=f"configs/{version}/{name.removesuffix('512')}.yaml",
            overrides=[f"++model._target_={target}", f"++model.image_size={image_size}", *overrides],
        )
        OmegaConf.resolve(config)
        model: nn.Module = instantiate(config.model, _recursive_=True)
    model.load_state_dict(lively_state(shapes_of(model), object_score_bias=object_score_bias), strict=True)
    return model.eval()


class _FullPrecision:
    """`torch` as the reference's module sees it, with memories stored as float32 instead of bfloat16."""

    bfloat16 = torch.float32

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


class ReferenceVideo:
    """A run of the reference's video predictor over slices that are already the model's input.

    Args:
        predictor: From `reference_model(video=True)`.
        frames: (T, 3, S, S).
        height: Of the slices.
        width: Of the slices.
        half_memory: Store memories as bfloat16, as the reference does.
    """

    def __init__(self, predictor: nn.Module, frames: Tensor, height: int, width: int, *, half_memory: bool) -> None:
        self.predictor = predictor
        import sam2.sam2_video_predictor as module

        module.torch = torch if half_memory else _FullPrecision()
        original = module.load_video_frames
        module.load_video_frames = lambda **_: (frames, height, width)
        try:
            self.state = predictor.init_state(video_path="slices")
        finally:
            module.load_video_frames = original

    def add(
        self,
        frame: int,
        obj_id: int,
        *,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
    ) -> np.ndarray:
        _, _, logits = self.predictor.add_new_points_or_box(
            self.state,
            frame,
            obj_id,
            points=None if points is None else np.array(points, dtype=np.float32),
            labels=None if labels is None else np.array(labels, dtype=np.int32),
            box=None if box is None else np.array(box, dtype=np.float32),
        )
        return logits.numpy()

    def add_mask(self, frame: int, obj_id: int, mask: np.ndarray) -> np.ndarray:
        _, _, logits = self.predictor.add_new_mask(self.state, frame, obj_id, torch.from_numpy(mask))
        return logits.numpy()

    def propagate(self, **kwargs: object) -> dict[int, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {t: logits.numpy() for t, _, logits in self.predictor.propagate_in_video(self.state, **kwargs)}
