"""Quality of segmentation on images that no model here was trained on: engines and classical tools, same prompts."""

from benchmarks.quality.cases import Mask, mni152

__all__ = ["Mask", "mni152"]
