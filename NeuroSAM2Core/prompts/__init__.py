"""Prompts of an object, on a slice and in all, and simulated users."""

from NeuroSAM2Core.prompts.object_prompts import (
    ChosenReading,
    ObjectPrompts,
    SliceBox,
    SliceLasso,
    SlicePoint,
    SliceScribble,
)
from NeuroSAM2Core.prompts.prompts import BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, PromptSet, ScribblePrompt
from NeuroSAM2Core.prompts.simulate import box_from_mask, click_from_error, lasso_from_mask, scribble_from_error

__all__ = [
    "BoxPrompt",
    "ChosenReading",
    "LassoPrompt",
    "MaskPrompt",
    "ObjectPrompts",
    "PointPrompt",
    "PromptSet",
    "ScribblePrompt",
    "SliceBox",
    "SliceLasso",
    "SlicePoint",
    "SliceScribble",
    "box_from_mask",
    "click_from_error",
    "lasso_from_mask",
    "scribble_from_error",
]
