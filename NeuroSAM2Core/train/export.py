"""A run's averaged weights as a model file."""

from dataclasses import replace
from pathlib import Path

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.model import PRESETS
from NeuroSAM2Core.train.config import PretrainConfig
from NeuroSAM2Core.train.state import TrainState
from NeuroSAM2Core.version import __version__


def export(config: PretrainConfig, state: TrainState, path: Path) -> None:
    """Writes the running mean of the weights, at the size of the stage that the run is in."""
    stage = config.stage_at(max(0, state.step - 1))
    model = replace(PRESETS[config.preset], image_size=stage.image_size)
    provenance = Provenance(
        name=config.preset,
        source=f"pretraining, seed {config.seed}, step {state.step} of {config.total_steps}",
        licence="Apache-2.0",
        trained_on="synthetic volumes only, made by NeuroSAM2Core.synth; no real image",
        code_version=__version__,
    )
    Checkpoint(model, state.average, provenance).save(path)
