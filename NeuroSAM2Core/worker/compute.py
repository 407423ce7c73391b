"""The one thread that computes: it takes the job whose turn it is, does one step of it and says what came of it.

Everything of the engine lives in this thread. What may wait for how long is decided in `schedule`; what the steps are, in `steps`.
"""

import logging
import threading

import torch

from NeuroSAM2Core.errors import NeuroSAM2Error, WorkerError, is_out_of_memory
from NeuroSAM2Core.protocol.messages import Failed, Finished, FromWorker, LogLine
from NeuroSAM2Core.worker.desk import Desk
from NeuroSAM2Core.worker.limits import WorkerLimits
from NeuroSAM2Core.worker.schedule import Job
from NeuroSAM2Core.worker.steps import Post, Steps
from NeuroSAM2Core.worker.volume_store import VolumeStore

logger = logging.getLogger(__name__)


class Compute:
    """Does the jobs on a desk until it is told to stop.

    Args:
        desk: Where the jobs are.
        post: Takes the events.
        store: Holds the voxels.
        limits: The worker's bounds.
    """

    def __init__(self, desk: Desk, post: Post, store: VolumeStore, limits: WorkerLimits) -> None:
        self._desk, self._post = desk, post
        self._steps = Steps(desk, post, store, limits)
        if limits.threads is not None:
            torch.set_num_threads(limits.threads)

    def run(self) -> None:
        """The thread's body."""
        handler = _ForwardedLog(self._desk, self._post)
        logging.getLogger("NeuroSAM2Core").addHandler(handler)
        try:
            while (job := self._desk.take()) is not None:
                self._do(job)
                self._desk.put_down()
        finally:
            logging.getLogger("NeuroSAM2Core").removeHandler(handler)

    def _do(self, job: Job) -> None:
        """One step; whatever goes wrong in it becomes a sentence for the client and leaves the worker as it was."""
        if job.is_cancelled:
            self._steps.drop(job)
            self._end(job, Finished(request_id=job.number, was_cancelled=True))
            return
        final, full_place = None, ""
        try:
            final = self._steps.do(job)
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
            final = self._make_room(job, full_place)
        if final is not None:
            self._end(job, final)

    def _make_room(self, job: Job, place: str) -> FromWorker | None:
        """There is no room: what can be computed again is let go of, and the step is tried again with less at a time."""
        self._steps.make_room(is_repeated=job.num_retries > 0)
        if job.num_retries < MAX_RETRIES:
            job.num_retries += 1
            logger.warning("%s has no room left; what can be computed again is let go of", place)
            job.steps = None
            self._desk.put_back(job)
            return None
        return _failed(job, WorkerError(f"{place} has no room for this, with nothing else kept", hint=NO_ROOM_HINT))

    def _end(self, job: Job, final: FromWorker) -> None:
        cancels = self._desk.end(job)
        if cancels is None:
            return
        for event in (final, *(Finished(request_id=number) for number in cancels)):
            try:
                self._post(job.client, event)
            except Exception as error:  # what cannot be said must not take the other clients down either
                logger.exception("the answer to a %s could not be sent", type(job.work).__name__)
                defect = WorkerError(f"the worker's answer cannot be sent: {type(error).__name__}: {error}")
                self._post(job.client, _failed(job, defect))


MAX_RETRIES = 2
"""Of one step; the next step begins anew."""
NO_ROOM_HINT = "choose a smaller model or image size, end other programs that use the device, or use device cpu"


def _failed(job: Job, error: NeuroSAM2Error) -> Failed:
    return Failed(request_id=job.number, kind=type(error).__name__, message=error.message, hint=error.hint)


class _ForwardedLog(logging.Handler):
    """Sends what is logged about a client's job to that client."""

    def __init__(self, desk: Desk, post: Post) -> None:
        super().__init__(logging.INFO)
        self._desk, self._post, self._thread = desk, post, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        job = self._desk.current
        if job is not None and record.thread == self._thread:
            self._post(job.client, LogLine(level=record.levelname, text=record.getMessage()))
