"""NeuroSAM2Core: prompts on slices of a brain volume in, masks of whole objects out.

The public names are loaded when they are first used, so that the torch-free packages stay light. What OpenMP shall do is set before
(`startup.shorten_spinning`): it counts where a program has not loaded torch itself by then.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from NeuroSAM2Core.startup import shorten_spinning
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
    shorten_spinning()
    return getattr(import_module(_HOMES[name]), name)
