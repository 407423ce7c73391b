"""The batch of every step of a run; it follows from the seed, the step and the bank alone."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from NeuroSAM2Core.synth.anatomy.heads import Head, load_training_heads
from NeuroSAM2Core.training.config.refiner import RefinerConfig
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.refiner.samples import RefinerSample, draw_sample

HELD_OUT_STREAM = 5
"""Tells the draws that are measured with from those of a run, whatever its seed."""


@dataclass(frozen=True, slots=True, eq=False)
class RefinerBatch:
    """Some samples."""

    views: Float[Tensor, "b 5 64 64"]
    truths: Float[Tensor, "b 1 64 64"]
    """The share of each cell that is the object."""
    has_box: Bool[Tensor, "b"]

    @classmethod
    def of(cls, samples: Sequence[RefinerSample]) -> "RefinerBatch":
        """Samples as one batch."""
        return cls(
            torch.from_numpy(np.stack([sample.view for sample in samples])),
            torch.from_numpy(np.stack([sample.truth for sample in samples]))[:, None],
            torch.tensor([sample.has_box for sample in samples]),
        )

    def to(self, device: torch.device) -> "RefinerBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "RefinerBatch":
        """The same batch in memory that a GPU reads by itself; a data loader asks for it."""
        return self._each(lambda tensor: tensor.pin_memory())

    def share_memory(self) -> None:
        """Moves the tensors to where other processes can have them."""
        for tensor in (self.views, self.truths, self.has_box):
            tensor.share_memory_()

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RefinerBatch":
        return RefinerBatch(change(self.views), change(self.truths), change(self.has_box))


class RefinerBatches(Dataset[RefinerBatch]):
    """The batch of every step.

    Args:
        config: The run.
        bank: The folder of heads; it is opened when the first batch is asked for, in the process that asks.
    """

    def __init__(self, config: RefinerConfig, bank: Path) -> None:
        self.config, self.bank = config, bank

    @cached_property
    def heads(self) -> list[Head]:
        """The bank's heads, opened.

        Raises:
            DataError: A head is missing, or made of a donor that is kept for development.
        """
        return load_training_heads(self.bank, self.config.heads)

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> RefinerBatch:
        rng = np.random.default_rng((self.config.seed, step))
        return RefinerBatch.of([draw_sample(self.heads, rng, self.config.samples) for _ in range(self.config.batch)])


def batches(
    config: RefinerConfig, bank: Path, *, start: int, device: torch.device, workers: int
) -> Generator[RefinerBatch, None, None]:
    """The batches of the steps from `start` on, prepared ahead by worker processes; without any, when they are asked for."""
    steps = range(start, config.steps)
    return loaded(RefinerBatches(config, bank), steps, workers=workers, prefetch=4, pins=device.type == "cuda")


def held_out_samples(config: RefinerConfig, bank: Path) -> RefinerBatch:
    """The samples that runs are measured with: always the same, of the first heads of another bank.

    Raises:
        DataError: A head is missing.
    """
    heads = [Head.load(bank, number) for number in range(config.held_out_heads)]
    rng = np.random.default_rng(HELD_OUT_STREAM)
    return RefinerBatch.of([draw_sample(heads, rng, config.samples) for _ in range(config.held_out_samples)])
