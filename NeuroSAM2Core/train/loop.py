"""The training loop: batches, step, report, validate, save. It can stop after any step and go on as if it had not.

Pretraining and fine-tuning share it. They differ in where batches come from, in what is trained and in how it is validated: a `Course`.
"""

import itertools
import logging
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import torch

from NeuroSAM2Core.checkpoint import Provenance
from NeuroSAM2Core.model import SAM2, EngineDefaults
from NeuroSAM2Core.train.clip import ClipBatch
from NeuroSAM2Core.train.curves import plot_curves
from NeuroSAM2Core.train.distributed import Team
from NeuroSAM2Core.train.loading import worker_deaths_said
from NeuroSAM2Core.train.recorder import Recorder
from NeuroSAM2Core.train.run_folder import RunFolder
from NeuroSAM2Core.train.state import TrainState
from NeuroSAM2Core.train.step import ClipSegmenter
from NeuroSAM2Core.train.stopping import asked_to_stop
from NeuroSAM2Core.train.update import LossNotFiniteError, StepMetrics, UpdateRules, update

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Validation:
    """How good the model is on what it was not trained on."""

    score: float
    """What the best checkpoint is chosen by: the higher the better."""
    numbers: dict[str, float]
    """What is reported, by name."""


Validator = Callable[[TrainState], Validation]
"""Measures the model; called by all processes of a team."""


class EngineTuner(Protocol):
    """Finds the engine's choices that suit a model."""

    def __call__(self, model: SAM2, *, is_cancelled: Callable[[], bool]) -> EngineDefaults | None:
        """The choices; None where they could not be measured or `is_cancelled` said so."""


class Course(Protocol):
    """What a run trains, and on what."""

    def batches(self, start: int) -> Iterator[ClipBatch]:
        """This process's batches from step `start` to the end, as many per step as are accumulated."""

    def prepare(self, state: TrainState, segmenter: ClipSegmenter) -> None:
        """Called before every step, everything in training mode."""

    def rates(self, step: int) -> dict[str, float]:
        """Learning rates by part, for people to read."""

    def provenance(self, state: TrainState) -> Provenance:
        """What a checkpoint says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopRules:
    """When things happen."""

    accumulation: int = 1
    """Batches per step."""
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
    """What a person watching wants to know."""

    step: int
    total_steps: int
    seconds_per_step: float
    metrics: dict[str, float]


def train(
    course: Course,
    state: TrainState,
    segmenter: ClipSegmenter,
    update_rules: UpdateRules,
    rules: LoopRules,
    folder: RunFolder,
    recorder: Recorder,
    team: Team,
    *,
    validate: Validator | None = None,
    tune_engine: EngineTuner | None = None,
    max_seconds: float = math.inf,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Trains until the end of the run, the time limit, a signal or the folder's stop file, whichever comes first.

    Args:
        course: What is trained on.
        state: Changed in place; before its first step or restored.
        segmenter: Of the state's model.
        update_rules: What every step has in common.
        rules: When things happen.
        folder: Claimed for this run.
        recorder: Gets every report.
        team: The processes that train together.
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
    total = update_rules.total_steps
    wrapped = team.wrap(segmenter)
    desk = _Desk(course, rules, folder, recorder, team, total, validate, tune_engine, on_progress)
    if state.step == total:
        if team.is_first:
            folder.restore_model()
        return True
    with (
        worker_deaths_said(),
        asked_to_stop(max_seconds, folder.stop_file) as wants_stop,
        closing(_closable(course.batches(state.step))) as batches,
    ):
        if team.any(folder.stop_file.exists()):
            return False
        while True:
            segmenter.train()
            course.prepare(state, segmenter)
            some = wants_stop.unless_signalled(lambda: list(itertools.islice(batches, rules.accumulation)))
            if team.any(some is None):
                desk.leave_before_step(state)
                return False
            assert some is not None
            assert len(some) == rules.accumulation, "a course has a batch for every step"
            try:
                desk.results += update(state, wrapped, some, segmenter.prompts, update_rules, team)
            except LossNotFiniteError as error:
                path = folder.keep_batch(error.batch, step=state.step, rank=team.rank)
                error.hint += f"; the batch is in {path}"
                raise
            is_last = state.step == total or team.any(wants_stop())
            desk.after_step(state, is_last=is_last, wants_stop=wants_stop)
            if is_last:
                return state.step == total


def _closable(batches: Iterator[ClipBatch]) -> Generator[ClipBatch, None, None]:
    """The same batches; the processes that prepare them end when it is closed, not when it is forgotten, which may be never."""
    yield from batches


@dataclass(slots=True)
class _Desk:
    """What is done between steps, and when it was last done."""

    course: Course
    rules: LoopRules
    folder: RunFolder
    recorder: Recorder
    team: Team
    total_steps: int
    validate: Validator | None
    tune_engine: EngineTuner | None
    on_progress: Callable[[Progress], None]
    results: list[StepMetrics] = field(default_factory=list)
    reported: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    unsaved_steps: int = 0

    def leave_before_step(self, state: TrainState) -> None:
        """Saves what was done since the last checkpoint."""
        if self.team.is_first and self.unsaved_steps:
            self._leave(state, validates=False, is_last=True)

    def after_step(self, state: TrainState, *, is_last: bool, wants_stop: Callable[[], bool]) -> None:
        """Reports, validates and saves where it is time."""
        self.unsaved_steps += 1
        is_end = state.step == self.total_steps
        validates = self.validate is not None and (state.step % self.rules.validate_every == 0 or is_end)
        is_due = state.step % self.rules.report_every == 0 or is_end
        if is_due or (self.rules.report_after_s < math.inf and self.team.any(self._is_silent())):
            self._report(state)
        began = time.monotonic()
        if self.validate is not None and validates:
            self._note(state, self.validate(state))
        if self.team.is_first and is_end and self.tune_engine is not None:
            self._choose_engine(state, self.tune_engine, wants_stop)
        if self.team.is_first:
            self._leave(state, validates=validates, is_last=is_last)
        self.reported += time.monotonic() - began  # none of this counts as training

    def _is_silent(self) -> bool:
        return time.monotonic() - self.reported >= self.rules.report_after_s

    def _choose_engine(self, state: TrainState, tune_engine: EngineTuner, wants_stop: Callable[[], bool]) -> None:
        """Stores the choices in the best model's file and in the state, before the model that says that the run is over is written."""
        best = self.folder.load_best()
        if best is not None:
            # Out of the file, which is then written anew.
            best = replace(best, state={name: value.clone() for name, value in best.state.items()})
        given_out = best or state.checkpoint(self.course.provenance(state), with_training=False)
        choices = tune_engine(given_out.build_model().to(self.team.device), is_cancelled=wants_stop)
        if choices is None:
            return
        state.model.config = replace(state.model.config, engine=choices)
        if best is not None:
            replace(best, config=replace(best.config, engine=choices)).save(self.folder.best)

    def _leave(self, state: TrainState, *, validates: bool, is_last: bool) -> None:
        is_end = state.step == self.total_steps
        if is_end:
            state.checkpoint(self.course.provenance(state), with_training=False).save(self.folder.model)
        if is_last or validates or time.monotonic() - self.saved >= self.rules.save_every_s:
            self.folder.save(state.checkpoint(self.course.provenance(state), with_training=True), state.step)
            self.saved, self.unsaved_steps = time.monotonic(), 0
        if validates or is_last:
            plot_curves(self.folder.path)

    def _report(self, state: TrainState) -> None:
        keys = list(asdict(self.results[0]))
        means = self.team.mean([_mean([getattr(result, key) for result in self.results]) for key in keys])
        seconds = (time.monotonic() - self.reported) * self.rules.accumulation / len(self.results)
        metrics = dict(zip(keys, means, strict=True)) | {
            f"learning_rate.{part}": rate for part, rate in self.course.rates(state.step - 1).items()
        }
        metrics["memory_gb"] = peak_memory_gb(self.team.device)
        if self.team.is_first:
            self.recorder.write(state.step, {"seconds_per_step": seconds, **metrics})
            logger.info("step %d: loss %.4f, %.2f s per step", state.step, metrics["loss"], seconds)
            self.on_progress(Progress(state.step, self.total_steps, seconds, metrics))
        self.results, self.reported = [], time.monotonic()

    def _note(self, state: TrainState, validation: Validation) -> None:
        state.validations[state.step] = validation.numbers
        is_best = validation.score > state.best_score
        state.best_score = max(state.best_score, validation.score)
        if not self.team.is_first:
            return
        numbers = {f"validation.{name}": value for name, value in validation.numbers.items()}
        logger.info("step %d: %s", state.step, ", ".join(f"{k} {v:.4f}" for k, v in numbers.items()))
        self.recorder.write(state.step, numbers)
        if is_best:
            state.checkpoint(self.course.provenance(state), with_training=False).save(self.folder.best)


def _mean(values: list[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else math.nan


def peak_memory_gb(device: torch.device) -> float:
    """The most that was held at once: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return math.nan
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
