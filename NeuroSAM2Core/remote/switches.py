"""Inference options that users may set for one volume. All options are in `inference.options`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSwitches:
    """Fields of `EngineOptions` by their names; None leaves each to the model."""

    crops: bool | None = None
    """Small objects are seen in crops that follow them."""
    carries_boxes: bool | None = None
    """The box of the mask before is a prompt on the next slice."""
    ends_by_shape: bool | None = None
    """An object ends also where its expected IoU, its area or its overlap with the slice before becomes small."""
    use_appearance_model: bool | None = None
    """Propagated masks are kept to what looks like the object on its prompted slices."""


AUTOMATIC = EngineSwitches()
"""All is left to the model."""
