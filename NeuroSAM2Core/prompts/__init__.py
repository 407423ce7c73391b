"""What a person says about an object on a slice, and how such a person is simulated."""

from NeuroSAM2Core.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.prompts.simulate import box_from_mask, click_from_error

__all__ = [
    "BoxPrompt",
    "MaskPrompt",
    "PointPrompt",
    "PromptSet",
    "box_from_mask",
    "click_from_error",
]
