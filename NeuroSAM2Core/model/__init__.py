"""SAM 2 in PyTorch: tensors in, tensors out. Reads like the paper; loads Meta's files strictly."""

from NeuroSAM2Core.model.config import PRESETS, EngineDefaults, HieraConfig, SAM2Config
from NeuroSAM2Core.model.image_encoder import to_model_input, to_square
from NeuroSAM2Core.model.results import ImageFeatures, MaskPrediction, PointerMemory, Points, SpatialMemory
from NeuroSAM2Core.model.sam2 import SAM2, MaskSelector

__all__ = [
    "PRESETS",
    "SAM2",
    "EngineDefaults",
    "HieraConfig",
    "ImageFeatures",
    "MaskPrediction",
    "MaskSelector",
    "PointerMemory",
    "Points",
    "SAM2Config",
    "SpatialMemory",
    "to_model_input",
    "to_square",
]
