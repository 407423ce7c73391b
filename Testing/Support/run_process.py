"""Training runs in processes of their own, for tests that kill them or let several train together."""

import logging
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

MODULES = [
    *("NeuroSAM2Core.train.fine_tune", "Testing.Support.training", "Testing.Support.run_process"),
    *("torch.utils.tensorboard", "matplotlib.backends.backend_agg"),
]


def process_context() -> ForkServerContext:
    """Processes that begin with everything imported, so that starting one costs next to nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


def train_to_the_end(folder: Path, steps: int, has_begun: Callable[[], object]) -> None:
    """Begins or goes on with a run that saves after every step; what a process of its own does."""
    from NeuroSAM2Core.train.fine_tune import fine_tune
    from Testing.Support.training import disc_batches, mini_config

    torch.set_num_threads(1)
    fine_tune(
        mini_config(folder, steps=steps),
        torch.device("cpu"),
        batches=disc_batches(),
        resume=True,
        on_start=lambda beginning: has_begun(),
    )


def as_rank(rank: int, size: int, port: int, log: Path, act: Callable[[], object]) -> None:
    """Acts as one of several processes that train together; what it says goes to a file."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with log.open("w", encoding="utf-8") as file:
        sys.stderr = file
        logging.basicConfig(stream=file, level=logging.WARNING, force=True)
        act()


def start_ranks(size: int, folder: Path, act: Callable[[], object]) -> list[BaseProcess]:
    """Processes that act together; their logs are `rank0.txt` and so on in the folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = process_context()
    team = [
        context.Process(target=as_rank, args=(rank, size, port, folder / f"rank{rank}.txt", act))
        for rank in range(size)
    ]
    for one in team:
        one.start()
    return team
