"""Fine-tuning on annotated volumes: runs a configuration; can be stopped, killed and resumed.

Where batches come from and what measures the model are passed in, so that a run can be tried without a volume.

Adapts the probabilities of click and box prompts to their validation scores.

A pure function of the validation history, so that a run that goes on decides as the one that was stopped would have.
"""

import itertools
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, load_checkpoint
from NeuroSAM2Core.model import EngineDefaults
from NeuroSAM2Core.model.lora import adapt
from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig
from NeuroSAM2Core.training.config.step import PromptControlConfig
from NeuroSAM2Core.training.data import fine_tuning_batches
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.dataset import SKIPPED_FILE, SkippedCases
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup, join_process_group
from NeuroSAM2Core.training.trainer.loop import EngineTuner, Progress, TrainerConfig, Validator, train
from NeuroSAM2Core.training.trainer.optimizer_step import OptimizerStepConfig, Precision
from NeuroSAM2Core.training.trainer.parameter_groups import (
    PartSize,
    evaluate_frozen,
    freeze,
    learning_rates,
    parameter_groups,
    part_sizes,
)
from NeuroSAM2Core.training.trainer.recorder import open_recorder
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from NeuroSAM2Core.training.trainer.state import TrainState
from NeuroSAM2Core.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PromptProbabilities:
    """Probabilities that a clip starts from a box or from a click."""

    box: float
    click: float


@dataclass(frozen=True, slots=True)
class ValidatedKinds:
    """One validation: mean Dice after one box and after one click."""

    box: float
    click: float


def controlled_probabilities(
    base: PromptProbabilities, history: Sequence[ValidatedKinds], control: PromptControlConfig
) -> PromptProbabilities:
    """The probabilities to train with from now on; their sum is that of the base.

    Args:
        base: As configured.
        history: All validations so far, the oldest first; those that measured only one kind are passed over.
        control: How strongly they count.
    """
    whole = [v for v in history if math.isfinite(v.box) and math.isfinite(v.click)][-control.memory :]
    total = base.box + base.click
    if not control.is_on or not whole or total == 0:
        return base
    wrong_box = sum(1 - v.box for v in whole) / len(whole)
    wrong_click = sum(1 - v.click for v in whole) / len(whole)
    box, click = (
        factor * max(wrong, 1e-6) ** control.strength
        for factor, wrong in ((base.box, wrong_box), (base.click, wrong_click))
    )
    if min(box, click) == 0:  # one kind was not asked for at all
        return base
    factor = min(max(click / (box + click), control.min_factor), 1 - control.min_factor)
    return PromptProbabilities(box=total * (1 - factor), click=total * factor)


CHANGEABLE = ("tunes_engine", "report_after_s")
"""Settings that a run need not keep when it goes on."""


class BatchSource(Protocol):
    """Where batches come from."""

    def __call__(self, numbers: Iterable[int], *, image_size: int) -> Iterator[ClipBatch]:
        """The batches of these numbers, each a pure function of its number; a process asks for its own, in order."""


class ValidatorSource(Protocol):
    """What measures the model."""

    def __call__(self, process_group: ProcessGroup) -> Validator | None:
        """The measure; None where there is nothing to measure with."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Facts about a run before the first step of a session."""

    step: int
    """Steps that are done already."""
    total_steps: int
    parts: list[PartSize]
    """How much of the model is trained."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a session ended."""

    folder: RunFolder
    step: int
    is_over: bool
    """False: the run was stopped and can be gone on with."""


def fine_tune(
    config: FineTuneConfig,
    device: torch.device,
    *,
    batches: BatchSource,
    validator: ValidatorSource = lambda process_group: None,
    tune_engine: EngineTuner | None = None,
    resume: bool = False,
    max_seconds: float = math.inf,
    on_start: Callable[[RunInfo], None] = lambda info: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> RunResult:
    """Trains until the end of the run, the time limit, SIGTERM or SIGINT, whichever comes first.

    Args:
        config: The run.
        device: Where to compute; in a process group, the kind of device.
        batches: Where batches come from.
        validator: What measures the model.
        tune_engine: Finds the engine's choices for the finished model; None to leave them at whole slices, as it was trained.
        resume: Go on with the run in the folder; where there is none, one is begun.
        max_seconds: Save and return after this long.
        on_start: Called in the first process before the first step.
        on_progress: Called in the first process with every report.

    Raises:
        ConfigError: The folder holds another run, or this one without `resume`, or a run is at work there; a setting that cannot be
            used here.
        CheckpointError: The model to start from, or a checkpoint, cannot be read or written.
        DataError: No batch can be made, or a loss is not a number.
    """
    folder = RunFolder(config.run.folder)
    with (
        join_process_group(device, timeout_minutes=config.run.timeout_minutes) as process_group,
        _deterministic(config, process_group),
        folder.locked() if process_group.is_first else nullcontext(),
    ):
        if process_group.is_first:
            folder.claim(config, allow_resume=resume, changeable=CHANGEABLE)
        process_group.wait()
        with folder.logged(rank=process_group.rank):
            newest = folder.newest()
            state, provenance = begin(config, newest, process_group.device)
            _announce(folder, config, state)
            if process_group.is_first:
                on_start(RunInfo(state.step, config.optim.steps, part_sizes(state.model)))
            place = folder.path if process_group.is_first else None
            with closing(
                open_recorder(place, from_step=state.step, wandb_project=config.run.wandb_project)
            ) as recorder:
                is_over = train(
                    CaseTask(config, process_group, batches, state.model.config.image_size, provenance),
                    state,
                    ClipSegmenter(state.model, config.prompts, config.losses, saves_memory=config.run.saves_memory),
                    optimizer_step_config(config, process_group.device),
                    trainer_config(config, process_group),
                    folder,
                    recorder,
                    process_group,
                    validate=validator(process_group),
                    tune_engine=tune_engine,
                    max_seconds=max_seconds,
                    on_progress=on_progress,
                )
            logger.info("%s at step %d", "over" if is_over else "stopped", state.step)
    return RunResult(folder, state.step, is_over)


def _announce(folder: RunFolder, config: FineTuneConfig, state: TrainState) -> None:
    logger.info("%s at step %d of %d", folder.path.name, state.step, config.optim.steps)
    for size in part_sizes(state.model):
        logger.info("%s: %d of %d weights are trained", size.part, size.trained, size.total)


def case_batches(config: FineTuneConfig, *, workers: int) -> BatchSource:
    """The batches of the configured datasets, prepared ahead by that many processes (0: when they are asked for)."""

    def batches(numbers: Iterable[int], *, image_size: int) -> Iterator[ClipBatch]:
        return fine_tuning_batches(
            config.data,
            config.sampling,
            image_size=image_size,
            seed=config.run.seed,
            numbers=numbers,
            workers=workers,
            skipped=SkippedCases(config.run.folder / SKIPPED_FILE),
        )

    return batches


def begin(config: FineTuneConfig, newest: Checkpoint | None, device: torch.device) -> tuple[TrainState, Provenance]:
    """The run before its first step or, given a checkpoint of it, where it was left; and what its checkpoints say of themselves."""
    source = load_checkpoint(config.start.model) if newest is None else newest
    model = source.build_model()
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        # Out of the file, where a tensor may begin at any byte: how sums are rounded depends on that.
        tensor.data = tensor.data.clone()
    model.config = replace(
        model.config,
        intensity_range=config.data.intensity_range,
        # It knows its structure, and sees it as it was trained to; what else helps is measured at the end, if at all.
        use_appearance_model=False,
        adaptive_crops=model.config.adaptive_crops and config.sampling.crop > 0,
        engine=EngineDefaults(),
    )
    model.set_image_size(config.start.image_size or model.config.image_size)
    torch.manual_seed(config.run.seed)
    adapt(model.image_encoder.trunk, config.lora)
    model.to(device)
    freeze(model, config.groups, config.lora)
    state = TrainState.begin(
        model,
        parameter_groups(model, config.groups),
        betas=config.optim.betas,
        keeps_average=config.optim.ema_decay > 0,
        scales_losses=Precision.chosen(config.run.precision, device).scales_losses,
        lora_alpha=config.lora.alpha,
    )
    if newest is not None:
        state.restore(newest)
        return state, newest.provenance
    return state, _provenance(config, source.provenance)


def optimizer_step_config(config: FineTuneConfig, device: torch.device) -> OptimizerStepConfig:
    """The configuration of every optimizer step."""
    return OptimizerStepConfig(
        seed=config.run.seed,
        total_steps=config.optim.steps,
        losses=config.losses,
        max_gradient_norm=config.optim.max_gradient_norm,
        ema_decay=config.optim.ema_decay,
        precision=Precision.chosen(config.run.precision, device),
    )


def trainer_config(config: FineTuneConfig, process_group: ProcessGroup) -> TrainerConfig:
    """When to report, validate and save."""
    return TrainerConfig(
        accumulation=len(process_group.share_of(config.batches_per_step(process_group.size))),
        report_every=config.run.report_every,
        report_after_s=config.run.report_after_s,
        validate_every=config.run.validate_every,
        save_every_s=config.run.save_every_s,
    )


@dataclass(frozen=True, slots=True)
class CaseTask:
    """Clips from annotated cases; the same recipe from the first step to the last."""

    config: FineTuneConfig
    process_group: ProcessGroup
    source: BatchSource
    image_size: int
    origin: Provenance

    def batches(self, start: int) -> Iterator[ClipBatch]:
        """From step `start` to the end."""
        count = self.config.batches_per_step(self.process_group.size)
        share, steps = self.process_group.share_of(count), range(start, self.config.optim.steps)
        return self.source((step * count + n for step in steps for n in share), image_size=self.image_size)

    def prepare(self, state: TrainState, segmenter: ClipSegmenter) -> None:
        """What is frozen drops nothing out; prompts are drawn as the validations so far suggest."""
        evaluate_frozen(state.model)
        base, history = self.config.prompts, state.validations.values()
        shares = controlled_probabilities(
            PromptProbabilities(base.box, base.click),
            [ValidatedKinds(v.get("box_dice", math.nan), v.get("click_dice", math.nan)) for v in history],
            self.config.prompt_control,
        )
        segmenter.prompts = replace(base, box=shares.box, click=shares.click)

    def rates(self, step: int) -> dict[str, float]:
        """Learning rates of the parts that are trained."""
        return {
            str(part): rate for part, rate in learning_rates(self.config.groups, step, self.config.optim.steps).items()
        }

    def provenance(self, state: TrainState) -> Provenance:
        """Where the model comes from."""
        return replace(self.origin, notes=f"step {state.step} of {self.config.optim.steps}")


def _provenance(config: FineTuneConfig, origin: Provenance) -> Provenance:
    """The first model's licence and data, and what is added to it here."""
    sets = ", ".join(Path(path).parent.name or path for path in config.data.datasets)
    return Provenance(
        name=config.run.folder.name,
        source=f"fine-tuned from {origin.name}",
        licence=origin.licence,
        trained_on="; then ".join(part for part in (origin.trained_on, sets) if part),
        code_version=__version__,
    )


@contextmanager
def _deterministic(config: FineTuneConfig, process_group: ProcessGroup) -> Iterator[None]:
    """Only operations that give the same bits every time, where that is asked for; on a CPU all do."""
    if not config.run.is_deterministic or process_group.device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
