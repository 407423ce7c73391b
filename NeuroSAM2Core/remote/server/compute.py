"""The compute thread: takes the next job, runs one step of it and sends the events.

Everything of the engine lives in this thread. What may wait for how long is decided in `schedule`; what the steps are, in `steps`.
"""

import logging
import threading

import torch

from NeuroSAM2Core.errors import NeuroSAM2Error, WorkerError, is_out_of_memory
from NeuroSAM2Core.remote.messages import Failed, Finished, LogLine, WorkerMessage
from NeuroSAM2Core.remote.server.job_queue import JobQueue
from NeuroSAM2Core.remote.server.job_runner import JobRunner, SendEvent
from NeuroSAM2Core.remote.server.limits import WorkerLimits
from NeuroSAM2Core.remote.server.schedule import Job
from NeuroSAM2Core.remote.server.volume_store import VolumeStore

logger = logging.getLogger(__name__)


class Compute:
    """Runs queued jobs until the queue is closed.

    Args:
        queue: Where the jobs are.
        send_event: Takes the events.
        store: Holds the voxels.
        limits: The worker's bounds.
    """

    def __init__(self, queue: JobQueue, send_event: SendEvent, store: VolumeStore, limits: WorkerLimits) -> None:
        self._queue, self._send_event = queue, send_event
        self._runner = JobRunner(queue, send_event, store, limits)
        if limits.threads is not None:
            torch.set_num_threads(limits.threads)

    def run(self) -> None:
        """The thread's body."""
        handler = _ForwardedLog(self._queue, self._send_event)
        logging.getLogger("NeuroSAM2Core").addHandler(handler)
        try:
            while (job := self._queue.next_job()) is not None:
                self._do(job)
                self._queue.release()
        finally:
            logging.getLogger("NeuroSAM2Core").removeHandler(handler)

    def _do(self, job: Job) -> None:
        """Runs one step; an error becomes an event for the client and leaves the worker as it was."""
        if job.is_cancelled:
            self._runner.drop(job)
            self._end(job, Finished(request_id=job.number, was_cancelled=True))
            return
        final, full_place = None, ""
        try:
            final = self._runner.do(job)
            job.num_retries = 0
        except NeuroSAM2Error as error:
            final = _failed(job, error)
        except Exception as error:  # the edge: a defect of ours must not take the other clients down
            if is_out_of_memory(error):
                full_place = "the worker's machine" if isinstance(error, MemoryError) else "the device"
            else:
                logger.exception("%s failed", type(job.work).__name__)
                final = _failed(
                    job, WorkerError(f"the worker met a defect of its own: {type(error).__name__}: {error}")
                )
        if full_place:  # only now is the memory free that the failed step held
            final = self._free_memory(job, full_place)
        if final is not None:
            self._end(job, final)

    def _free_memory(self, job: Job, place: str) -> WorkerMessage | None:
        """Out of memory: drops caches and retries the step with smaller batches."""
        self._runner.free_memory(is_repeated=job.num_retries > 0)
        if job.num_retries < MAX_RETRIES:
            job.num_retries += 1
            logger.warning("%s is out of memory; caches are dropped", place)
            job.steps = None
            self._queue.put_back(job)
            return None
        return _failed(
            job,
            WorkerError(
                f"{place} does not have enough memory for this, with nothing else kept", hint=OUT_OF_MEMORY_HINT
            ),
        )

    def _end(self, job: Job, final: WorkerMessage) -> None:
        cancels = self._queue.end(job)
        if cancels is None:
            return
        for event in (final, *(Finished(request_id=number) for number in cancels)):
            try:
                self._send_event(job.client, event)
            except Exception as error:  # what is unknown must not take the other clients down either
                logger.exception("the answer to a %s could not be sent", type(job.work).__name__)
                defect = WorkerError(f"the worker's answer cannot be sent: {type(error).__name__}: {error}")
                self._send_event(job.client, _failed(job, defect))


MAX_RETRIES = 2
"""Of one step; the next step begins anew."""
OUT_OF_MEMORY_HINT = "choose a smaller model or image size, end other programs that use the device, or use device cpu"


def _failed(job: Job, error: NeuroSAM2Error) -> Failed:
    return Failed(request_id=job.number, kind=type(error).__name__, message=error.message, hint=error.hint)


class _ForwardedLog(logging.Handler):
    """Sends what is logged about a client's job to that client."""

    def __init__(self, queue: JobQueue, send_event: SendEvent) -> None:
        super().__init__(logging.INFO)
        self._queue, self._send_event, self._thread = queue, send_event, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        job = self._queue.current
        if job is not None and record.thread == self._thread:
            self._send_event(job.client, LogLine(level=record.levelname, text=record.getMessage()))
