"""A run of the mask refiner: batches, steps, measurements, checkpoints. It can stop after any step and go on as if it had not.

The loop of SAM 2 (`trainer.loop`) steps through clips with prompts and memory; this one trains a network that sees one view at a time. The
network is trained and measured by cross-entropy and Dice against shares of cells. There is no random state to keep: every draw follows from
the seed and the step.

Source: Milletari, Navab and Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical image segmentation", 2016
(Dice).

Pictures of views as the mask refiner sees them, with the truth: to look at before a long run.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import AdamW

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint import Provenance, tensor_file
from NeuroSAM2Core.checkpoint.checkpoint import replaced_atomically
from NeuroSAM2Core.checkpoint.tensor_file import TensorFile
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError
from NeuroSAM2Core.model.mask_refiner import MaskRefiner
from NeuroSAM2Core.outputs import check_outputs, writing
from NeuroSAM2Core.training.config.pretraining import RefinerConfig
from NeuroSAM2Core.training.data.loading import worker_deaths_reported
from NeuroSAM2Core.training.refiner.samples import RefinerBatch, RefinerBatches, batches, held_out_samples
from NeuroSAM2Core.training.trainer.loop import Progress, stop_requested
from NeuroSAM2Core.training.trainer.optimizer_step import Precision
from NeuroSAM2Core.training.trainer.parameter_groups import lr_factor
from NeuroSAM2Core.training.trainer.recorder import Recorder, open_recorder, plot_curves
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from NeuroSAM2Core.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
STEP = "run_step"


@dataclass(slots=True)
class RefinerState:
    """The state of a run."""

    network: MaskRefiner
    average: MaskRefiner
    """With the running mean of the weights, which is what is given out."""
    optimizer: AdamW
    step: int = 0
    """Optimiser steps done."""

    @classmethod
    def begin(cls, config: RefinerConfig, device: torch.device) -> "RefinerState":
        """A run before its first step, with initial weights."""
        torch.manual_seed(config.seed)
        network = MaskRefiner().to(device)
        average = deepcopy(network).eval().requires_grad_(False)
        optimizer = AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        return cls(network, average, optimizer)

    def adopt(self, path: Path) -> None:
        """Starts a run that has not begun with the weights of a file that `export` wrote.

        Raises:
            CheckpointError: The file is missing, damaged, or holds something else.
        """
        tensors, _ = _read(path)
        self._load(tensors, path)

    def set_rate(self, config: RefinerConfig) -> float:
        """Gives the optimizer the learning rate of the coming step, and returns it."""
        rate = config.learning_rate * lr_factor(config.schedule, self.step, config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Moves the running mean towards the weights; early on it follows closely."""
        decay = min(decay, (self.step + 1) / (self.step + 20))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def save(self, path: Path) -> None:
        """Writes all that the run needs to go on.

        Raises:
            CheckpointError: It cannot be written; what was there before still is.
        """
        tensors = {
            f"{kind}.{name}": value
            for kind, module in (("network", self.network), ("average", self.average))
            for name, value in module.state_dict().items()
        }
        for name, parameter in self.network.named_parameters():
            tensors |= {f"{key}.{name}": value for key, value in self.optimizer.state[parameter].items()}
        _write(path, tensors, {STEP: str(self.step)})

    def restore(self, path: Path) -> int:
        """Goes back to the moment when a file was saved; the step of that moment.

        Raises:
            CheckpointError: The file is damaged or of another run.
        """
        tensors, metadata = _read(path)
        try:
            step, moments = int(metadata[STEP]), self._moments(tensors)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is of another run: {error}", hint="choose another run folder") from error
        self._load(_part(tensors, "network."), path, average=_part(tensors, "average."))
        self.optimizer.state.update(moments)
        self.step = step
        return step

    def export(self, path: Path, config: RefinerConfig) -> None:
        """Writes the network as it is given out: the running mean of the weights, as float16.

        Raises:
            CheckpointError: It cannot be written; what was there before still is.
        """
        about = {key: value for key, value in asdict(provenance_of(config, self)).items() if value}
        _write(path, {name: value.half() for name, value in self.average.state_dict().items()}, about)

    def _load(self, weights: Mapping[str, Tensor], path: Path, *, average: Mapping[str, Tensor] | None = None) -> None:
        try:
            for network, tensors in ((self.average, average or weights), (self.network, weights)):
                network.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise CheckpointError(f"{path} holds no mask refiner: {error}", hint="name another file") from error

    def _moments(self, tensors: Mapping[str, Tensor]) -> dict[Tensor, dict[str, Tensor]]:
        """Of the optimizer, by parameter, on its device; the step stays on the CPU, where AdamW wants it."""
        return {
            parameter: {
                key: tensors[f"{key}.{name}"].to("cpu" if key == "step" else parameter.device) for key in MOMENTS
            }
            for name, parameter in self.network.named_parameters()
        }


def provenance_of(config: RefinerConfig, state: RefinerState) -> Provenance:
    """Where the refiner of a run comes from."""
    return Provenance(
        name="mask_refiner",
        source=f"recipe refiner, seed {config.seed}, step {state.step} of {config.steps}",
        licence="Apache-2.0",
        trained_on=config.trained_on,
        code_version=__version__,
    )


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file atomically, with a checksum."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replaced_atomically(path) as partial:
        save_file(plain, partial, metadata={**metadata, tensor_file.KEY: tensor_file.BLANK})
        tensor_file.write(partial)


def _read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a file and what it says beside them; weights in float16 as float32.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        if not tensor_file.is_valid(path):
            raise ValueError("its checksum is another")
        with path.open("rb", buffering=0) as raw:
            file = TensorFile(raw)
            return {name: value.float() for name, value in file.tensors()}, file.metadata
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", hint="name another file") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


logger = logging.getLogger(__name__)
CROSS_ENTROPY_WEIGHT = 0.15
MIN_SHARE = 0.02
"""Cross-entropy counts by the share of a view that the object fills, and this much more: small objects count as much as large ones."""
MIN_CELLS = 1.0
"""A view that shows less of its object shows none."""


def refiner_loss(logits: Float[Tensor, "b 1 64 64"], truths: Float[Tensor, "b 1 64 64"]) -> Float[Tensor, ""]:
    """The mean over views of cross-entropy and, where the object is there, of one minus Dice."""
    shares, areas = logits.sigmoid(), truths.flatten(1).sum(1)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truths, reduction="none").flatten(1).mean(1)
    weight = CROSS_ENTROPY_WEIGHT / (truths.flatten(1).mean(1) + MIN_SHARE)
    common = (shares * truths).flatten(1).sum(1)
    soft_dice = (2 * common + 1) / (shares.flatten(1).sum(1) + areas + 1)
    return (weight * cross_entropy + (1 - soft_dice) * is_present(truths)).mean()


def is_present(truths: Float[Tensor, "b 1 64 64"]) -> Bool[Tensor, "b"]:
    """Which views show their object."""
    return truths.flatten(1).sum(1) > MIN_CELLS


def dice(masks: Bool[Tensor, "b 1 64 64"], truths: Float[Tensor, "b 1 64 64"]) -> Float[Tensor, "b"]:
    """Of masks with shares of cells, 0 to 1."""
    masks = masks.float()
    common = torch.minimum(masks, truths).flatten(1).sum(1)
    return 2 * common / (masks.flatten(1).sum(1) + truths.flatten(1).sum(1)).clamp(min=1e-6)


ROWS, COLUMNS = 6, 4
"""Views in a picture; of each the slice, its neighbour or what the box suggests, and the evidence."""
PARTS = {0: ("gray", 0.0, 1.0), 1: ("gray", 0.0, 1.0), 3: ("coolwarm", -1.0, 1.0)}
"""Channel of a view: colours and their range."""
INCH = 1.4


def draw_views(folder: Path, config: RefinerConfig, bank: Path, *, overwrite: bool = False) -> Path:
    """A picture of the first views of a run: green is the object, orange what is known of its place.

    Args:
        folder: Where the PNG is written to.
        config: The run.
        bank: Its heads.
        overwrite: A picture that is there may be replaced.

    Returns:
        The file.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: The picture cannot be written or is there already.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib", hint="install it with `pip install matplotlib`") from error

    path, data, count = folder / "views.png", RefinerBatches(config, bank), ROWS * COLUMNS
    check_outputs([path], overwrite=overwrite)
    batches = [data[step] for step in range(-(-count // config.batch))]
    views = [(batch, row) for batch in batches for row in range(len(batch.views))][:count]
    width = COLUMNS * len(PARTS)
    figure = Figure(figsize=(INCH * width, INCH * ROWS), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(ROWS, width).reshape(count, len(PARTS))
    for axes, (batch, row) in zip(grid, views, strict=True):
        for part, channel in zip(axes, PARTS, strict=True):
            _draw_part(part, batch, row, channel)
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with disk.replaced_atomically(path, overwrite=overwrite) as partial:
            figure.savefig(partial, format="png", dpi=80, facecolor="black")
    return path


def _draw_part(axes: "Axes", batch: RefinerBatch, row: int, channel: int) -> None:
    view, truth = batch.views[row].numpy(), batch.truths[row, 0].numpy()
    colours, low, high = PARTS[channel]
    axes.imshow(view[channel], cmap=colours, vmin=low, vmax=high)
    for levels, colour, value in ((truth, "#56e36b", 0.5), (view[2], "#ff9d2e", 0.0)):
        if levels.min() < value < levels.max():
            axes.contour(levels, levels=[value], colors=colour, linewidths=0.9)
    axes.set_axis_off()


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
        run.claim(config, allow_resume=True, changeable=CHANGEABLE)
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
