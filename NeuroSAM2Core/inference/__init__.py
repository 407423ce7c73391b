"""Inference: a volume, prompts and a model in, masks out. Start at `session.py`."""

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.session import Session

__all__ = ["EngineOptions", "Session"]
