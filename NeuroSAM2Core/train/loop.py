"""The training loop: batch, losses, gradients, step, report, save. It can stop after any step and go on as if it had not."""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from NeuroSAM2Core.checkpoint import Checkpoint
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.train.clip import ClipBatch
from NeuroSAM2Core.train.config import PretrainConfig, Stage
from NeuroSAM2Core.train.optim import build_optimizer
from NeuroSAM2Core.train.recorder import Recorder
from NeuroSAM2Core.train.schedule import cosine, warmed_up
from NeuroSAM2Core.train.state import TrainState
from NeuroSAM2Core.train.step import ClipSegmenter, StepResult
from NeuroSAM2Core.train.synthetic_clips import batches

logger = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
CONFIG_FILE = "config.json"
REPORT_EVERY = 20
SAVE_EVERY_S = 120.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a person watching wants to know."""

    step: int
    total_steps: int
    seconds_per_step: float
    metrics: dict[str, float]


def pretrain(
    config: PretrainConfig,
    folder: Path,
    *,
    device: torch.device,
    max_seconds: float = math.inf,
    workers: int = 1,
    start_from: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainState:
    """Trains until the end of the run, the time limit or SIGTERM, whichever comes first; goes on where the folder left off.

    Args:
        config: The run. A folder that already holds a run must hold the same one.
        folder: Where the run lives: `config.json`, `metrics.jsonl`, `state.safetensors`.
        device: Where to compute.
        max_seconds: Save and return after this long.
        workers: Processes that prepare batches.
        start_from: A model file whose weights a new run starts with; weights that it lacks start as in a new model.
        on_progress: Called every few steps.

    Raises:
        ConfigError: The folder holds a run with other settings.
        DataError: A loss that is not a number.
    """
    _claim(folder, config)
    state = start(config, device)
    if (folder / STATE_FILE).exists():
        state.load(folder / STATE_FILE)
    elif start_from is not None:
        _adopt_weights(state, Checkpoint.load(start_from))
    recorder = Recorder(folder, from_step=state.step)
    started = saved = reported = time.monotonic()
    results: list[StepResult] = []
    segmenter: ClipSegmenter | None = None
    stage: Stage | None = None
    with _until_asked_to_stop() as is_stopped:
        for batch in batches(config, start=state.step, device=device, workers=workers):
            if config.stage_at(state.step) != stage:
                stage = config.stage_at(state.step)
                segmenter = segmenter_for(state.model, config, stage)
            assert segmenter is not None
            results.append(train_step(state, segmenter, batch.to(device), config))
            now = time.monotonic()
            if state.step % REPORT_EVERY == 0 or state.step == config.total_steps:
                metrics = _summary(results, config, state.step)
                recorder.write({"step": state.step, "seconds_per_step": (now - reported) / len(results), **metrics})
                on_progress(Progress(state.step, config.total_steps, (now - reported) / len(results), metrics))
                results, reported = [], now
            is_over = is_stopped() or now - started > max_seconds or state.step == config.total_steps
            if is_over or now - saved > SAVE_EVERY_S:
                state.save(folder / STATE_FILE)
                saved = time.monotonic()
            if is_over:
                break
    return state


def train_step(state: TrainState, segmenter: ClipSegmenter, batch: ClipBatch, config: PretrainConfig) -> StepResult:
    """One optimiser step.

    Raises:
        DataError: The loss is not a number; nothing was changed.
    """
    rng = np.random.default_rng((config.seed, state.step, 1))
    torch.manual_seed(int(rng.integers(2**62)))
    segmenter.train()
    rate = learning_rate(config, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=batch.images.is_cuda):
        result: StepResult = segmenter(batch, rng)
        loss = result.losses.total(config.losses)
    if not torch.isfinite(loss):
        raise DataError(
            f"the loss of step {state.step} is {loss.item()}",
            hint="lower the learning rate; the last saved state is whole",
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.max_gradient_norm)
    state.optimizer.step()
    state.step += 1
    state.update_average(config.ema_decay)
    return result


def learning_rate(config: PretrainConfig, step: int) -> float:
    """AdamW's learning rate at a step."""
    progress = step / config.total_steps
    value = cosine(progress, start=config.learning_rate, end=config.learning_rate * config.final_rate)
    return warmed_up(value, progress, warmup=config.warmup)


def start(config: PretrainConfig, device: torch.device) -> TrainState:
    """A run at its first step."""
    torch.manual_seed(config.seed)
    model = SAM2(PRESETS[config.preset])
    balance_inputs(model)
    model.to(device)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    return TrainState(0, model, build_optimizer(model, weight_decay=config.weight_decay), average)


def _adopt_weights(state: TrainState, start: Checkpoint) -> None:
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
    for name, value in state.model.state_dict().items():
        state.average[name].copy_(value)


def balance_inputs(model: SAM2) -> None:
    """Starts a new model where prompts are as loud as the image and objects are thought present.

    With plain initial weights the prompt is a tenth of the image features that it is added to, and every mask is hidden until
    presence is learned.
    """
    with torch.no_grad():
        for lateral in model.image_encoder.neck.laterals():
            lateral.weight.mul_(0.3)
        cast(nn.Conv2d, model.sam_prompt_encoder.mask_downscaling[-1]).weight.mul_(4.0)
        cast(nn.Linear, model.sam_mask_decoder.pred_obj_score_head.layers[-1]).bias.fill_(3.0)


def segmenter_for(model: torch.nn.Module, config: PretrainConfig, stage: Stage) -> ClipSegmenter:
    """The same weights seen as a model of the stage's input size."""
    assert isinstance(model, SAM2)
    model.set_image_size(stage.image_size)
    prompts = replace(config.prompts, rough_neighbours=stage.rough_neighbours)
    return ClipSegmenter(model, prompts, config.losses)


def _claim(folder: Path, config: PretrainConfig) -> None:
    """Writes the configuration, or checks that it is the one that is there."""
    text = json.dumps(config.to_dict(), indent=2)
    path = folder / CONFIG_FILE
    if path.exists():
        if json.loads(path.read_text()) != json.loads(text):
            raise ConfigError(
                f"{folder} holds a run with other settings", hint="choose another folder or delete this one"
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error}", hint="choose a folder that you may write to") from error


def _summary(results: list[StepResult], config: PretrainConfig, step: int) -> dict[str, float]:
    def mean(values: list[float]) -> float:
        finite = [v for v in values if math.isfinite(v)]
        return sum(finite) / len(finite) if finite else math.nan

    return {
        "loss": mean([r.losses.total(config.losses).item() for r in results]),
        "focal": mean([r.losses.focal.item() for r in results]),
        "dice": mean([r.losses.dice.item() for r in results]),
        "iou": mean([r.losses.iou.item() for r in results]),
        "presence": mean([r.losses.presence.item() for r in results]),
        "prompted_iou": mean([r.prompted_iou.item() for r in results]),
        "tracked_iou": mean([r.tracked_iou.item() for r in results]),
        "corrected_iou": mean([r.corrected_iou.item() for r in results]),
        "learning_rate": learning_rate(config, step),
    }


@contextmanager
def _until_asked_to_stop() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT end the loop after the step that is running."""
    asked: list[int] = []
    before = {s: signal.signal(s, lambda number, frame: asked.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
