"""Prompts of an object, on a slice and in all, and simulated users."""

from NeuroSAM2Core.prompts.object_prompts import ChosenReading, ObjectPrompts, SliceBox, SlicePoint
from NeuroSAM2Core.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.prompts.simulate import box_from_mask, click_from_error

__all__ = [
    "BoxPrompt",
    "ChosenReading",
    "MaskPrompt",
    "ObjectPrompts",
    "PointPrompt",
    "PromptSet",
    "SliceBox",
    "SlicePoint",
    "box_from_mask",
    "click_from_error",
]
