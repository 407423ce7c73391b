"""The inference sessions of the worker: one for each client and volume, never shared between clients."""

from dataclasses import asdict, replace

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.inference import EngineOptions, Session
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureBudget
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.remote.messages import OpenVolume
from NeuroSAM2Core.remote.server.limits import WorkerLimits
from NeuroSAM2Core.remote.server.volume_store import VolumeStore
from NeuroSAM2Core.remote.switches import EngineSwitches
from NeuroSAM2Core.volume import IntensityWindow, MaskCleanup, Volume


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
