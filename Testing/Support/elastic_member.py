"""What torchrun starts: one process of a small run; on the first attempt the last rank is killed in the last step.

torchrun ... -m Testing.Support.elastic_member FOLDER
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig, OptimConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.trainer import loop
from Testing.Support.run_process import without_pictures
from Testing.Support.training import disc_clip, mini_config

STEPS, CLIPS = 3, 4


def elastic_config(folder: Path) -> FineTuneConfig:
    """The run."""
    return mini_config(folder / "run", optim=OptimConfig(steps=STEPS, clips_per_step=CLIPS))


def batches(numbers: Iterable[int], *, image_size: int) -> Iterator[ClipBatch]:
    """Disc clips, until this process is killed."""
    is_last = os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1)
    for number in numbers:
        killed = Path(sys.argv[1]) / "killed"
        if is_last and number >= (STEPS - 1) * CLIPS and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield disc_clip(number)


if __name__ == "__main__":
    torch.set_num_threads(1)
    loop.plot_curves = without_pictures
    fine_tune(elastic_config(Path(sys.argv[1])), torch.device("cpu"), batches=batches, resume=True)
