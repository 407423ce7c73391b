"""The training loop: batches, step, report, validate, save. It can stop after any step and go on as if it had not.

Pretraining and fine-tuning share it. They differ in where batches come from, in what is trained and in how it is validated: a
`TrainingTask`.

Requests to stop a run: by a signal, by a file, or by a time limit. It ends after the step that is running or awaited.
"""

import itertools
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

import torch

from NeuroSAM2Core.checkpoint import Provenance
from NeuroSAM2Core.model import SAM2, EngineDefaults
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.loading import SIGNALS, worker_deaths_reported
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.optimizer_step import LossNotFiniteError, OptimizerStepConfig, StepMetrics, update
from NeuroSAM2Core.training.trainer.recorder import Recorder, plot_curves
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from NeuroSAM2Core.training.trainer.state import TrainState

logger = logging.getLogger(__name__)
T = TypeVar("T")


class _StopSignal(BaseException):
    """A signal has come while nothing but waiting went on; no `except Exception` may take it for an error."""


class StopRequest:
    """Whether a run is asked to stop. Made by `stop_requested`.

    Args:
        max_seconds: After so long from now.
        stop_file: Where this file is.
    """

    def __init__(self, max_seconds: float, stop_file: Path) -> None:
        self._has_signal, self._is_waiting, self._stop_file = False, False, stop_file
        self._deadline = time.monotonic() + max_seconds

    def __call__(self) -> bool:
        """Whether it is, by now."""
        return self._has_signal or self._stop_file.exists() or time.monotonic() > self._deadline

    def unless_signalled(self, wait: Callable[[], T]) -> T | None:
        """What is waited for; None where a signal has come before it.

        Args:
            wait: Gets it. May be left at any place.
        """
        try:
            try:
                self._is_waiting = True
                return None if self._has_signal else wait()
            finally:
                self._is_waiting = False
        except _StopSignal:
            return None

    def take(self, number: int, frame: FrameType | None) -> None:
        """A signal has come."""
        self._has_signal = True
        if self._is_waiting:
            raise _StopSignal


@contextmanager
def stop_requested(max_seconds: float, stop_file: Path) -> Iterator[StopRequest]:
    """Yields the question whether to stop: after SIGTERM or SIGINT, when a file is there, or this long after now.

    Outside the main thread there are no signals.

    Args:
        max_seconds: From now.
        stop_file: Removed when the run has stopped, so that the next one goes on.
    """
    request = StopRequest(max_seconds, stop_file)
    is_main = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, request.take) for s in SIGNALS if is_main}
    try:
        yield request
    finally:
        with suppress(OSError):
            stop_file.unlink(missing_ok=True)
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Validation:
    """How good the model is on what it was not trained on."""

    score: float
    """What the best checkpoint is chosen by: the higher the better."""
    numbers: dict[str, float]
    """What is reported, by name."""


Validator = Callable[[TrainState], Validation]
"""Measures the model; called by all processes of a process group."""


class EngineTuner(Protocol):
    """Finds the engine's choices that suit a model."""

    def __call__(self, model: SAM2, *, is_cancelled: Callable[[], bool]) -> EngineDefaults | None:
        """The choices; None where they could not be measured or `is_cancelled` returned true."""


class TrainingTask(Protocol):
    """What a run trains, and on what."""

    def batches(self, start: int) -> Iterator[ClipBatch]:
        """This process's batches from step `start` to the end, as many per step as it accumulates."""

    def prepare(self, state: TrainState, segmenter: ClipSegmenter) -> None:
        """Called before every step, everything in training mode."""

    def rates(self, step: int) -> dict[str, float]:
        """Learning rates by part, for people to read."""

    def provenance(self, state: TrainState) -> Provenance:
        """What a checkpoint says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig:
    """When to report, validate and save."""

    accumulation: int = 1
    """This process's batches per step."""
    report_every: int = 20
    """Steps."""
    report_after_s: float = math.inf
    """After so long without a report the next step brings one."""
    validate_every: int = 100
    """Steps, where there is something to validate with."""
    save_every_s: float = 120.0
    """Seconds between checkpoints; validations and the end save too."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run."""

    step: int
    total_steps: int
    seconds_per_step: float
    metrics: dict[str, float]


def train(
    task: TrainingTask,
    state: TrainState,
    segmenter: ClipSegmenter,
    optimizer_step_config: OptimizerStepConfig,
    config: TrainerConfig,
    folder: RunFolder,
    recorder: Recorder,
    process_group: ProcessGroup,
    *,
    validate: Validator | None = None,
    tune_engine: EngineTuner | None = None,
    max_seconds: float = math.inf,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Trains until the end of the run, the time limit, a signal or the folder's stop file, whichever comes first.

    Args:
        task: What is trained on.
        state: Changed in place; before its first step or restored.
        segmenter: Of the state's model.
        optimizer_step_config: The configuration of every optimizer step.
        config: When to report, validate and save.
        folder: Claimed for this run.
        recorder: Gets every report.
        process_group: The processes that train together.
        validate: Measures the model now and then; None for never.
        tune_engine: Asked by the first process at the end of the run, about the best model or, where none was validated, the last;
            None to leave the engine's choices alone.
        max_seconds: Save and return after this long.
        on_progress: Called with every report.

    Returns:
        Whether the run is over; else it goes on from the folder's newest checkpoint.

    Raises:
        LossNotFiniteError: A loss that is not a number; the batch lies in the folder.
    """
    total = optimizer_step_config.total_steps
    wrapped = process_group.wrap(segmenter)
    hooks = _TrainerHooks(task, config, folder, recorder, process_group, total, validate, tune_engine, on_progress)
    if state.step == total:
        if process_group.is_first:
            folder.restore_model()
        return True
    with (
        worker_deaths_reported(),
        stop_requested(max_seconds, folder.stop_file) as wants_stop,
        closing(_closable(task.batches(state.step))) as batches,
    ):
        if process_group.any(folder.stop_file.exists()):
            return False
        while True:
            segmenter.train()
            task.prepare(state, segmenter)
            some = wants_stop.unless_signalled(lambda: list(itertools.islice(batches, config.accumulation)))
            if process_group.any(some is None):
                hooks.save_before_exit(state)
                return False
            assert some is not None
            assert len(some) == config.accumulation, "a task has a batch for every step"
            try:
                hooks.results += update(state, wrapped, some, segmenter.prompts, optimizer_step_config, process_group)
            except LossNotFiniteError as error:
                path = folder.keep_batch(error.batch, step=state.step, rank=process_group.rank)
                error.hint += f"; the batch is in {path}"
                raise
            is_last = state.step == total or process_group.any(wants_stop())
            hooks.after_step(state, is_last=is_last, wants_stop=wants_stop)
            if is_last:
                return state.step == total


def _closable(batches: Iterator[ClipBatch]) -> Generator[ClipBatch, None, None]:
    """The same batches; the processes that prepare them end when it is closed, not when it is forgotten, which may be never."""
    yield from batches


@dataclass(slots=True)
class _TrainerHooks:
    """The hooks of the trainer: report, validate, tune and save between steps."""

    task: TrainingTask
    config: TrainerConfig
    folder: RunFolder
    recorder: Recorder
    process_group: ProcessGroup
    total_steps: int
    validate: Validator | None
    tune_engine: EngineTuner | None
    on_progress: Callable[[Progress], None]
    results: list[StepMetrics] = field(default_factory=list)
    reported: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    unsaved_steps: int = 0

    def save_before_exit(self, state: TrainState) -> None:
        """Saves what was done since the last checkpoint."""
        if self.process_group.is_first and self.unsaved_steps:
            self._save(state, validates=False, is_last=True)

    def after_step(self, state: TrainState, *, is_last: bool, wants_stop: Callable[[], bool]) -> None:
        """Reports, validates and saves when due."""
        self.unsaved_steps += 1
        is_end = state.step == self.total_steps
        validates = self.validate is not None and (state.step % self.config.validate_every == 0 or is_end)
        is_due = state.step % self.config.report_every == 0 or is_end
        if is_due or (self.config.report_after_s < math.inf and self.process_group.any(self._is_silent())):
            self._report(state)
        began = time.monotonic()
        if self.validate is not None and validates:
            self._record_validation(state, self.validate(state))
        if self.process_group.is_first and is_end and self.tune_engine is not None:
            self._tune_engine(state, self.tune_engine, wants_stop)
        if self.process_group.is_first:
            self._save(state, validates=validates, is_last=is_last)
        self.reported += time.monotonic() - began  # none of this counts as training

    def _is_silent(self) -> bool:
        return time.monotonic() - self.reported >= self.config.report_after_s

    def _tune_engine(self, state: TrainState, tune_engine: EngineTuner, wants_stop: Callable[[], bool]) -> None:
        """Stores the choices in the best model's file and in the state, before the model that says that the run is over is written."""
        best = self.folder.load_best()
        if best is not None:
            # Out of the file, which is then written anew.
            best = replace(best, state={name: value.clone() for name, value in best.state.items()})
        exported = best or state.checkpoint(self.task.provenance(state), with_training=False)
        choices = tune_engine(exported.build_model().to(self.process_group.device), is_cancelled=wants_stop)
        if choices is None:
            return
        state.model.config = replace(state.model.config, engine=choices)
        if best is not None:
            replace(best, config=replace(best.config, engine=choices)).save(self.folder.best)

    def _save(self, state: TrainState, *, validates: bool, is_last: bool) -> None:
        is_end = state.step == self.total_steps
        if is_end:
            state.checkpoint(self.task.provenance(state), with_training=False).save(self.folder.model)
        if is_last or validates or time.monotonic() - self.saved >= self.config.save_every_s:
            self.folder.save(state.checkpoint(self.task.provenance(state), with_training=True), state.step)
            self.saved, self.unsaved_steps = time.monotonic(), 0
        if validates or is_last:
            plot_curves(self.folder.path)

    def _report(self, state: TrainState) -> None:
        keys = list(asdict(self.results[0]))
        means = self.process_group.mean([[getattr(result, key) for result in self.results] for key in keys])
        seconds = (time.monotonic() - self.reported) * self.config.accumulation / len(self.results)
        metrics = dict(zip(keys, means, strict=True)) | {
            f"learning_rate.{part}": rate for part, rate in self.task.rates(state.step - 1).items()
        }
        metrics["memory_gb"] = peak_memory_gb(self.process_group.device)
        if self.process_group.is_first:
            self.recorder.write(state.step, {"seconds_per_step": seconds, **metrics})
            logger.info("step %d: loss %.4f, %.2f s per step", state.step, metrics["loss"], seconds)
            self.on_progress(Progress(state.step, self.total_steps, seconds, metrics))
        self.results, self.reported = [], time.monotonic()

    def _record_validation(self, state: TrainState, validation: Validation) -> None:
        state.validations[state.step] = validation.numbers
        is_best = validation.score > state.best_score
        state.best_score = max(state.best_score, validation.score)
        if not self.process_group.is_first:
            return
        numbers = {f"validation.{name}": value for name, value in validation.numbers.items()}
        logger.info("step %d: %s", state.step, ", ".join(f"{k} {v:.4f}" for k, v in numbers.items()))
        self.recorder.write(state.step, numbers)
        if is_best:
            state.checkpoint(self.task.provenance(state), with_training=False).save(self.folder.best)


def peak_memory_gb(device: torch.device) -> float:
    """The most that was held at once: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return math.nan
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
