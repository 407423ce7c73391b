"""Training runs in processes of their own, for tests that kill them or let several train together."""

import logging
import multiprocessing
import multiprocessing.util
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch.utils.data import Dataset, _utils

from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.trainer import loop
from Testing.Support.training import disc_batches, disc_clip, mini_config

MODULES = [
    *("NeuroSAM2Core.training.fine_tune", "Testing.Support.training", "Testing.Support.run_process"),
    *("tensorboard.summary.writer.record_writer", "matplotlib.backends.backend_agg"),
]


LIMIT_S = 60


def process_context() -> ForkServerContext:
    """Processes that begin with everything imported, so that starting one costs next to nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    with mock.patch.dict(os.environ), mock.patch.object(tempfile, "tempdir", None):
        os.environ.pop("TMPDIR", None)  # its socket's path may have 107 letters; Python 3.14 sees to that itself
        multiprocessing.util.get_temp_dir()  # asked for once, it stays where it is
    return context


def without_pictures(folder: Path) -> None:
    """In place of the drawing of curves, which takes longer than the training does here."""


def train_to_the_end(folder: Path, steps: int, has_begun: Callable[[], object]) -> None:
    """Begins or goes on with a run that saves after every step; what a process of its own does."""
    torch.set_num_threads(1)
    loop.plot_curves = without_pictures
    fine_tune(
        mini_config(folder, steps=steps),
        torch.device("cpu"),
        batches=disc_batches(),
        resume=True,
        on_start=lambda beginning: has_begun(),
    )


def steps_saved(folder: Path) -> int:
    """The step of the newest checkpoint, from its name; 0 without one."""
    return max((int(path.stem[5:]) for path in (folder / "checkpoints").glob("step-*")), default=0)


def kill_a_run(folder: Path, steps: int, rng: np.random.Generator, *, while_it_starts: bool = False) -> None:
    """Lets a run go on in a process of its own and kills it at a random moment: up to two steps on, or before its first one."""
    context = process_context()
    has_begun = context.Event()
    process = context.Process(target=train_to_the_end, args=(folder, steps, has_begun.set))
    before = steps_saved(folder)
    process.start()
    if while_it_starts:
        process.join(rng.uniform(0.0, 0.15))
    else:
        assert has_begun.wait(LIMIT_S)
        wanted, deadline = before + rng.integers(3), time.monotonic() + LIMIT_S
        while steps_saved(folder) < wanted and time.monotonic() < deadline:
            process.join(0.01)
        process.join(rng.uniform(0.0, 0.1))
        assert process.exitcode is None, "the run is long enough to be killed"
    process.kill()
    process.join(LIMIT_S)


def as_rank(rank: int, size: int, port: int, log: Path, act: Callable[[], object]) -> None:
    """Acts as one of several processes that train together; what it says goes to a file."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with log.open("w", encoding="utf-8") as file:
        sys.stderr = file
        logging.basicConfig(stream=file, level=logging.WARNING, force=True)
        act()


def start_ranks(size: int, folder: Path, act: Callable[[], object], *, port: int = 0) -> list[BaseProcess]:
    """Processes that act together; their logs are `rank0.txt` and so on in the folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = port or probe.getsockname()[1]
    context = process_context()
    process_group = [
        context.Process(target=as_rank, args=(rank, size, port, folder / f"rank{rank}.txt", act))
        for rank in range(size)
    ]
    for one in process_group:
        one.start()
    return process_group


class HangingClips(Dataset[ClipBatch]):
    """Clips of which the second never comes."""

    def __getitem__(self, number: int) -> ClipBatch:
        if number:
            threading.Event().wait()
        return disc_clip(number)


def train_until_a_batch_hangs(folder: Path, is_waiting: Callable[[], object]) -> None:
    """Trains one step and waits for the second; what a process of its own does."""
    torch.set_num_threads(1)
    _utils.MP_STATUS_CHECK_INTERVAL = 0.2  # so long does PyTorch wait for a process to end

    def batches(numbers: Iterable[int], *, image_size: int) -> Iterator[ClipBatch]:
        for clip in loaded(HangingClips(), numbers, workers=1):
            yield clip
            is_waiting()

    fine_tune(mini_config(folder), torch.device("cpu"), batches=batches)
