"""The process group of distributed training: ranks, collectives, and failure handling.

Processes are started by `torchrun` or by a cluster's own launcher; they find each other through the usual environment variables
(`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT`). Without them, a process group of one does everything without a
message.

Broadcasts the failure of one process to the others, which would otherwise wait for its gradients until a timeout.

A process that waits inside a collective operation cannot be interrupted from Python. So each one listens in a thread of its own and
leaves at once when it sees the broadcast, with the reason in its log; whatever is on the disk is whole, as everything there is written
atomically.
"""

import json
import logging
import math
import os
import secrets
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import PrefixStore, Store, TCPStore
from torch.nn.parallel import DistributedDataParallel

from NeuroSAM2Core.errors import ConfigError, NeuroSAM2Error

logger = logging.getLogger(__name__)
KEY = "reason"
SEEN = "seen"
POLL_INTERVAL_S = 0.5
SHUTDOWN_GRACE_S = 10.0
HOST_SHUTDOWN_DELAY_S = 1.0
AGREE_INTERVAL_S = 0.05


class FailureBroadcast:
    """A failure broadcast that all processes of a run watch.

    Args:
        store: A connection of its own to what all share.
        rank: Of this process.
        size: Of the process group.
    """

    def __init__(self, store: Store, *, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self._is_over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listens while the body runs."""
        thread = threading.Thread(target=self._watch, name="failure-broadcast", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def broadcast(self, reason: str) -> None:
        """Tells the others why this process ends, and waits a moment until they know."""
        with suppress(dist.DistError, RuntimeError):  # the others may be gone already
            self.store.set(KEY, reason)
            deadline = time.monotonic() + SHUTDOWN_GRACE_S
            while self.store.add(SEEN, 0) < self.size - 1 and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_S / 5)
            time.sleep(
                1.5 * HOST_SHUTDOWN_DELAY_S
            )  # until they are gone: a connection that breaks under them would be their reason

    def _watch(self) -> None:
        while not self._is_over.wait(POLL_INTERVAL_S):
            try:
                if not self.store.check([KEY]):
                    continue
                reason = self.store.get(KEY).decode()
                self.store.add(SEEN, 1)
            except (dist.DistError, RuntimeError):
                reason = "the process that connects all others is gone"
            if not self._is_over.is_set():
                self._exit(reason)

    def _exit(self, reason: str) -> None:
        logger.error("this process (rank %d) ends because another one failed: %s", self.rank, reason)
        if self.rank == 0:  # through which the others may still be talking
            time.sleep(HOST_SHUTDOWN_DELAY_S)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1)


VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
"""What torchrun, srun and the usual MPI launchers call a process's number on its machine."""
ONE_GPU_EACH = ("SLURM_GPUS_PER_TASK", "SLURM_GPU_BIND")
"""Set where SLURM shows every process a GPU of its own, and no other."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The process group, as this rank sees it."""

    device: torch.device
    """Where this process computes."""
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True on rank 0, the only process that writes files and logs."""
        return self.rank == 0

    def share_of(self, count: int) -> range:
        """The numbers of this process's batches among the `count` batches of a step."""
        return range(self.rank, count, self.size)

    def any(self, value: bool) -> bool:
        """Whether any process says so; all must ask."""
        return self.sum([float(value)])[0] > 0

    def mean(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """The mean of each row's numbers over all processes, NaN where none has any. All must ask, with as many rows."""
        found = [[v for v in row if math.isfinite(v)] for row in rows]
        sums = self.sum([*map(sum, found), *map(len, found)])
        return [s / n if n else math.nan for s, n in zip(sums[: len(rows)], sums[len(rows) :], strict=True)]

    def wait(self) -> None:
        """Until all are here."""
        self.sum([0.0])

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are averaged over processes whenever it is called.

        Parameters that a step does not reach are looked for: which ones they are depends on the prompts of the step.
        """
        if self.size == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value added up over processes. All must ask, with as many values."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device if self.device.type == "cuda" else "cpu")
        dist.all_reduce(sums)
        total: list[float] = sums.tolist()
        return total


@contextmanager
def join_process_group(device: torch.device, *, timeout_minutes: float = 60.0) -> Iterator[ProcessGroup]:
    """The process group that the environment describes; an error inside ends all its processes, each with the reason.

    Args:
        device: The kind of device; of several GPUs each process takes its own.
        timeout_minutes: How long a process waits for the others, validation included.

    Raises:
        ConfigError: The environment names only some of what is needed, or there are more processes than GPUs.
    """
    there = [name for name in VARIABLES if name in os.environ]
    if not there or os.environ.get("WORLD_SIZE") == "1":
        yield ProcessGroup(device)
        return
    if len(there) < len(VARIABLES):
        missing = ", ".join(sorted(set(VARIABLES) - set(there)))
        raise ConfigError(
            f"{', '.join(there)} are set, but not {missing}", hint="start with torchrun; see docs/clusters.md"
        )
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = _own_device(device)
    outlives_us = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = _store(is_host=rank == 0 and not outlives_us)
    attempt = "neurosam2"
    if outlives_us:  # through env:// an attempt would find the addresses of the last
        attempts = PrefixStore(f"{attempt}/attempts", store)
        attempt += f"/{agreed_name(attempts, rank=rank, size=size, timeout_s=60 * timeout_minutes)}"
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore(attempt, store),
        rank=rank,
        world_size=size,
        timeout=timedelta(minutes=timeout_minutes),
    )
    failure_broadcast = FailureBroadcast(
        PrefixStore(f"{attempt}/failures", _store(is_host=False)), rank=rank, size=size
    )
    try:
        with failure_broadcast.watching(), warnings.catch_warnings():
            # Of convolutions with one channel per group; it costs nothing there.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield ProcessGroup(device, rank, size)
            dist.barrier()
    except BaseException as error:
        value = error.message if isinstance(error, NeuroSAM2Error) else f"{type(error).__name__}: {error}"
        failure_broadcast.broadcast(f"rank {rank}: {value}")
        raise
    finally:
        dist.destroy_process_group()


def agreed_name(store: Store, *, rank: int, size: int, timeout_s: float) -> str:
    """A name that exactly the processes of this attempt share, in a store where those of earlier ones have left their values.

    The launcher's own number of the attempt will not do: a node that joins later counts from 0, and one that loses another does not count.

    Args:
        store: What all share.
        rank: Of this process.
        size: Of the process group.
        timeout_s: How long the others may take to come.

    Raises:
        ConfigError: They have not come.
    """
    own, deadline = secrets.token_hex(8), time.monotonic() + timeout_s
    here = [f"here/{n}" for n in range(size)]
    store.set(here[rank], own)
    seen: list[str] = []
    while time.monotonic() < deadline:
        if rank == 0 and store.check(here):
            there = [store.get(key).decode() for key in here]
            if there != seen:  # some of them may have been left by an earlier attempt
                store.set("attempt", json.dumps(there))
        if store.check(["attempt"]):
            names = json.loads(store.get("attempt"))
            if len(names) == size and names[rank] == own:
                name = "-".join(names)
                if names != seen:
                    seen = names
                    store.add(f"seen/{name}", 1)
                if store.add(f"seen/{name}", 0) == size:
                    return name
        time.sleep(AGREE_INTERVAL_S)
    raise ConfigError(
        f"of {size} processes that are to train together, some have not come within {timeout_s / 60:g} minutes",
        hint="look at the logs of the others; can they reach this machine?",
    )


def _own_device(device: torch.device) -> torch.device:
    if device.type != "cuda":
        return device
    local, num_gpus = _local_rank(), torch.cuda.device_count()
    if num_gpus == 1 and any(name in os.environ for name in ONE_GPU_EACH):
        local = 0
    if local >= num_gpus:
        raise ConfigError(
            f"process {local} of this machine has no GPU of its own; there are {num_gpus}",
            hint="start as many processes per machine as it has GPUs",
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _local_rank() -> int:
    """This process's number among those of its machine, as the launcher says."""
    for name in LOCAL_RANKS:
        if name in os.environ:
            return int(os.environ[name])
    raise ConfigError(
        f"LOCAL_RANK is not set: all processes of a machine would use the same GPU; {LOCAL_RANKS[1]} would do as well",
        hint="start with torchrun or, under SLURM, with srun; see docs/clusters.md",
    )


def _store(*, is_host: bool) -> TCPStore:
    return TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=is_host, wait_for_workers=False
    )
