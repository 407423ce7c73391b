"""A model small enough to be asked hundreds of times, with lively weights."""

from dataclasses import replace
from functools import cache

from NeuroSAM2Core.model import PRESETS, SAM2
from Testing.Support.reference import shapes_of
from Testing.Support.weights import lively_state


@cache
def small_model(*, rasterize_prompts: bool = False, image_size: int = 64) -> SAM2:
    """`nano` with random weights; without what only our own models do unless asked for."""
    own = dict.fromkeys(("rasterize_prompts", "use_appearance_model", "adaptive_crops"), rasterize_prompts)
    model = SAM2(replace(PRESETS["nano"], image_size=image_size, num_mask_memories=7, **own))
    model.load_state_dict(lively_state(shapes_of(model)))
    return model.eval()
