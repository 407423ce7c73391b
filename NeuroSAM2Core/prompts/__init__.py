"""Prompts of an object on a slice, and simulated users."""

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
