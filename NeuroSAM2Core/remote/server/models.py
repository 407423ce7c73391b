"""The models that a worker has loaded: one for each client, shared where they asked for the same."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.checkpoint import engine_file, load_checkpoint, ready_model, resolve_device
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.remote.messages import LoadModel


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and what it was asked for by."""

    name: str
    device: str
    image_size: int | None
    file_state: tuple[int, ...]
    """Size and time of change of the model file and of the engine's choices beside it, so that new ones in their place are noticed."""
    model: SAM2
    sha256: str
    """Of the bytes that were read from the model file."""

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two requests the same."""
        return self.name, self.device, self.image_size, self.file_state


class Models:
    """Loaded models by client."""

    def __init__(self) -> None:
        self._of: dict[int, LoadedModel] = {}

    def load(self, client: int, request: LoadModel) -> tuple[LoadedModel, bool]:
        """The model for a client, and whether it is another one than before.

        Raises:
            CheckpointError: There is no such model, or its file cannot be used.
            ConfigError: There is no such device, or the image size does not fit the model.
        """
        place = resolve_device(request.device)
        device = str(place)
        key = (request.model, device, request.image_size, _file_state(request.model))
        before = self._of.get(client)
        loaded = next((one for one in self._of.values() if one.key == key), None)
        if loaded is None:
            checkpoint = load_checkpoint(request.model, hashed=True)
            model = ready_model(checkpoint, place, image_size=request.image_size)
            loaded = LoadedModel(request.model, device, request.image_size, key[3], model, checkpoint.sha256)
        self._of[client] = loaded
        return loaded, before is not None and before is not loaded

    def of(self, client: int) -> LoadedModel | None:
        """The client's model; None before it has asked for one."""
        return self._of.get(client)

    def forget(self, client: int) -> None:
        """The client has left."""
        self._of.pop(client, None)


def _file_state(name: str) -> tuple[int, ...]:
    """Zeros for what is not there, and for the model files of catalog names, which do not change."""
    paths = [Path(name)]
    with contextlib.suppress(CheckpointError):  # there is no such model, as loading it will say
        paths.append(engine_file(name))
    state: list[int] = []
    for path in paths:
        stat = path.stat() if path.suffix and path.is_file() else None
        state += (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
    return tuple(state)
