"""The model's answer on one slice, and what is known of a crop of it before any prompt."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.inference.prediction.appearance import ABSENT, AppearanceModel
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.model import ImageFeatures, MaskPrediction
from NeuroSAM2Core.model.sam2 import ABSENT_LOGIT

PRESENT_SCORE_LOGIT = 1.0
"""Of an object that a person has clicked, or the pixels show, where the model thought it absent."""


@dataclass(frozen=True, slots=True)
class SliceAnswer:
    """A mask prediction and the crop that its logits belong to."""

    prediction: MaskPrediction
    crop: Crop

    @property
    def area(self) -> float:
        """Of the mask, pixels of the slice."""
        mask = self.prediction.logits > 0
        return float(mask.sum()) * self.crop.height * self.crop.width / mask[0, 0].numel()


@dataclass(frozen=True, slots=True)
class CropMemory:
    """What is remembered of an object, for one crop of a slice."""

    conditioned: Float[Tensor, "1 c s s"]
    """The crop's coarse features, conditioned on memory or not."""
    appearance: AppearanceModel | None = None
    """What the object looks like on other slices, where that was learned."""


@dataclass(frozen=True, slots=True)
class CropView:
    """A crop of a slice as an object's memory sees it."""

    features: ImageFeatures
    memory: CropMemory

    @property
    def conditioned(self) -> Float[Tensor, "1 c s s"]:
        """See `CropMemory`."""
        return self.memory.conditioned

    @property
    def appearance(self) -> AppearanceModel | None:
        """See `CropMemory`."""
        return self.memory.appearance


def as_absent(answer: MaskPrediction) -> MaskPrediction:
    """An answer that says that the object is not there."""
    object_score = answer.object_score_logits.clamp(max=ABSENT)
    return replace(answer, logits=torch.full_like(answer.logits, ABSENT_LOGIT), object_score_logits=object_score)
