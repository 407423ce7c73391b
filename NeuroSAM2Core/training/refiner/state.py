"""The state of a run of the mask refiner, the files that it goes on from, and the file that it gives out.

There is no random state to keep: every draw follows from the seed and the step.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import AdamW

from NeuroSAM2Core.checkpoint import Provenance, tensor_file
from NeuroSAM2Core.checkpoint.checkpoint import replaced_atomically
from NeuroSAM2Core.checkpoint.tensor_file import TensorFile
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model.mask_refiner import MaskRefiner
from NeuroSAM2Core.training.config.pretraining import RefinerConfig
from NeuroSAM2Core.training.trainer.parameter_groups import lr_factor
from NeuroSAM2Core.version import __version__

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
