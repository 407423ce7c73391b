"""NeuroSAM2 under the name of its distribution: `from neurosam2 import Session, Volume, load_model`, `python -m neurosam2`."""

from NeuroSAM2Core import EngineOptions, Session, Volume, __version__, load_model

__all__ = ["EngineOptions", "Session", "Volume", "__version__", "load_model"]

if __name__ == "__main__":
    from NeuroSAM2Core.cli.main import main

    raise SystemExit(main())
