"""`make gpu`: what can only be measured on a GPU, in under ten minutes; written into benchmarks/README.md. Without one it says so."""

import statistics
import sys
import time
from pathlib import Path

import torch

from benchmarks.pair import NAME, OPTIONS, drain, our_model
from benchmarks.report import as_table, publish, seconds
from NeuroSAM2Core import Session, load_model
from NeuroSAM2Core.train.config import PretrainConfig
from NeuroSAM2Core.train.pretrain import pretrain
from Testing.Support.volumes import noise_volume

SLICES = 64
BOX = (60, 50, 190, 200)


def main() -> int:
    """Measures, or says why not."""
    if not torch.cuda.is_available():
        print("gpu: skipped, this machine has no CUDA device that PyTorch can use")
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
    started = time.perf_counter()
    folder = Path("runs/gpu")
    state = pretrain(PretrainConfig(), folder, device=torch.device("cuda"), max_seconds=120)
    rate = state.step / (time.perf_counter() - started)
    head = ("model", "first mask", "per slice", "slices per second")
    publish("gpu", "make gpu", as_table(head, rows) + f"\nPretraining: {rate:.1f} steps per second.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
