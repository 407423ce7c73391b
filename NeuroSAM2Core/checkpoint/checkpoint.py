"""Our own model file: safetensors with the architecture and the provenance inside, so that a file rebuilds its own model."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from NeuroSAM2Core.errors import CheckpointError, ConfigError
from NeuroSAM2Core.model import SAM2, SAM2Config
from NeuroSAM2Core.outputs import replaced

FORMAT_VERSION = 1
KEY = "neurosam2"
TRAINING_PREFIX = "training."


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a model comes from."""

    name: str
    source: str = ""
    """The file or run it was made from."""
    licence: str = "unknown"
    trained_on: str = ""
    """The training data in a sentence."""
    code_version: str = ""
    source_sha256: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRecord:
    """What a run needs to go on, beside the model: tensors by name, and numbers by name."""

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model at rest."""

    config: SAM2Config
    state: dict[str, Tensor]
    provenance: Provenance
    training: TrainingRecord | None = None
    """Only in the files that a run goes on from, and only read when asked for."""

    def save(self, path: Path, *, half: bool = False) -> None:
        """Writes the file atomically: it is whole, or what was there before still is.

        Args:
            path: The file.
            half: Store the model's weights as float16, which halves the file; they are read back as float32.

        Raises:
            CheckpointError: It cannot be written, or a weight is too large for float16.
        """
        about = {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "provenance": dataclasses.asdict(self.provenance),
        }
        state = self._halved() if half else dict(self.state)
        if self.training is not None:
            about["training"] = dict(self.training.numbers)
            state |= {TRAINING_PREFIX + name: value for name, value in self.training.tensors.items()}
        state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        with replaced_atomically(path) as partial:
            save_file(state, partial, metadata={KEY: json.dumps(about)})

    def _halved(self) -> dict[str, Tensor]:
        """The weights as float16; what is no floating-point number stays."""
        halved = {name: value.half() if value.is_floating_point() else value for name, value in self.state.items()}
        for name, value in halved.items():
            if not value.isfinite().all():
                raise CheckpointError(
                    f"{name} has values that float16 cannot hold", hint="save the model as float32 instead"
                )
        return halved

    @classmethod
    def load(cls, path: Path, *, with_training: bool = False) -> "Checkpoint":
        """Reads what `save` wrote; the tensors stay in the file until they are used, float16 ones are read as float32.

        Args:
            path: The file.
            with_training: Also read what a run goes on from, where it is there.

        Raises:
            CheckpointError: The file is missing, damaged, not ours or from a newer version.
        """
        if not path.is_file():
            raise CheckpointError(
                f"there is no model file {path}", hint="check the path, or give a name that `neurosam2 download` lists"
            )
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get(KEY)
                if text is None:
                    raise CheckpointError(
                        f"{path.name} is a safetensors file, but not one of NeuroSAM2",
                        hint="official .pt files can be converted with `neurosam2 convert`",
                    )
                about = json.loads(text)
                if about["format_version"] > FORMAT_VERSION:
                    raise CheckpointError(
                        f"{path.name} has format {about['format_version']}; this version reads up to {FORMAT_VERSION}",
                        hint="install a newer NeuroSAM2",
                    )
                names = list(file.keys())
                extra = [name for name in names if name.startswith(TRAINING_PREFIX)]
                state = {name: _full(file.get_tensor(name)) for name in names if not name.startswith(TRAINING_PREFIX)}
                training = None
                if with_training and "training" in about:
                    tensors = {name.removeprefix(TRAINING_PREFIX): file.get_tensor(name) for name in extra}
                    training = TrainingRecord(tensors, about["training"])
            config, provenance = SAM2Config.from_dict(about["config"]), Provenance(**about["provenance"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(f"{path.name} is damaged: {error}", hint="copy or download it again") from error
        return cls(config, state, provenance, training)

    def build_model(self) -> SAM2:
        """The model with these weights, as float32, in eval mode.

        Raises:
            CheckpointError: The weights are not those of the architecture.
        """
        with _WithoutDraws():
            model = SAM2(self.config)
        state = {name: value.float() for name, value in self.state.items()}
        try:
            model.load_state_dict(state, strict=True, assign=True)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise CheckpointError(
                f"the weights of {self.provenance.name} do not fit its architecture: {first}"
            ) from None
        return model.eval()


def _full(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.float16 else value


@contextlib.contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """A path to write to; what was written there takes the place of `path` when the body ends well.

    Raises:
        CheckpointError: It cannot be written; what was there before still is.
    """
    try:
        with replaced(path) as partial:
            yield partial
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise CheckpointError(
            f"cannot write {path}: {reason}", hint="choose a folder that exists, is writable and has room"
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place, then moves it there.

    Raises:
        CheckpointError: It cannot be written; what was there before still is.
    """
    with replaced_atomically(path) as partial:
        partial.write_bytes(content)


class _WithoutDraws(TorchFunctionMode):
    """Modules are made without drawing initial weights, which would be replaced at once.

    Building on the meta device does the same, but the first tensor there costs a new process two seconds of imports.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
