"""Our own model file: safetensors with the architecture and the provenance inside, so that a file rebuilds its own model."""

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from NeuroSAM2Core.errors import CheckpointError, ConfigError
from NeuroSAM2Core.model import SAM2, SAM2Config

FORMAT_VERSION = 1
KEY = "neurosam2"


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
class Checkpoint:
    """A model at rest."""

    config: SAM2Config
    state: dict[str, Tensor]
    provenance: Provenance

    def save(self, path: Path) -> None:
        """Writes the file atomically: it is whole, or what was there before still is.

        Raises:
            CheckpointError: It cannot be written.
        """
        about = {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "provenance": dataclasses.asdict(self.provenance),
        }
        state = {name: value.detach().cpu().contiguous() for name, value in self.state.items()}
        write_atomically(path, save(state, metadata={KEY: json.dumps(about)}))

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Reads what `save` wrote; the tensors stay in the file until they are used.

        Raises:
            CheckpointError: The file is missing, damaged, not ours or from a newer version.
        """
        if not path.is_file():
            raise CheckpointError(f"there is no model file {path}")
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
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            config, provenance = SAM2Config.from_dict(about["config"]), Provenance(**about["provenance"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(f"{path.name} is damaged: {error}", hint="copy or download it again") from error
        return cls(config, state, provenance)

    def build_model(self) -> SAM2:
        """The model with these weights, as float32, in eval mode.

        Raises:
            CheckpointError: The weights are not those of the architecture.
        """
        with torch.device("meta"):
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


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place, then moves it there.

    Raises:
        CheckpointError: It cannot be written; what was there before still is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error}",
            hint="choose a folder that exists, is writable and has room",
        ) from error
