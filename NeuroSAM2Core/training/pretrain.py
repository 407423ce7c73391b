"""Pretraining on synthetic volumes and on heads made of real label maps: the recipes that the bundled model went through."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, load_checkpoint
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.synth.anatomy import check_bank
from NeuroSAM2Core.training.anatomy import batches as anatomy_batches
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, PretrainConfig, RecipeConfig
from NeuroSAM2Core.training.config.step import GroupConfig, GroupsConfig, TrunkConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.synthetic_clips import batches
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.loop import Progress, TrainerConfig, TrainingTask, train
from NeuroSAM2Core.training.trainer.optimizer_step import OptimizerStepConfig, Precision
from NeuroSAM2Core.training.trainer.parameter_groups import lr_factor, parameter_groups
from NeuroSAM2Core.training.trainer.recorder import open_recorder
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from NeuroSAM2Core.training.trainer.state import TrainState
from NeuroSAM2Core.version import __version__

logger = logging.getLogger(__name__)

BANK = "bank"
"""Where the heads of a run on anatomy lie in its folder."""
CHANGEABLE = ("steps",)
"""Settings of a run on anatomy that may differ when it goes on: before its rate falls, nothing depends on its length."""


def pretrain(
    config: RecipeConfig,
    folder: Path,
    *,
    device: torch.device,
    max_seconds: float = math.inf,
    workers: int = 1,
    start_from: Path | None = None,
    bank: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainState:
    """Trains until the end of the run, the time limit or SIGTERM, whichever comes first; goes on where the folder left off.

    Args:
        config: The run. A folder that already holds a run must hold the same one.
        folder: Where the run lives; see `RunFolder`.
        device: Where to compute.
        max_seconds: Save and return after this long.
        workers: Processes that prepare batches.
        start_from: A model file whose weights a new run starts with instead of the recipe's; weights that it lacks start as in a new
            model.
        bank: The folder of heads that a run on anatomy needs; that in the run's folder if None.
        on_progress: Called every few steps.

    Raises:
        ConfigError: The folder holds a run with other settings, or a run is at work there.
        DataError: A loss that is not a number, or a bank that lacks heads.
    """
    run = RunFolder(folder)
    task = task_of(config, bank or folder / BANK, device, workers)
    with run.locked():
        run.claim(config, allow_resume=True, changeable=CHANGEABLE if isinstance(config, AnatomyConfig) else ())
        state = start(config, device)
        newest = run.newest()
        if newest is not None:
            state.restore(newest)
        elif start_from is not None or config.start_from:
            adopt_weights(state, load_checkpoint(start_from or config.start_from))
        segmenter = ClipSegmenter(state.model, config.prompts, config.losses)
        with run.logged(), closing(open_recorder(folder, from_step=state.step)) as recorder:
            train(
                task,
                state,
                segmenter,
                optimizer_step_config(config, device),
                TrainerConfig(),
                run,
                recorder,
                ProcessGroup(device),
                max_seconds=max_seconds,
                on_progress=on_progress,
            )
    return state


def task_of(config: RecipeConfig, bank: Path, device: torch.device, workers: int) -> TrainingTask:
    """What a recipe trains on.

    Raises:
        DataError: The bank lacks heads.
    """
    if isinstance(config, PretrainConfig):
        return SyntheticTask(config, device, workers)
    assert isinstance(config, AnatomyConfig)
    check_bank(bank, config.heads)
    return AnatomyTask(config, bank, device, workers)


def start(config: RecipeConfig, device: torch.device) -> TrainState:
    """The run before its first step."""
    torch.manual_seed(config.seed)
    architecture = PRESETS[config.preset]
    model = SAM2(replace(architecture, memory_dropout=config.memory_dropout))
    model.config = architecture  # exported models keep its dropout
    balance_inputs(model)
    model.to(device)
    group = GroupConfig(learning_rate=config.learning_rate, weight_decay=config.weight_decay, schedule=config.schedule)
    trunk = TrunkConfig(
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        schedule=config.schedule,
        layer_decay=1.0,
    )
    groups = GroupsConfig(trunk=trunk, neck=group, decoder=group, memory=group)
    return TrainState.begin(model, parameter_groups(model, groups), keeps_average=True)


def adopt_weights(state: TrainState, start: Checkpoint) -> None:
    """Puts another model's weights into a run that has not begun.

    Raises:
        CheckpointError: It has weights that the run's model does not have, or of another shape.
    """
    try:
        missing, unknown = state.model.load_state_dict(start.state, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{start.provenance.name} has another architecture: {error}") from None
    if unknown:
        raise CheckpointError(
            f"{start.provenance.name} has weights that the run's model lacks: {', '.join(unknown[:3])}"
        )
    if missing:
        logger.info("not in %s, so started anew: %s", start.provenance.name, ", ".join(missing))
    weights = state.model.state_dict()
    for name, value in state.average.items():
        value.copy_(weights[name])


def optimizer_step_config(config: RecipeConfig, device: torch.device) -> OptimizerStepConfig:
    """The configuration of every optimizer step."""
    return OptimizerStepConfig(
        seed=config.seed,
        total_steps=config.total_steps,
        losses=config.losses,
        max_gradient_norm=config.max_gradient_norm,
        ema_decay=config.ema_decay,
        precision=Precision.chosen("auto", device),
    )


def balance_inputs(model: SAM2) -> None:
    """Starts a new model where prompts are as loud as the image and objects are thought present.

    With plain initial weights the prompt is a tenth of the image features that it is added to, and every mask is hidden until
    the object score is learned.
    """
    with torch.no_grad():
        for lateral in model.image_encoder.neck.laterals():
            lateral.weight.mul_(0.3)
        cast(nn.Conv2d, model.sam_prompt_encoder.mask_downscaling[-1]).weight.mul_(4.0)
        cast(nn.Linear, model.sam_mask_decoder.pred_obj_score_head.layers[-1]).bias.fill_(3.0)


def provenance_of(config: RecipeConfig, state: TrainState) -> Provenance:
    """Where the model of a run comes from."""
    return Provenance(
        name=config.preset,
        source=f"pretraining, seed {config.seed}, step {state.step} of {config.total_steps}",
        licence="Apache-2.0",
        trained_on=config.trained_on,
        code_version=__version__,
    )


@dataclass(frozen=True, slots=True)
class SyntheticTask:
    """Synthetic clips at the resolution of each stage; nothing to validate on."""

    config: PretrainConfig
    device: torch.device
    workers: int

    def batches(self, start: int) -> Iterator[ClipBatch]:
        """From step `start` to the end."""
        return batches(self.config, start=start, device=self.device, workers=self.workers)

    def prepare(self, state: TrainState, segmenter: ClipSegmenter) -> None:
        """Sees slices at the size of the stage that the coming step belongs to."""
        stage = self.config.stage_at(state.step)
        state.model.set_image_size(stage.image_size)
        segmenter.prompts = replace(self.config.prompts, perturb_prev_mask_prob=stage.perturb_prev_mask_prob)

    def rates(self, step: int) -> dict[str, float]:
        """All parts learn at one rate."""
        return _rates(self.config, step)

    def provenance(self, state: TrainState) -> Provenance:
        """Where the model comes from."""
        return provenance_of(self.config, state)


@dataclass(frozen=True, slots=True)
class AnatomyTask:
    """Clips of a bank of heads; nothing to validate on."""

    config: AnatomyConfig
    bank: Path
    device: torch.device
    workers: int

    def batches(self, start: int) -> Iterator[ClipBatch]:
        """From step `start` to the end."""
        return anatomy_batches(self.config, self.bank, start=start, device=self.device, workers=self.workers)

    def prepare(self, state: TrainState, segmenter: ClipSegmenter) -> None:
        """Sees slices at one size from beginning to end."""
        state.model.set_image_size(self.config.image_size)

    def rates(self, step: int) -> dict[str, float]:
        """All parts learn at one rate."""
        return _rates(self.config, step)

    def provenance(self, state: TrainState) -> Provenance:
        """Where the model comes from."""
        return provenance_of(self.config, state)


def _rates(config: RecipeConfig, step: int) -> dict[str, float]:
    return {"all": config.learning_rate * lr_factor(config.schedule, step, config.total_steps)}
