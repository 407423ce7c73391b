"""The models that a worker has loaded: one for each client, shared where they asked for the same."""

from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.checkpoint import load_model, resolve_device
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.protocol.messages import LoadModel


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and what it was asked for by."""

    name: str
    device: str
    image_size: int | None
    file_state: tuple[int, int]
    """Size and time of change of a model file, so that a new one in its place is noticed; zeros for names."""
    model: SAM2

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
        device = str(resolve_device(request.device))
        key = (request.model, device, request.image_size, _file_state(request.model))
        before = self._of.get(client)
        loaded = next((one for one in self._of.values() if one.key == key), None)
        if loaded is None:
            model = load_model(request.model, device=request.device, image_size=request.image_size)
            loaded = LoadedModel(request.model, device, request.image_size, key[3], model)
        self._of[client] = loaded
        return loaded, before is not None and before is not loaded

    def of(self, client: int) -> LoadedModel | None:
        """The client's model; None before it has asked for one."""
        return self._of.get(client)

    def forget(self, client: int) -> None:
        """The client has left."""
        self._of.pop(client, None)


def _file_state(name: str) -> tuple[int, int]:
    path = Path(name)
    if not path.suffix or not path.is_file():
        return 0, 0
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
