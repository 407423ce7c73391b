"""Runs small enough for tests: a tiny model, clips that follow from their number, no files but the run's own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.model import SAM2, HieraConfig, SAM2Config
from NeuroSAM2Core.training.config.data import DataConfig
from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig, OptimConfig, RunConfig, StartConfig
from NeuroSAM2Core.training.config.step import GroupConfig, GroupsConfig, PromptConfig, TrunkConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.fine_tune import BatchSource

MINI = SAM2Config(
    trunk=HieraConfig(
        width=8, num_heads=1, stages=(1, 1, 1, 1), global_blocks=(2, 3), windows=(8, 8, 4, 4), background_grid=(4, 4)
    ),
    image_size=64,
    width=32,
    memory_width=8,
    memory_layers=1,
    memory_mlp_width=32,
    decoder_mlp_width=32,
    num_mask_memories=3,
    max_object_pointers=4,
)
SIDE = 64


def mini_model(seed: int = 0, *, memory_dropout: float = 0.1) -> SAM2:
    """A quarter of a megabyte of weights that think objects are present."""
    torch.manual_seed(seed)
    model = SAM2(replace(MINI, memory_dropout=memory_dropout))
    torch.nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3.0)
    return model


def write_mini_model(path: Path) -> Path:
    """The same as a file."""
    Checkpoint(MINI, mini_model().state_dict(), Provenance(name="mini", licence="Apache-2.0")).save(path)
    return path


def disc_clip(number: int, *, slices: int = 3, objects: int = 1, room_for: int = 0) -> ClipBatch:
    """One clip of bright discs that wander through noise; the same for the same number."""
    rng = np.random.default_rng((7, number))
    rows, cols = np.mgrid[:SIDE, :SIDE]
    masks = np.zeros((objects, slices, SIDE, SIDE), dtype=bool)
    for mask in masks:
        row, col, radius = (*rng.uniform(18, SIDE - 18, 2).tolist(), rng.uniform(7, 14))
        for t in range(slices):
            mask[t] = (rows - row - t) ** 2 + (cols - col + t) ** 2 < radius**2
    images = 0.3 + 0.4 * masks.any(axis=0) + 0.05 * rng.standard_normal((slices, SIDE, SIDE))
    clip = ClipBatch(torch.from_numpy(images.clip(0, 1)).float()[None], torch.from_numpy(masks)[None])
    return clip.padded_to(room_for)


def disc_batches(*, slices: int = 3) -> BatchSource:
    """One disc clip per batch, another for every batch."""

    def batches(numbers: Iterable[int], *, image_size: int) -> Iterator[ClipBatch]:
        return (disc_clip(n, slices=slices) for n in numbers)

    return batches


def mini_config(folder: Path, *, steps: int = 4, **changes: object) -> FineTuneConfig:
    """A run of the mini model; its file lies beside the run's folder."""
    model = folder.parent / "mini.safetensors"
    if not model.exists():
        write_mini_model(model)
    fast = GroupConfig(learning_rate=1e-3)
    config = FineTuneConfig(
        start=StartConfig(model=str(model)),
        data=DataConfig(datasets=("none.json",)),
        prompts=PromptConfig(num_corrections=1),
        groups=GroupsConfig(trunk=TrunkConfig(learning_rate=1e-3), neck=fast, decoder=fast, memory=fast),
        optim=OptimConfig(steps=steps),
        run=RunConfig(folder=folder, report_every=2, report_after_s=1e9, save_every_s=0.0),
    )
    return replace(config, **changes)
