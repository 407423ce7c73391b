"""NeuroSAM2Core: prompts on slices of a brain volume in, masks of whole objects out.

The public names are loaded when they are first used, so that the torch-free packages stay light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from NeuroSAM2Core.version import __version__

if TYPE_CHECKING:
    from NeuroSAM2Core.checkpoint import load_model
    from NeuroSAM2Core.inference import EngineOptions, Session
    from NeuroSAM2Core.volume import Volume

__all__ = ["EngineOptions", "Session", "Volume", "__version__", "load_model"]

_HOMES = {
    "EngineOptions": "NeuroSAM2Core.inference",
    "Session": "NeuroSAM2Core.inference",
    "Volume": "NeuroSAM2Core.volume",
    "load_model": "NeuroSAM2Core.checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
