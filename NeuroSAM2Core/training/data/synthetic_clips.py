"""An endless supply of clips from synthetic volumes; the batch of a step follows from the seed and the step number alone."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from NeuroSAM2Core.synth import SyntheticVolume, render, sample_anatomy
from NeuroSAM2Core.training.config.pretraining import PretrainConfig, Stage
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.loading import loaded

SLICES_PER_RENDER = 8
RENDERS_PER_ANATOMY = 4
MIN_DEPTH = 16
MIN_PIXELS = 12


class SyntheticClips(Dataset[ClipBatch]):
    """The batch of every step of a run."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config

    def __len__(self) -> int:
        return self.config.total_steps

    def __getitem__(self, step: int) -> ClipBatch:
        stage = self.config.stage_at(step)
        rng = np.random.default_rng((self.config.seed, step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        clips: list[ClipBatch] = []
        while len(clips) < stage.clips:
            depth = max(MIN_DEPTH, stage.max_gap * stage.slices)
            anatomy = sample_anatomy((depth, stage.image_size, stage.image_size), generator)
            for _ in range(RENDERS_PER_ANATOMY):
                if len(clips) == stage.clips:
                    break
                volume = render(anatomy, generator)
                for _ in range(max(4, SLICES_PER_RENDER // stage.slices)):
                    clip = draw_clip(volume, stage, rng)
                    if clip is not None and len(clips) < stage.clips:
                        clips.append(clip)
        return ClipBatch.stack(clips)


def draw_clip(volume: SyntheticVolume, stage: Stage, rng: np.random.Generator) -> ClipBatch | None:
    """A run of slices that starts where some object can be seen; None if the volume has no such object.

    Slices are taken along the first axis, upwards or downwards, with a random gap; pictures are turned and flipped.
    """
    weights = np.array([o.weight for o in volume.objects])
    order: list[int] = []
    if len(weights):
        order = rng.choice(len(weights), len(weights), replace=False, p=weights / weights.sum()).tolist()
    chosen: list[Tensor] = []
    start, stride = 0, 1
    for i in order:
        mask = _mask_of(volume, i)
        if not chosen:
            visible = torch.nonzero(mask.flatten(1).sum(dim=1) >= MIN_PIXELS)[:, 0].tolist()
            if not visible:
                continue
            start = int(rng.choice(visible))
            stride = int(rng.integers(1, stage.max_gap + 1)) * (1 if rng.random() < 0.5 else -1)
            chosen.append(mask)
        elif int(mask[start].sum()) >= MIN_PIXELS:
            chosen.append(mask)
        if len(chosen) == stage.objects:
            break
    if not chosen:
        return None
    chosen = [chosen[i % len(chosen)] for i in range(stage.objects)]
    rows = torch.arange(stage.slices) * stride + start
    rows = rows.clamp(0, len(volume.labels) - 1).to(volume.labels.device)
    turn, flip = int(rng.integers(4)), bool(rng.integers(2))

    def view(x: Tensor) -> Tensor:
        x = torch.rot90(x, turn, dims=(-2, -1))
        return (x.flip(-1) if flip else x).contiguous()

    return ClipBatch(view(volume.image[rows])[None], view(torch.stack([mask[rows] for mask in chosen]))[None])


def _mask_of(volume: SyntheticVolume, i: int) -> Tensor:
    is_in = torch.zeros(256, dtype=torch.bool, device=volume.labels.device)
    is_in[sorted(volume.objects[i].labels)] = True
    return is_in[volume.labels.long()]


def batches(config: PretrainConfig, *, start: int, device: torch.device, workers: int) -> Iterator[ClipBatch]:
    """The batches of the steps from `start` on, prepared ahead on the CPU by worker processes; without any, when they are asked for."""
    steps = range(start, config.total_steps)
    return loaded(SyntheticClips(config), steps, workers=workers, pins=device.type == "cuda")
