"""Our own model file: safetensors with the architecture and the provenance inside, so that a file rebuilds its own model.

What a configuration promises: the name and shape of every weight, known before any memory is taken for it.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint import tensor_file
from NeuroSAM2Core.checkpoint.tensor_file import TensorFile
from NeuroSAM2Core.decoding import Rules, decoded
from NeuroSAM2Core.errors import CheckpointError, ConfigError, is_out_of_memory
from NeuroSAM2Core.model import SAM2, SAM2Config
from NeuroSAM2Core.model.config import UnknownSettingError
from NeuroSAM2Core.version import __version__

Shape = tuple[int, ...]


def unfilled_model(config: SAM2Config) -> SAM2:
    """A model whose weights have their shapes and no memory yet; all of them must be assigned before it is used."""
    with _WithoutMemory():
        return SAM2(config)


@lru_cache(maxsize=8)
def shapes_of(config: SAM2Config) -> Mapping[str, Shape]:
    """The shape of every weight, by name."""
    return shapes_in(unfilled_model(config).state_dict())


def shapes_in(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of every tensor of a state, by name."""
    return {name: tuple(value.shape) for name, value in state.items()}


def check_fit(found: Mapping[str, Shape], config: SAM2Config, name: str) -> None:
    """Compares weights with what the configuration promises.

    Args:
        found: The shape of every weight there is.
        config: The architecture.
        name: Of the model or its file, for the sentence.

    Raises:
        CheckpointError: A weight is missing, unknown or of another shape.
    """
    if misfit := first_misfit(found, shapes_of(config)):
        raise CheckpointError(f"the weights of {name} do not fit its architecture: {misfit}")


def first_misfit(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str:
    """What is wrong with the first weight that is missing, unknown or of another shape; empty where all fit."""
    for key in itertools.chain(expected, found):
        if key not in found:
            return f"{key} is missing"
        if key not in expected:
            return f"{key[:200]!r} is not one of its weights"
        if found[key] != expected[key]:
            return f"{key} has the shape {found[key]}, expected {expected[key]}"
    return ""


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Finds weights that are no numbers: one of them makes every answer of the model none.

    Raises:
        CheckpointError: There is one; its tensor is named.
    """
    for key, value in state.items():
        # A sum is finite only if all its terms are, and takes no memory; terms whose sum is too large are looked at one by one.
        if value.is_floating_point() and not value.sum().isfinite() and not value.isfinite().all():
            raise CheckpointError(
                f"{name} has values in {key} that are not finite numbers",
                hint="it is damaged, or its training went wrong; use another file",
            )


class _WithoutMemory(TorchFunctionMode):
    """Modules are made without memory for their initial weights and without drawing them: they would be replaced at once.

    Building on the meta device does the same, but the first tensor there costs a new process two seconds of imports.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        name = getattr(func, "__name__", "")
        if name in ("empty", "zeros", "ones", "randn", "full"):
            shape = args[0] if isinstance(args[0], tuple | list) else args
            return torch.zeros(()).expand(shape)  # type: ignore[arg-type]
        if name.endswith("_") and not name.startswith("_"):  # changes a tensor in place
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


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
    """A model and its metadata, as stored in a file."""

    config: SAM2Config
    state: dict[str, Tensor]
    provenance: Provenance
    training: TrainingRecord | None = None
    """Only in the files that a run goes on from, and only read when asked for."""
    sha256: str = ""
    """Of the file's bytes as they were read; empty where it was not asked for."""

    def save(self, path: Path, *, half: bool = False) -> None:
        """Writes the file atomically, with a checksum: it is whole, or what was there before still is.

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
            tensor_file.EXPECTED: True,
        }
        state = self._halved() if half else dict(self.state)
        if self.training is not None:
            about["training"] = dict(self.training.numbers)
            state |= {TRAINING_PREFIX + name: value for name, value in self.training.tensors.items()}
        state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        with replaced_atomically(path) as partial:
            save_file(state, partial, metadata={KEY: json.dumps(about), tensor_file.KEY: tensor_file.BLANK})
            tensor_file.write(partial)

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
    def load(cls, path: Path, *, with_training: bool = False, hashed: bool = False) -> "Checkpoint":
        """Reads what `save` wrote, into memory of its own; weights are read as float32.

        That they are no more than the architecture has is known from the header, before memory is taken for them; `check_fit` knows
        whether they are the very ones.

        Args:
            path: The file.
            with_training: Also read what a run goes on from, where it is there.
            hashed: Also find the SHA-256 of what is read.

        Raises:
            CheckpointError: The file is missing, damaged, not ours or from a newer version; it has more weights than its
                architecture, or some that are not finite.
        """
        path = disk.extended(path)
        if not disk.is_file(path):
            raise CheckpointError(
                f"there is no model file {path}", hint="check the path, or give a name that `neurosam2 download` lists"
            )
        try:
            with path.open("rb", buffering=0) as file:
                return _read(TensorFile(file, hashed=hashed), path.name, with_training=with_training)
        except UnknownSettingError as error:
            raise CheckpointError(
                f"{path.name} was written by a later version of NeuroSAM2: {error.message}",
                hint=f"install a newer NeuroSAM2; this is {__version__}",
            ) from error
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be read: {disk.reason(error, path)}") from error
        except (
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,
            AttributeError,
            MemoryError,
            ConfigError,
        ) as error:
            if is_out_of_memory(error):
                raise CheckpointError(
                    f"this machine does not have enough memory for the weights in {path.name}"
                ) from error
            raise CheckpointError(f"{path.name} is damaged: {error}", hint="copy or download it again") from error

    @classmethod
    def load_verified(cls, path: Path, *, with_training: bool = False) -> "Checkpoint":
        """Reads what `save` wrote after a look at every byte of it; see `load`.

        Raises:
            CheckpointError: As `load`, or a single byte is another than was written.
        """
        try:
            is_whole = not disk.is_file(path) or tensor_file.is_valid(path)
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be read: {error.strerror or error}") from error
        if not is_whole:
            raise CheckpointError(f"{path.name} is damaged: its checksum is another", hint="check the disk")
        return cls.load(path, with_training=with_training)

    def check_fit(self) -> None:
        """Compares the weights with what the configuration promises, before anything is built.

        Raises:
            CheckpointError: The weights are not those of the architecture.
        """
        check_fit(shapes_in(self.state), self.config, self.provenance.name)

    def build_model(self) -> SAM2:
        """The model with these weights, as float32, in eval mode.

        Raises:
            CheckpointError: The weights are not those of the architecture.
        """
        self.check_fit()
        model = unfilled_model(self.config)
        model.load_state_dict({name: value.float() for name, value in self.state.items()}, strict=True, assign=True)
        return model.eval()


def _read(file: TensorFile, name: str, *, with_training: bool) -> Checkpoint:
    """The checkpoint in a file of ours; see `Checkpoint.load`."""
    about = _metadata(file, name)
    config = SAM2Config.from_dict(about["config"])
    provenance = decoded(Provenance, about["provenance"], "provenance", Rules(skips_unknown=True))
    weights = {key: one for key, one in file.stored.items() if not key.startswith(TRAINING_PREFIX)}
    if sum(map(math.prod, shapes_of(config).values())) < sum(math.prod(one.shape) for one in weights.values()):
        check_fit({key: one.shape for key, one in weights.items()}, config, name)
    if strange := next((key for key, one in weights.items() if not one.dtype.is_floating_point), None):
        raise CheckpointError(f"{name} has weights in {strange} that are no floating-point numbers")
    has_training = with_training and "training" in about
    state: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    for key, value in file.tensors(lambda key: has_training or key in weights):
        if key in weights:
            state[key] = value.float()
        else:
            moments[key.removeprefix(TRAINING_PREFIX)] = value
    check_finite(state, name)
    check_finite(moments, name)
    training = TrainingRecord(moments, _numbers(about["training"])) if has_training else None
    return Checkpoint(config, state, provenance, training, file.sha256)


def _metadata(file: TensorFile, name: str) -> dict[str, Any]:
    """What a file of ours says of itself."""
    text = file.metadata.get(KEY)
    if text is None:
        raise CheckpointError(
            f"{name} is a safetensors file, but not one of NeuroSAM2",
            hint="official .pt files can be converted with `neurosam2 convert`",
        )
    about: dict[str, Any] = json.loads(text)
    version = about["format_version"]
    if type(version) is not int or version < 1:
        raise ValueError(f"its format is {reprlib.repr(version)}")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has format {reprlib.repr(version)}; this version reads up to {FORMAT_VERSION}",
            hint="install a newer NeuroSAM2",
        )
    return about


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    if not all(isinstance(value, int | float) for value in values.values()):
        raise ValueError("the numbers of its training are none")
    return dict(values)


@contextlib.contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """A path to write to; what was written there takes the place of `path` when the body ends well.

    Raises:
        CheckpointError: It cannot be written; what was there before still is.
    """
    try:
        with disk.replaced_atomically(path) as partial:
            yield partial
    except (OSError, SafetensorError) as error:
        reason = disk.reason(error, path) if isinstance(error, OSError) else error
        raise CheckpointError(
            f"cannot write {path}: {reason}", hint="choose a folder that exists, is writable and has free space"
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place, then moves it there.

    Raises:
        CheckpointError: It cannot be written; what was there before still is.
    """
    with replaced_atomically(path) as partial:
        partial.write_bytes(content)
