"""Mutable training state and its (de)serialisation.

There is no random state to keep: every draw follows from the seed, the step and the rank. What is given out differs from what is
trained where weights are averaged or adapters are folded in; the checkpoint then holds both, and what they share only once.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, TrainingRecord
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.model.lora import merge_lora
from NeuroSAM2Core.training.trainer.parameter_groups import ParameterGroup, build_optimizer

T = TypeVar("T")
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(slots=True)
class TrainState:
    """The state of a run."""

    model: SAM2
    groups: list[ParameterGroup]
    optimizer: AdamW
    scaler: torch.amp.GradScaler
    """Scales losses under float16; does nothing where it is disabled."""
    lora_alpha: float = 1.0
    """Scale of the adapters, where there are any."""
    step: int = 0
    """Optimiser steps done."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """Running mean of the weights that are trained; empty where none is kept."""
    best_score: float = -math.inf
    """Of all validations so far."""
    validations: dict[int, dict[str, float]] = field(default_factory=dict)
    """What each validation found, by step and name."""

    @classmethod
    def begin(
        cls,
        model: SAM2,
        groups: list[ParameterGroup],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        keeps_average: bool = False,
        scales_losses: bool = False,
        lora_alpha: float = 1.0,
    ) -> "TrainState":
        """A run before its first step.

        Args:
            model: On its device, with its adapters, what is frozen marked.
            groups: What is trained.
            betas: AdamW's.
            keeps_average: Keep a running mean of the weights; it is what is given out.
            scales_losses: Scale losses, as float16 needs.
            lora_alpha: Scale of the adapters, where there are any.
        """
        average = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad and keeps_average}
        return cls(
            model=model,
            groups=groups,
            optimizer=build_optimizer(groups, betas=betas),
            scaler=torch.amp.GradScaler(model.device.type, enabled=scales_losses),
            lora_alpha=lora_alpha,
            average=average,
        )

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that change."""
        return [parameter for group in self.groups for parameter in group.parameters]

    def set_rates(self, total_steps: int) -> None:
        """Gives every group the learning rate of the coming step."""
        for group, options in zip(self.groups, self.optimizer.param_groups, strict=True):
            options["lr"] = group.rate(self.step, total_steps)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Moves the running mean towards the weights; early on it follows closely."""
        if self.average:
            decay = min(decay, (1 + self.step) / (10 + self.step))
            weights = dict(self.model.named_parameters())
            torch._foreach_lerp_(list(self.average.values()), [weights[name] for name in self.average], 1 - decay)

    def weights(self) -> dict[str, Tensor]:
        """What is given out: averaged where an average is kept, adapters folded in, under the model's plain names."""
        return merge_lora(self.model.state_dict() | self.average, alpha=self.lora_alpha)

    def checkpoint(self, provenance: Provenance, *, with_training: bool) -> Checkpoint:
        """The model as it would be given out and, if asked, all that the run needs to go on."""
        weights = self.weights()
        training = self._record(weights) if with_training else None
        return Checkpoint(self.model.config, weights, provenance, training)

    def _record(self, exported: Mapping[str, Tensor]) -> TrainingRecord:
        tensors = {}
        for kind, values in (("model", self.model.state_dict()), ("average", self.average)):
            for name, value in values.items():
                if name not in exported or exported[name].data_ptr() != value.data_ptr():
                    tensors[f"{kind}.{name}"] = value
        for group in self.groups:
            for name, parameter in zip(group.names, group.parameters, strict=True):
                moments = self.optimizer.state.get(parameter, {})
                tensors |= {f"{key}.{name}": cast(Tensor, moments[key]) for key in MOMENTS if key in moments}
        numbers = {f"scaler.{name}": value for name, value in self.scaler.state_dict().items()}
        for step, found in self.validations.items():
            numbers |= {f"validation.{step}.{name}": score for name, score in found.items()}
        return TrainingRecord(tensors, {"step": self.step, "best_score": self.best_score} | numbers)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to the moment of a checkpoint of this run.

        Raises:
            CheckpointError: The checkpoint is not one that this run can go on from.
        """
        record = checkpoint.training
        if record is None:
            raise CheckpointError("a run cannot go on from a checkpoint that holds only a model")
        try:
            self.model.load_state_dict(_found(self.model.state_dict(), record.tensors, "model.", checkpoint.state))
            for name, value in _found(self.average, record.tensors, "average.", checkpoint.state).items():
                self.average[name].copy_(value)
            self._restore_moments(record.tensors)
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint is of another run: {error}", hint="choose another run folder"
            ) from error
        self.model.set_image_size(checkpoint.config.image_size)
        self.step = int(record.numbers["step"])
        self.best_score = record.numbers["best_score"]
        self.validations = {}
        for key, score in _part(record.numbers, "validation.").items():
            step, _, name = key.partition(".")
            self.validations.setdefault(int(step), {})[name] = score
        if scaler := _part(record.numbers, "scaler."):
            self.scaler.load_state_dict(scaler | {n: int(scaler[n]) for n in ("growth_interval", "_growth_tracker")})

    def _restore_moments(self, tensors: Mapping[str, Tensor]) -> None:
        for group in self.groups:
            for name, parameter in zip(group.names, group.parameters, strict=True):
                if f"exp_avg.{name}" in tensors:
                    self.optimizer.state[parameter] = {
                        key: tensors[f"{key}.{name}"].to("cpu" if key == "step" else parameter.device, copy=True)
                        for key in MOMENTS
                    }


def _found(
    names: Iterable[str], record: Mapping[str, Tensor], prefix: str, otherwise: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    return {name: record[prefix + name] if prefix + name in record else otherwise[name] for name in names}


def _part(named: Mapping[str, T], prefix: str) -> dict[str, T]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
