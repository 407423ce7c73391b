"""Volume, prompts and model become masks."""

from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.session import Session

__all__ = ["EngineOptions", "Session"]
