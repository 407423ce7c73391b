"""The batch of every step of a run on anatomy; it follows from the seed, the step and the bank alone."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from NeuroSAM2Core.synth.anatomy.heads import load_training_heads
from NeuroSAM2Core.training.anatomy.clips import AnatomyClips, ClipRequest
from NeuroSAM2Core.training.config.anatomy import AnatomyConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.step.prompt_plan import PromptPlan, plan_generator

STREAM = 7
"""Tells these draws from those of `update`, which follow from the same seed and step."""


class AnatomyBatches(Dataset[ClipBatch]):
    """The batch of every step.

    Args:
        config: The run.
        bank: The folder of heads; it is opened when the first batch is asked for, in the process that asks.
    """

    def __init__(self, config: AnatomyConfig, bank: Path) -> None:
        self.config, self.bank = config, bank

    @cached_property
    def clips(self) -> AnatomyClips:
        """The bank's heads, opened.

        Raises:
            DataError: A head is missing, or made of a donor that is kept for development.
        """
        return AnatomyClips(load_training_heads(self.bank, self.config.heads), self.config.clip)

    def __len__(self) -> int:
        return self.config.total_steps

    def __getitem__(self, step: int) -> ClipBatch:
        rng = np.random.default_rng((self.config.seed, step, STREAM))
        request, count = request_of(self.config, step, rng)
        return self.clips.batch(rng, request, clips=count)


def request_of(config: AnatomyConfig, step: int, rng: np.random.Generator) -> tuple[ClipRequest, int]:
    """What the clips of a step have in common, and how many there are.

    Steps that will be prompted by clicks ask for objects of all sizes alike, and show more of their surroundings.
    """
    is_single = is_single_step(config, step)
    num_slices = 1 if is_single else int(rng.integers(config.slices[0], config.slices[1] + 1))
    plan = PromptPlan.draw(config.prompts, num_slices, plan_generator(config.seed, step))
    is_click = plan.kind == "click"
    request = ClipRequest(
        image_size=config.image_size,
        slices=num_slices,
        objects=config.objects,
        crop_range=config.clip.click_crop_range if is_click else config.clip.crop_range,
        even_sizes=bool(rng.random() < config.clip.even_sizes) or is_click,
    )
    return request, config.clips * (3 if is_single else 1)


def is_single_step(config: AnatomyConfig, step: int) -> bool:
    """Whether a step is trained on single slices."""
    return config.single_every > 0 and step % config.single_every == config.single_every - 1


def batches(
    config: AnatomyConfig, bank: Path, *, start: int, device: torch.device, workers: int
) -> Iterator[ClipBatch]:
    """The batches of the steps from `start` on, prepared ahead by worker processes; without any, when they are asked for."""
    steps = range(start, config.total_steps)
    return loaded(AnatomyBatches(config, bank), steps, workers=workers, prefetch=4, pins=device.type == "cuda")
