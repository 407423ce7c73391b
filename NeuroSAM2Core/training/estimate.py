"""How long a run on heads will take and how much memory it needs, measured on a few of its steps."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from NeuroSAM2Core.training.anatomy import AnatomyBatches
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, RefinerConfig
from NeuroSAM2Core.training.pretrain import optimizer_step_config, start
from NeuroSAM2Core.training.refiner.samples import RefinerBatches
from NeuroSAM2Core.training.refiner.trainer import RefinerState
from NeuroSAM2Core.training.refiner.trainer import update as update_refiner
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.loop import peak_memory_gb
from NeuroSAM2Core.training.trainer.optimizer_step import Precision, update

MIN_STEPS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a run will cost on this machine."""

    model_s: float
    """Seconds of a step, without its batch."""
    batch_s: float
    """Seconds that one process takes for a batch."""
    memory_gb: float
    """The most that was held at once, of the GPU or of this process; worker processes need about half a gigabyte each besides."""

    def step_s(self, workers: int) -> float:
        """Seconds of a step with so many processes that prepare batches, each on a core of its own."""
        return max(self.model_s, self.batch_s / workers) if workers else self.model_s + self.batch_s


def estimate(config: AnatomyConfig, bank: Path, device: torch.device) -> Estimate:
    """Takes a few steps with a model that is thrown away.

    Args:
        config: The run.
        bank: Its heads.
        device: Where it will compute.
    """
    steps = range(max(MIN_STEPS, config.single_every))
    data = AnatomyBatches(config, bank)
    began = time.perf_counter()
    batches = [data[step] for step in steps]
    batch_s = (time.perf_counter() - began) / len(steps)
    state = start(config, device)
    state.model.set_image_size(config.image_size)
    segmenter = ClipSegmenter(state.model, config.prompts, config.losses).train()
    step_config, process_group = optimizer_step_config(config, device), ProcessGroup(device)
    if device.type == "cuda":  # the first steps choose and load kernels
        for batch in batches:
            update(state, segmenter, [batch], config.prompts, step_config, process_group)
    began = time.perf_counter()
    for batch in batches:
        update(state, segmenter, [batch], config.prompts, step_config, process_group)
    model_s = (time.perf_counter() - began) / len(steps)
    return Estimate(model_s=model_s, batch_s=batch_s, memory_gb=peak_memory_gb(device))


def estimate_refiner(config: RefinerConfig, bank: Path, device: torch.device) -> Estimate:
    """The same for a mask refiner that is thrown away.

    Args:
        config: The run.
        bank: Its heads.
        device: Where it will compute.
    """
    data, state = RefinerBatches(config, bank), RefinerState.begin(config, device)
    precision = Precision.chosen(config.precision, device)
    update_refiner(state, data[0].to(device), config, precision)  # opens files, chooses kernels
    began = time.perf_counter()
    batches = [data[step].to(device) for step in range(MIN_STEPS)]
    batch_s = (time.perf_counter() - began) / MIN_STEPS
    began = time.perf_counter()
    for batch in batches:
        update_refiner(state, batch, config, precision)
    model_s = (time.perf_counter() - began) / MIN_STEPS
    return Estimate(model_s=model_s, batch_s=batch_s, memory_gb=peak_memory_gb(device))
