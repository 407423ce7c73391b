"""What a worker has loaded: models and inference sessions, by client."""

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from NeuroSAM2Core.checkpoint import engine_file, load_checkpoint, ready_model, resolve_device
from NeuroSAM2Core.errors import CheckpointError, WorkerError
from NeuroSAM2Core.inference import EngineOptions, Session
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureBudget
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.remote.messages import EngineSwitches, LoadModel, OpenVolume
from NeuroSAM2Core.remote.server.options import WorkerLimits
from NeuroSAM2Core.remote.server.volume_store import VolumeStore
from NeuroSAM2Core.volume import IntensityWindow, MaskCleanup, Volume


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


class Sessions:
    """Open sessions by client and volume, the least recently used first.

    Args:
        store: Holds the voxels.
        limits: The worker's bounds.
    """

    def __init__(self, store: VolumeStore, limits: WorkerLimits) -> None:
        self._store = store
        self._budget = FeatureBudget(limits.feature_cache_bytes)
        self._open: dict[tuple[int, str], Session] = {}
        self._begun_with: dict[tuple[int, str], tuple[IntensityWindow | None, EngineSwitches]] = {}
        self._bytes: dict[tuple[int, str], int] = {}

    def open(self, client: int, request: OpenVolume, volume: Volume, model: SAM2) -> bool:
        """Opens a volume and returns whether its session is new."""
        place, wanted = (client, request.volume_id), (request.window, request.switches)
        if place in self._open and self._begun_with[place] == wanted:
            return False
        options = replace(EngineOptions(), **asdict(request.switches))
        self._open[place] = Session(model, volume, window=request.window, options=options, budget=self._budget)
        self._begun_with[place] = wanted
        return True

    def get(self, client: int, key: str, cleanup: MaskCleanup | None = None) -> Session:
        """An open session.

        Args:
            client: Whose.
            key: Of the volume.
            cleanup: How its masks are cleaned from now on; as before if None.

        Raises:
            WorkerError: The client has no such volume open.
        """
        place = client, key
        if place not in self._open:
            raise WorkerError("that volume is not open here", hint="open it first; it may have been closed as idle")
        session = self._open.pop(place)
        self._open[place] = session  # the most recently used
        if cleanup is not None:
            session.set_cleanup(cleanup)
        return session

    def close(self, client: int, key: str) -> None:
        """Forgets a session; its volume may be let go of."""
        for one in (self._open, self._begun_with, self._bytes):
            one.pop((client, key), None)
        self._store.release(key, client)
        self._store.others = sum(self._bytes.values())

    def of(self, client: int) -> list[str]:
        """The volumes that a client has open."""
        return [key for owner, key in list(self._open) if owner == client]

    def keep_within_memory(self, client: int, key: str) -> None:
        """Counts what a session holds now, and lets go of features, those of sessions unused for longest first, where it is too much."""
        place = client, key
        if place not in self._open:
            return
        self._bytes[place] = self._open[place].nbytes
        for other, session in list(self._open.items()):
            if sum(self._bytes.values()) + self._store.nbytes <= self._store.max_bytes:
                break
            session.forget_features()
            self._bytes[other] = session.nbytes
        self._store.others = sum(self._bytes.values())

    def forget_features(self) -> None:
        """Lets go of all features of all sessions."""
        for session in self._open.values():
            session.forget_features()

    def use_less_memory(self) -> None:
        """From now on all sessions together keep half as many features, and compute one slice at a time."""
        self._budget.halve()
        for session in self._open.values():
            session.encode_singly()
