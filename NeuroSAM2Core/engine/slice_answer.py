"""The model's answer on one slice, and what is known of a crop of it before any prompt."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.engine.appearance import Appearance
from NeuroSAM2Core.engine.crop import Crop
from NeuroSAM2Core.model import ImageFeatures, MaskPrediction


@dataclass(frozen=True, slots=True)
class SliceAnswer:
    """A mask prediction and the crop that its logits belong to."""

    prediction: MaskPrediction
    crop: Crop


@dataclass(frozen=True, slots=True)
class CropView:
    """A crop of a slice as an object's memory sees it."""

    features: ImageFeatures
    conditioned: Float[Tensor, "1 c s s"]
    """Its coarse features, conditioned on memory or not."""
    appearance: Appearance | None = None
    """What the object looks like on other slices, where that was learned."""
