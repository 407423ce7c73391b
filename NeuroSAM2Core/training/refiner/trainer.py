"""A run of the mask refiner: batches, steps, measurements, checkpoints. It can stop after any step and go on as if it had not.

The loop of SAM 2 (`trainer.loop`) steps through clips with prompts and memory; this one trains a network that sees one view at a time.
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.model.mask_refiner import MaskRefiner
from NeuroSAM2Core.training.config.refiner import RefinerConfig
from NeuroSAM2Core.training.config.toml_io import to_toml
from NeuroSAM2Core.training.data.loading import worker_deaths_reported
from NeuroSAM2Core.training.refiner.batches import RefinerBatch, RefinerBatches, batches, held_out_samples
from NeuroSAM2Core.training.refiner.losses import dice, is_present, refiner_loss
from NeuroSAM2Core.training.refiner.state import RefinerState
from NeuroSAM2Core.training.trainer.curves import plot_curves
from NeuroSAM2Core.training.trainer.loop import Progress
from NeuroSAM2Core.training.trainer.precision import Precision
from NeuroSAM2Core.training.trainer.recorder import Recorder, open_recorder
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from NeuroSAM2Core.training.trainer.stopping import stop_requested

logger = logging.getLogger(__name__)

CHANGEABLE = ("steps", "held_out_heads", "held_out_samples")
"""Settings that may differ when a run goes on: before its rate falls, nothing depends on its length."""
REPORT_EVERY = 50
"""Steps."""
MEASURE_EVERY_S, SAVE_EVERY_S = 180.0, 120.0
VIEWS_AT_ONCE = 50
FOUND_CELLS = 8
"""A mask of more cells where the object is absent is a false one."""


def train_refiner(
    config: RefinerConfig,
    folder: Path,
    *,
    bank: Path,
    held_out: Path,
    device: torch.device,
    max_seconds: float = math.inf,
    workers: int = 1,
    start_from: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> RefinerState:
    """Trains until the end of the run, the time limit or SIGTERM, whichever comes first; goes on where the folder left off.

    Args:
        config: The run. A folder that already holds a run must hold the same one.
        folder: Where the run lives; see `RunFolder`.
        bank: The folder of heads to train on.
        held_out: The folder of heads to measure with.
        device: Where to compute.
        max_seconds: Save and return after this long.
        workers: Processes that prepare batches.
        start_from: A refiner whose weights a new run starts with.
        on_progress: Called every few steps.

    Raises:
        ConfigError: The folder holds a run with other settings, or a run is at work there.
        DataError: A loss that is not a number, a bank that lacks heads or has one of a donor that is kept for development.
        CheckpointError: The weights to start from cannot be read.
    """
    run = RunFolder(folder)
    _ = RefinerBatches(config, bank).heads  # refused before anything is written
    with run.locked():
        run.claim(to_toml(config), allow_resume=True, changeable=CHANGEABLE)
        state = RefinerState.begin(config, device)
        if run.read_newest(state.restore) is None and start_from is not None:
            state.adopt(start_from)
        with run.logged(), closing(open_recorder(folder, from_step=state.step)) as recorder:
            loop = _Loop(config, run, state, recorder, on_progress, _examination(config, held_out, device))
            loop.train(bank, device, max_seconds=max_seconds, workers=workers)
    return state


def update(state: RefinerState, batch: RefinerBatch, config: RefinerConfig, precision: Precision) -> float:
    """One optimiser step; its loss.

    Raises:
        DataError: The loss or its gradient is not a number; nothing was changed.
    """
    state.set_rate(config)
    state.network.train()
    with precision.autocast():
        logits = state.network(batch.views)
    loss = refiner_loss(logits.float(), batch.truths)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), config.max_gradient_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise DataError(
            f"the loss of step {state.step} is {loss.item()}, its gradient {norm.item()}",
            hint="lower learning_rate; the last checkpoint is whole",
        )
    state.optimizer.step()
    state.step += 1
    state.update_average(config.ema_decay)
    return loss.item()


@torch.inference_mode()
def measure(network: MaskRefiner, batch: RefinerBatch) -> dict[str, float]:
    """Mean Dice of views with a box and of views with a neighbour's mask, and how often an absent object is found; by name."""
    masks = torch.cat([network(views) > 0 for views in batch.views.split(VIEWS_AT_ONCE)])
    there, found = is_present(batch.truths), masks.flatten(1).sum(1) > FOUND_CELLS
    scores = dice(masks, batch.truths)
    return {
        "box_dice": scores[there & batch.has_box].mean().item(),
        "neighbour_dice": scores[there & ~batch.has_box].mean().item(),
        "absent_found": found[~there].float().mean().item(),
    }


def _examination(config: RefinerConfig, held_out: Path, device: torch.device) -> RefinerBatch | None:
    return held_out_samples(config, held_out).to(device) if config.held_out_heads else None


@dataclass(slots=True)
class _Loop:
    """The loop of a run, and what it did since the last report."""

    config: RefinerConfig
    run: RunFolder
    state: RefinerState
    recorder: Recorder
    on_progress: Callable[[Progress], None]
    examination: RefinerBatch | None
    losses: list[float] = field(default_factory=list)
    reported: float = field(default_factory=time.monotonic)
    measured: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)

    def train(self, bank: Path, device: torch.device, *, max_seconds: float, workers: int) -> None:
        """Trains; see `train_refiner`."""
        state, precision = self.state, Precision.chosen(self.config.precision, device)
        prepared = batches(self.config, bank, start=state.step, device=device, workers=workers)
        began_at, is_last = state.step, False
        with (
            worker_deaths_reported(),
            stop_requested(max_seconds, self.run.stop_file) as wants_stop,
            closing(prepared),
        ):
            while state.step < self.config.steps and not is_last:
                batch = wants_stop.unless_signalled(lambda: next(prepared))
                if batch is None:
                    break
                self.losses.append(update(state, batch.to(device), self.config, precision))
                is_last = state.step == self.config.steps or wants_stop()
                self._after_step(is_last=is_last)
            if state.step > began_at and not is_last:
                self._save()
        if state.step == self.config.steps:
            state.export(self.run.model, self.config)
        plot_curves(self.run.path)

    def _after_step(self, *, is_last: bool) -> None:
        """Reports, measures and saves when due."""
        now = time.monotonic()
        measures = is_last or now - self.measured >= MEASURE_EVERY_S
        if measures:
            self.measured = now
        if measures or self.state.step % REPORT_EVERY == 0:
            self._report(measures=measures)
        if is_last or now - self.saved >= SAVE_EVERY_S:
            self._save()

    def _report(self, *, measures: bool) -> None:
        seconds = (time.monotonic() - self.reported) / len(self.losses)
        rate = self.state.optimizer.param_groups[0]["lr"]
        numbers = {"loss": sum(self.losses) / len(self.losses), "learning_rate": rate, "seconds_per_step": seconds}
        if measures and self.examination is not None:
            found = measure(self.state.average, self.examination)
            numbers |= {f"validation.{name}": value for name, value in found.items()}
        self.recorder.write(self.state.step, numbers)
        logger.info("step %d: %s", self.state.step, ", ".join(f"{key} {value:.4f}" for key, value in numbers.items()))
        self.on_progress(Progress(self.state.step, self.config.steps, seconds, numbers))
        self.losses, self.reported = [], time.monotonic()

    def _save(self) -> None:
        self.run.write(self.state.save, self.state.step)
        self.saved = time.monotonic()
