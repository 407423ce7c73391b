"""Everything that changes while training, and how it survives: one safetensors file, written atomically.

There is no random state to keep: every draw follows from the seed and the step number.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import AdamW

from NeuroSAM2Core.errors import CheckpointError

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(slots=True)
class TrainState:
    """The run at one moment."""

    step: int
    """Optimiser steps done."""
    model: nn.Module
    optimizer: AdamW
    average: dict[str, Tensor]
    """Running mean of the weights."""

    def update_average(self, decay: float) -> None:
        """Moves the running mean towards the weights; early on it follows closely."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)

    def save(self, path: Path) -> None:
        """Writes the state; the file is whole or not there."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for parameter, moments in self.optimizer.state.items():
            tensors |= {f"{key}.{names[id(parameter)]}": moments[key] for key in MOMENTS}
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        partial = path.with_suffix(".partial")
        try:
            save_file(tensors, partial, metadata={"step": json.dumps(self.step)})
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise CheckpointError(
                f"could not save the training state to {path}: {error}",
                hint="free some space; the last saved state is whole",
            ) from error

    def load(self, path: Path) -> None:
        """Restores what `save` wrote, into the model and optimiser at hand."""
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
                self.step = json.loads(file.metadata()["step"])
        except (OSError, SafetensorError, KeyError) as error:
            raise CheckpointError(f"{path} is not a training state: {error}", hint="delete it to start anew") from error
        self.model.load_state_dict(_part(tensors, "model"), strict=True)
        device = next(self.model.parameters()).device
        self.average = {name: value.to(device) for name, value in _part(tensors, "average").items()}
        parts = {key: _part(tensors, key) for key in MOMENTS}
        for name, parameter in self.model.named_parameters():
            if name in parts["exp_avg"]:
                self.optimizer.state[parameter] = {
                    key: values[name].to(device if key != "step" else "cpu") for key, values in parts.items()
                }


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): value for name, value in tensors.items() if name.startswith(prefix + ".")}
