"""The compute thread: takes the next job, runs one step of it on the engine and sends the events.

A short job takes one step; a long one yields one slice a step. What may wait for how long is decided in `job_queue`.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator

import torch

from NeuroSAM2Core.components.device import is_extension_active, release_cached_memory
from NeuroSAM2Core.errors import Cancelled, NeuroSAM2Error, WorkerError, is_out_of_memory
from NeuroSAM2Core.inference import Session
from NeuroSAM2Core.remote.messages import (
    UNSOLICITED,
    CleanObject,
    CloseVolume,
    Failed,
    Finished,
    LoadModel,
    LogLine,
    ModelLoaded,
    OpenVolume,
    Precompute,
    PredictSlice,
    PreviewSlice,
    Progress,
    Propagate,
    RemoveObject,
    RestoreSlice,
    SliceAnswered,
    SliceCleaned,
    SlicePreviewed,
    SliceTracked,
    VolumeClosed,
    VolumeOpened,
    WorkerMessage,
)
from NeuroSAM2Core.remote.server.counters import Counters
from NeuroSAM2Core.remote.server.job_queue import ClientResources, ForgetClient, Job, JobQueue
from NeuroSAM2Core.remote.server.options import WorkerLimits
from NeuroSAM2Core.remote.server.resources import Models, Sessions
from NeuroSAM2Core.remote.server.volume_store import VolumeStore
from NeuroSAM2Core.volume import SliceMask, SlicePlane

logger = logging.getLogger(__name__)

TURN_S = 0.25
"""A job of many small steps goes on for so long before other clients have their turn."""
SendEvent = Callable[[int, WorkerMessage], None]
"""Sends an event to a client; may be called from any thread."""
MAX_RETRIES = 2
"""Of one step; the next step begins anew."""
OUT_OF_MEMORY_HINT = "choose a smaller model or image size, end other programs that use the device, or use device cpu"


class Compute:
    """Runs queued jobs until the queue is closed.

    Args:
        queue: Where the jobs are.
        send_event: Takes the events.
        store: Holds the voxels.
        limits: The worker's bounds.
        counters: Counts what is done.
    """

    def __init__(
        self, queue: JobQueue, send_event: SendEvent, store: VolumeStore, limits: WorkerLimits, counters: Counters
    ) -> None:
        self._queue, self._send_event, self._counters = queue, send_event, counters
        self._runner = JobRunner(queue, send_event, store, limits)
        if limits.threads is not None:
            torch.set_num_threads(limits.threads)

    def run(self) -> None:
        """The thread's body."""
        handler = _ForwardedLog(self._queue, self._send_event)
        logging.getLogger("NeuroSAM2Core").addHandler(handler)
        try:
            while (job := self._queue.next_job()) is not None:
                began = time.monotonic()
                self._do(job)
                self._counters.computed(job.kind, time.monotonic() - began)
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
            final = Failed.of(error, job.number)
        except Exception as error:  # the edge: a defect of ours must not take the other clients down
            if is_out_of_memory(error):
                full_place = "the worker's machine" if isinstance(error, MemoryError) else "the device"
            else:
                logger.exception("%s failed", job.kind)
                defect = WorkerError(f"the worker met a defect of its own: {type(error).__name__}: {error}")
                final = Failed.of(defect, job.number)
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
        full = f"{place} does not have enough memory for this, with nothing else kept"
        return Failed.of(WorkerError(full, hint=OUT_OF_MEMORY_HINT), job.number)

    def _end(self, job: Job, final: WorkerMessage) -> None:
        cancels = self._queue.end(job)
        if cancels is None:
            return
        self._counters.ended(job.kind, _outcome(final), time.monotonic() - job.came)
        for event in (final, *(Finished(request_id=number) for number in cancels)):
            try:
                self._send_event(job.client, event)
            except Exception as error:  # what is unknown must not take the other clients down either
                logger.exception("the answer to a %s could not be sent", job.kind)
                defect = WorkerError(f"the worker's answer cannot be sent: {type(error).__name__}: {error}")
                self._send_event(job.client, Failed.of(defect, job.number))


def _outcome(final: WorkerMessage) -> str:
    if isinstance(final, Failed):
        return "failed"
    return "cancelled" if isinstance(final, Finished) and final.was_cancelled else "done"


class _ForwardedLog(logging.Handler):
    """Sends what is logged about a client's job to that client."""

    def __init__(self, queue: JobQueue, send_event: SendEvent) -> None:
        super().__init__(logging.INFO)
        self._queue, self._send_event, self._thread = queue, send_event, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        job = self._queue.current
        if job is not None and record.thread == self._thread:
            self._send_event(job.client, LogLine(level=record.levelname, text=record.getMessage()))


class JobRunner:
    """Runs one step of a job at a time.

    Args:
        queue: To know which long jobs a change touches.
        send_event: Takes events that are not final.
        store: Holds the voxels.
        limits: The worker's bounds.
    """

    def __init__(self, queue: JobQueue, send_event: SendEvent, store: VolumeStore, limits: WorkerLimits) -> None:
        self._queue, self._send_event, self._store = queue, send_event, store
        self._models = Models()
        self._sessions = Sessions(store, limits)

    def drop(self, job: Job) -> None:
        """Cleans up after a job that was cancelled or has failed."""
        if isinstance(job.work, OpenVolume) and job.work.volume_id not in self._sessions.of(job.client):
            self._store.release(job.work.volume_id, job.client)

    def do(self, job: Job) -> WorkerMessage | None:
        """One step of a job. Returns its final event, or None where more steps are to come or nobody asked.

        Raises:
            NeuroSAM2Error: It cannot be done.
            RuntimeError: The device does not have enough memory for it (`is_out_of_memory`).
        """
        final = self._step(job)
        if isinstance(job.work, LoadModel | OpenVolume | CloseVolume | ForgetClient):
            self._publish_client_resources(job.client)
        return final

    def _step(self, job: Job) -> WorkerMessage | None:
        work, client, number = job.work, job.client, job.number
        match work:
            case LoadModel():
                return self._load_model(job, work)
            case OpenVolume():
                return self._open_volume(job, work)
            case CloseVolume():
                self._close(job, work.volume_id)
                return VolumeClosed(request_id=number, volume_id=work.volume_id, reason="it was closed")
            case PredictSlice():
                return self._predict(job, work)
            case PreviewSlice():
                return self._preview(job, work)
            case RestoreSlice():
                return self._restore(job, work)
            case RemoveObject():
                session = self._sessions.get(client, work.volume_id)
                if work.object_id in session.object_ids:
                    session.remove(work.object_id)
                self._changed(client, work.volume_id, work.object_id)
                return Finished(request_id=number)
            case Propagate():
                return self._propagate(job, work)
            case CleanObject():
                return self._clean(job, work)
            case Precompute():
                return self._precompute(job, work)
            case ForgetClient():
                self._forget(client, work)
                return None

    def free_memory(self, *, is_repeated: bool) -> None:
        """Drops all caches.

        Args:
            is_repeated: That was not enough before: keep less from now on.
        """
        self._sessions.forget_features()
        if is_repeated:
            self._sessions.use_less_memory()
        release_cached_memory()

    def _publish_client_resources(self, client: int) -> None:
        loaded, volume_ids = self._models.of(client), tuple(self._sessions.of(client))
        if loaded is None:
            self._queue.note(client, ClientResources(volume_ids=volume_ids) if volume_ids else None)
        else:
            self._queue.note(client, ClientResources(model=loaded.name, device=loaded.device, volume_ids=volume_ids))

    def _load_model(self, job: Job, work: LoadModel) -> WorkerMessage:
        loaded, is_other = self._models.load(job.client, work)
        if is_other:
            for key in self._sessions.of(job.client):
                self._close(job, key)
                closed = VolumeClosed(request_id=UNSOLICITED, volume_id=key, reason="another model was loaded")
                self._send_event(job.client, closed)
        model = loaded.model
        logger.info("model loaded on %s, %d pixels", loaded.device, model.config.image_size)
        return ModelLoaded(
            request_id=job.number,
            model=loaded.name,
            device=loaded.device,
            image_size=model.config.image_size,
            num_weights=sum(weight.numel() for weight in model.parameters()),
            has_kernels=model.device.type == "cuda" and is_extension_active(),
            review_iou_threshold=model.config.review_iou_threshold,
            sha256=loaded.sha256,
        )

    def _open_volume(self, job: Job, work: OpenVolume) -> WorkerMessage:
        try:
            is_new = self._open_session(job, work)
        finally:
            self.drop(job)
        return VolumeOpened(request_id=job.number, volume_id=work.volume_id, is_new=is_new)

    def _open_session(self, job: Job, work: OpenVolume) -> bool:
        volume = job.volume
        if volume is None:
            assert job.incoming is not None
            volume = job.incoming.finish()
        volume = self._store.put(work.volume_id, volume, job.client)
        loaded = self._models.of(job.client)
        if loaded is None:
            raise WorkerError("there is no model yet", hint="load one before a volume is opened")
        is_new = self._sessions.open(job.client, work, volume, loaded.model)
        if is_new:
            self._stop_long_jobs(job, work.volume_id)
            logger.info("volume of %d x %d x %d %s opened", *work.shape[::-1], work.dtype)
        return is_new

    def _predict(self, job: Job, work: PredictSlice) -> WorkerMessage | None:
        session = self._sessions.get(job.client, work.volume_id, work.cleanup)
        if not self._is_through(job, lambda: session.set_prompts_stepwise(work.prompts)):
            return None
        mask = _checked(session.set_prompts(work.prompts))
        first, last = session.span(mask.object_id, mask.plane)
        self._changed(job.client, work.volume_id, mask.object_id)
        return SliceAnswered(
            request_id=job.number, volume_id=work.volume_id, mask=mask, stale_first=first, stale_last=last
        )

    def _preview(self, job: Job, work: PreviewSlice) -> WorkerMessage | None:
        session = self._sessions.get(job.client, work.volume_id, work.cleanup)
        if not self._is_through(job, lambda: session.preview_stepwise(work.prompts)):
            return None
        mask = _checked(session.preview(work.prompts))
        self._sessions.keep_within_memory(job.client, work.volume_id)
        return SlicePreviewed(request_id=job.number, volume_id=work.volume_id, mask=mask)

    def _restore(self, job: Job, work: RestoreSlice) -> WorkerMessage | None:
        session = self._sessions.get(job.client, work.volume_id, work.cleanup)
        if not self._is_through(job, lambda: session.restore_stepwise(work.mask, work.prompts)):
            return None
        self._changed(job.client, work.volume_id, work.mask.object_id)
        return Finished(request_id=job.number)

    def _is_through(self, job: Job, begin: Callable[[], Iterator[None]]) -> bool:
        """Does the small steps of a job for as long as others can wait, and has it put back where there are more of them."""
        if job.steps is None:
            job.steps = begin()
        until = time.monotonic() + TURN_S
        for _ in job.steps:
            if time.monotonic() > until or job.is_cancelled:
                self._queue.put_back(job)
                return False
        job.steps = None
        return True

    def _propagate(self, job: Job, work: Propagate) -> WorkerMessage | None:
        session = self._sessions.get(job.client, work.volume_id, work.cleanup)
        object_ids = work.object_ids
        if job.has_begun:  # all prompts of an object may have been removed meanwhile
            object_ids = tuple(n for n in object_ids if n in session.object_ids and session.prompts(n))
        if job.steps is None:
            job.num_left = {
                n: _num_to_do(session, work, n) for n in object_ids
            }  # or says what is wrong, before anything is done
            job.steps, job.has_begun = _masks_of(session, work, object_ids, job), True
        mask = next(job.steps, None)
        if mask is None:
            return Finished(request_id=job.number, was_cancelled=job.is_cancelled)
        job.num_done += 1
        left = job.num_left[mask.object_id] - 1
        job.num_left[mask.object_id] = left if work.beyond else _num_to_do(session, work, mask.object_id)
        tracked = SliceTracked(request_id=job.number, volume_id=work.volume_id, mask=_checked(mask))
        self._send_event(job.client, tracked)
        total = job.num_done + sum(job.num_left.values())
        self._send_event(job.client, Progress(request_id=job.number, done=job.num_done, total=total))
        self._sessions.keep_within_memory(job.client, work.volume_id)
        return None

    def _clean(self, job: Job, work: CleanObject) -> WorkerMessage | None:
        if job.steps is None:
            job.steps = iter(self._sessions.get(job.client, work.volume_id, work.cleanup).cleaned(work.object_id))
        mask = next(job.steps, None)
        if mask is None:
            return Finished(request_id=job.number)
        self._send_event(job.client, SliceCleaned(request_id=job.number, volume_id=work.volume_id, mask=mask))
        return None

    def _precompute(self, job: Job, work: Precompute) -> WorkerMessage | None:
        session = self._sessions.get(job.client, work.volume_id)
        if job.steps is None:
            job.steps = _warmed(session, work)
        if next(job.steps, _END) is _END:
            return Finished(request_id=job.number)
        self._sessions.keep_within_memory(job.client, work.volume_id)
        return None

    def _changed(self, client: int, key: str, object_id: int) -> None:
        """The prompts or masks of an object have changed: a propagation of it plans anew."""
        for job in self._queue.long_jobs(client, key):
            if isinstance(job.work, Propagate) and object_id in job.work.object_ids:
                job.steps = None
        self._sessions.keep_within_memory(client, key)

    def _close(self, job: Job, key: str) -> None:
        self._stop_long_jobs(job, key)
        self._sessions.close(job.client, key)
        release_cached_memory()

    def _stop_long_jobs(self, cause: Job, key: str) -> None:
        """Ends what was asked for a volume before the job that changes everything for it."""
        for job in self._queue.long_jobs(cause.client, key):
            if job.place < cause.place:
                cancels = self._queue.end(job) or []
                self._send_event(job.client, Finished(request_id=job.number, was_cancelled=True))
                for number in cancels:
                    self._send_event(job.client, Finished(request_id=number))

    def _forget(self, client: int, work: ForgetClient) -> None:
        for key in self._sessions.of(client):
            self._sessions.close(client, key)
            if work.reason:
                self._send_event(client, VolumeClosed(request_id=UNSOLICITED, volume_id=key, reason=work.reason))
        if not work.reason:
            self._models.forget(client)
            self._store.release_all(client)
        release_cached_memory()


_END = object()


def _checked(mask: SliceMask) -> SliceMask:
    """The mask after a check that its numbers are finite.

    Raises:
        WorkerError: The model gave something that is no number.
    """
    if not (math.isfinite(mask.predicted_iou) and math.isfinite(mask.object_score)):
        raise WorkerError(
            f"the model's answer on slice {mask.plane.index} is not a finite number",
            hint="its weights may be damaged; load another model, or this one again",
        )
    return mask


def _masks_of(session: Session, work: Propagate, object_ids: tuple[int, ...], job: Job) -> Iterator[SliceMask]:
    """The slices of a propagation, one by one."""
    try:
        if work.beyond:
            for object_id in object_ids:
                axis = session.prompts(object_id)[0].plane.axis
                yield from (session.extend(object_id, axis, index) for index in work.beyond)
            return
        yield from session.propagate(
            object_ids,
            first=work.first,
            last=work.last,
            direction=work.direction,
            is_cancelled=lambda: job.is_cancelled,
        )
    except Cancelled:  # in the middle of a step; the next turn ends the job
        return


def _num_to_do(session: Session, work: Propagate, object_id: int) -> int:
    """How many slices of an object a propagation has before it at most."""
    if work.beyond:
        return len(work.beyond)
    return session.num_slices_to_do(object_id, first=work.first, last=work.last, direction=work.direction)


def _warmed(session: Session, work: Precompute) -> Iterator[None]:
    """Prepares a slice each time: the shown one, then outwards, until the memory is full."""
    count = session.volume.shape[work.axis.array_axis]
    SlicePlane(work.axis, work.index).check_inside(session.volume)
    for distance in range(min(work.radius, count) + 1):
        for index in {work.index + distance: None, work.index - distance: None}:
            if 0 <= index < count:
                if not session.warm(SlicePlane(work.axis, index)):
                    return
                yield
