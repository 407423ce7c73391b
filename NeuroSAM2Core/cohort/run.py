"""The cases of a cohort, distributed by Dask: over processes of this machine, or over a cluster that its scheduler knows.

Dask does again elsewhere what a lost process was doing; a case that ends its process again and again is given up, with a sentence.
Only the names of cases and their records travel: every process reads the annotated cases and the model once, and one image at a time.
"""

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker

from NeuroSAM2Core.cohort.plan import CohortCase, CohortPlan
from NeuroSAM2Core.cohort.record import CaseRecord, CohortFolder
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.memory import free_memory
from NeuroSAM2Core.startup import num_cores

if TYPE_CHECKING:
    from NeuroSAM2Core.cohort.answer import CohortEngine

logger = logging.getLogger(__name__)
BYTES_PER_WORKER = 3 << 30
"""What a process takes with `nano` and a head of 1 mm, with some to spare."""
MAX_RESTARTS = 3
CONNECT_S = 10.0
"""So long a scheduler may take to answer."""
SETTINGS = {
    "distributed.scheduler.allowed-failures": MAX_RESTARTS,
    "distributed.scheduler.work-stealing": True,
    "distributed.worker.daemon": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.log-length": 1000,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """Where cases are done."""

    count: int = 0
    """Processes of this machine; one for each GPU, or as many as cores and memory allow, if 0."""
    scheduler: str = ""
    """The address of a Dask scheduler, or its file; empty for this machine alone."""


def run_cohort(
    plan: CohortPlan,
    cases: Sequence[CohortCase],
    folder: CohortFolder,
    *,
    workers: Workers | None = None,
    report: Callable[[CaseRecord], None] = lambda record: None,
) -> None:
    """Does all cases that are not done yet.

    Args:
        plan: Templates, model, settings.
        cases: All of the cohort.
        folder: Is claimed for the plan.
        workers: As many processes of this machine as fit if None.
        report: Hears the record of each case as it is done.

    Raises:
        ConfigError: The cluster cannot be reached.
    """
    with _client(workers or Workers(), plan, len(cases)) as client:
        client.register_plugin(EnginePlugin(plan, folder), name="cohort")
        by_key = {f"{case.name}-{plan.fingerprint}": case for case in cases}
        futures = client.map(_do, list(by_key.values()), key=list(by_key), pure=False)
        try:
            for future in as_completed(futures):
                record = (
                    future.result() if future.status == "finished" else _lost(by_key[future.key], plan, folder, future)
                )
                report(record)
                future.release()
        except BaseException:
            client.cancel(futures, force=True)
            raise


def _do(case: CohortCase) -> CaseRecord:
    """A case, on a worker."""
    plugin = get_worker().plugins["cohort"]
    assert isinstance(plugin, EnginePlugin), "it was registered under that name"
    return plugin.engine.do(case)


class EnginePlugin(WorkerPlugin):
    """What each worker holds, also one that comes later: annotated cases and model, read when its first case comes.

    Args:
        plan: Says which.
        folder: Where results go.
    """

    def __init__(self, plan: CohortPlan, folder: CohortFolder) -> None:
        self._plan, self._folder = plan, folder
        self._worker_name: object = ""

    def setup(self, worker: Worker) -> None:
        """Is called on the worker."""
        self._worker_name = worker.name

    @cached_property
    def engine(self) -> "CohortEngine":
        """Read once."""
        return load_engine(self._plan, self._folder, self._worker_name)


def load_engine(plan: CohortPlan, folder: CohortFolder, worker_name: object = "") -> "CohortEngine":
    """What one process needs; of several GPUs, the workers take turns.

    Raises:
        NeuroSAM2Error: A file is missing or damaged.
    """
    import torch

    from NeuroSAM2Core.cohort.answer import CohortEngine

    if plan.device in ("auto", "cuda") and (count := torch.cuda.device_count()) > 1 and str(worker_name).isdecimal():
        torch.cuda.set_device(int(str(worker_name)) % count)
    return CohortEngine.load(plan, folder)


def _lost(case: CohortCase, plan: CohortPlan, folder: CohortFolder, future: "Future[CaseRecord]") -> CaseRecord:
    """The record of a case that no process came to the end of."""
    error = future.exception()
    problem = (
        f"the process that worked on it ended {MAX_RESTARTS + 1} times; it may have run out of memory"
        if isinstance(error, KilledWorker)
        else f"it could not be done: {error}"
    )
    record = CaseRecord(case=case.name, image=folder.source(case.image), fingerprint=plan.fingerprint, problem=problem)
    folder.write(case, record)
    return record


@contextlib.contextmanager
def _client(workers: Workers, plan: CohortPlan, num_cases: int) -> Iterator[Client]:
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(SETTINGS):
        if workers.scheduler:
            is_file = Path(workers.scheduler).is_file()
            where = {"scheduler_file": workers.scheduler} if is_file else {"address": workers.scheduler}
            try:
                client = Client(**where, timeout=CONNECT_S)
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"there is no Dask scheduler at {workers.scheduler}: {error}",
                    hint="start one with `dask scheduler`",
                ) from error
            with client:
                yield client
            return
        count = min(workers.count or _fitting(plan), max(1, num_cases))
        is_encrypted = importlib.util.find_spec("cryptography") is not None
        if not is_encrypted:
            logger.warning(
                "other users of this machine can reach the workers; `pip install cryptography` shuts them out"
            )
        with (
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=int(free_memory() / count),
                dashboard_address="127.0.0.1:0",  # its pages are left out, see `SETTINGS`
                security=True if is_encrypted else None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


def _fitting(plan: CohortPlan) -> int:
    """A process for each GPU; without one, as many as cores and free memory allow."""
    import torch

    if plan.device in ("auto", "cuda") and torch.cuda.device_count():
        return torch.cuda.device_count()
    return max(1, min(num_cores() // plan.threads, free_memory() // BYTES_PER_WORKER))
