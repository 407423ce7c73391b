"""First masks, propagation and training steps on a GPU. Part of `make gpu`.

Usage: python -m benchmarks.gpu_speed
"""

import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.pair import NAME, OPTIONS, drain, our_model
from benchmarks.report import as_table, publish, seconds
from NeuroSAM2Core import Session, load_model
from NeuroSAM2Core.training.config.pretraining import PretrainConfig
from NeuroSAM2Core.training.data.synthetic_clips import SyntheticClips
from NeuroSAM2Core.training.pretrain import SyntheticTask, optimizer_step_config, start
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.optimizer_step import update
from Testing.Support.volumes import noise_volume

SLICES = 64
BOX = (60, 50, 190, 200)
WARM_STEPS, STEPS = 3, 8


def main() -> int:
    """Measures, or says why not."""
    if not torch.cuda.is_available():
        print("gpu_speed: skipped, this machine has no CUDA device that PyTorch can use")
        return 0
    rows = []
    volume = noise_volume(SLICES, 256, 256)
    models = [(f"{NAME} at {size} px", our_model(size).cuda()) for size in (512, 1024)] + [("nano", load_model("nano"))]
    for name, model in models:
        Session(model, volume, options=OPTIONS).add_box(1, "axial", 0, BOX)  # warm-up
        times = []
        for _ in range(3):
            session = Session(model, volume, options=OPTIONS)
            first = seconds(lambda s=session: (s.add_box(1, "axial", 0, BOX), torch.cuda.synchronize()))
            whole = seconds(lambda s=session: (drain(s), torch.cuda.synchronize()))
            times.append((first, whole / (SLICES - 1)))
        first, per_slice = (statistics.median(t) for t in zip(*times, strict=True))
        rows.append((name, f"{1000 * first:.1f} ms", f"{1000 * per_slice:.1f} ms", f"{1 / per_slice:.0f}"))
    head = ("model", "first mask", "per slice", "slices per second")
    training = as_table(("pretraining stage", "clips x objects x slices", "per step"), list(training_rows()))
    publish("gpu", "python -m benchmarks.gpu_speed", as_table(head, rows) + "\n" + training)
    return 0


def training_rows() -> Iterator[tuple[str, ...]]:
    """Each stage of the pretraining and its time per optimiser step."""
    config = PretrainConfig()
    for stage in config.stages:
        per_step = seconds_per_step(replace(config, stages=(replace(stage, steps=WARM_STEPS + STEPS),)))
        yield f"{stage.image_size} px", f"{stage.clips} x {stage.objects} x {stage.slices}", f"{1000 * per_step:.0f} ms"


def seconds_per_step(config: PretrainConfig) -> float:
    """The median time of a step of a run with one stage, on a batch that is ready."""
    device = torch.device("cuda")
    batch = SyntheticClips(config)[0].to(device)
    state, rules, process_group = start(config, device), optimizer_step_config(config, device), ProcessGroup(device)
    segmenter = ClipSegmenter(state.model, config.prompts, config.losses)
    segmenter.train()
    SyntheticTask(config, device, workers=0).prepare(state, segmenter)

    def step() -> None:
        update(state, segmenter, [batch], segmenter.prompts, rules, process_group)
        torch.cuda.synchronize()

    return statistics.median([seconds(step) for _ in range(config.total_steps)][WARM_STEPS:])


if __name__ == "__main__":
    sys.exit(main())
