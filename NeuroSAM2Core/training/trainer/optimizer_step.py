"""One optimiser step: forward over one or more batches, gradients, clipping, the step itself.

Everything random follows from the seed, the step and the number of the batch among those of the step, over all processes: however many
processes share the batches of a step, the step is the same.

The number type of the arithmetic while training. Weights, losses and the optimiser's moments are float32 always.

In bfloat16 most of AdamW's small steps are smaller than half the distance between two weights and change nothing, so weights are
never kept that way.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.training.config.fine_tuning import PrecisionName
from NeuroSAM2Core.training.config.step import LossConfig, PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.step.clip_segmenter import StepResult
from NeuroSAM2Core.training.step.prompts import plan_generator, planned
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.state import TrainState

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Precision:
    """How a forward pass computes."""

    device_type: str
    dtype: torch.dtype | None
    """What matrix products are computed in; None for float32."""

    @classmethod
    def chosen(cls, name: PrecisionName, device: torch.device) -> "Precision":
        """The precision by name; `auto` is bfloat16 on GPUs that have it, else float32.

        Raises:
            ConfigError: float16 is asked for where it is no faster and less exact.
        """
        if name == "auto":
            name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        if name == "fp16" and device.type == "cpu":
            raise ConfigError("float16 is for GPUs; this run computes on the CPU", hint='run.precision = "auto"')
        return cls(device.type, DTYPES[name])

    @property
    def scales_losses(self) -> bool:
        """float16 loses small gradients unless the loss is scaled up."""
        return self.dtype is torch.float16

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward pass."""
        return torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerStepConfig:
    """The configuration of every optimizer step."""

    seed: int
    total_steps: int
    losses: LossConfig
    max_gradient_norm: float
    """Gradients are clipped to this L2 norm; 0 for no clipping."""
    ema_decay: float
    """Decay of the running mean of the weights, where one is kept."""
    precision: Precision


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """The metrics of a step; NaN where there was nothing to measure."""

    loss: float
    focal: float
    dice: float
    iou: float
    object_score: float
    bce: float
    prompted_iou: float
    tracked_iou: float
    corrected_iou: float

    @classmethod
    def of(cls, result: StepResult, config: LossConfig) -> "StepMetrics":
        """A step's result as plain numbers."""
        losses = result.losses
        tensors = (
            *(losses.total(config), losses.focal, losses.dice, losses.iou, losses.object_score, losses.bce),
            *(result.prompted_iou, result.tracked_iou, result.corrected_iou),
        )
        return cls(*torch.stack([tensor.detach().to(losses.focal) for tensor in tensors]).tolist())


class LossNotFiniteError(DataError):
    """A step that would have spoilt the weights; nothing was changed.

    Args:
        message: Which step, and what was found.
        batch: What it was found with.
    """

    def __init__(self, message: str, batch: ClipBatch) -> None:
        super().__init__(message, hint="lower the learning rates, or look at the batch; the last checkpoint is whole")
        self.batch = batch


def update(
    state: TrainState,
    segmenter: nn.Module,
    batches: Sequence[ClipBatch],
    prompts: PromptConfig,
    step_config: OptimizerStepConfig,
    process_group: ProcessGroup,
) -> list[StepMetrics]:
    """One optimiser step; its gradient is the mean over the batches of all processes, however they are shared among these.

    Args:
        state: Changed in place.
        segmenter: A `ClipSegmenter` of the state's model, wrapped for the process group.
        batches: This process's, as `ProcessGroup.share_of` numbers them; at least one.
        prompts: How prompts are drawn.
        step_config: The configuration of every optimizer step.
        process_group: The processes that train together.

    Raises:
        LossNotFiniteError: A loss or gradient is not a number; nothing was changed.
    """
    state.set_rates(step_config.total_steps)
    state.optimizer.zero_grad(set_to_none=True)
    own_objects = float(sum(batch.is_real.sum() for batch in batches))
    num_batches, num_objects = process_group.sum([float(len(batches)), own_objects])
    mean_objects = max(1.0, num_objects / num_batches)
    share = num_batches / process_group.size
    metrics: list[StepMetrics] = []
    for number, batch in zip(process_group.share_of(int(num_batches)), batches, strict=True):
        # Gradients are averaged over processes once, with those of the last batch.
        is_last = len(metrics) == len(batches) - 1
        alone = isinstance(segmenter, DistributedDataParallel) and not is_last
        with segmenter.no_sync() if alone else nullcontext():  # type: ignore[operator]
            plan = planned(prompts, batch, plan_generator(step_config.seed, state.step, number))
            rng = np.random.default_rng((step_config.seed, state.step, number, 1, 0))
            torch.manual_seed(int(rng.integers(2**62)))
            with step_config.precision.autocast():
                result: StepResult = segmenter(batch.to(process_group.device), rng, plan=plan, num_objects=mean_objects)
            loss = result.losses.total(step_config.losses)
            if not torch.isfinite(loss):
                raise LossNotFiniteError(f"the loss of step {state.step} is {loss.item()}", batch)
            state.scaler.scale(loss / share).backward()
            metrics.append(StepMetrics.of(result, step_config.losses))
    _apply(state, step_config, batches[-1])
    return metrics


def _apply(state: TrainState, step_config: OptimizerStepConfig, batch: ClipBatch) -> None:
    """Clips the gradients and takes the step."""
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(state.trained, step_config.max_gradient_norm or float("inf"))
    if not state.scaler.is_enabled() and not torch.isfinite(norm):  # a scaler passes over such steps by itself
        raise LossNotFiniteError(f"the gradient of step {state.step} is {norm.item()}", batch)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    state.update_average(step_config.ema_decay)
