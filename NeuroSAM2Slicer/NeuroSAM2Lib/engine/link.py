"""The connection to an engine: started on demand, restarted after a crash, not restarted after repeated crashes.

The link knows nothing of prompts or masks. Its `generation` counts workers: whoever told an earlier one something must say it
again.

The descriptor that an event loop watches for events of an engine.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.remote import (
    AUTOMATIC,
    REVIEW_IOU_THRESHOLD,
    Disconnected,
    EngineSwitches,
    Event,
    LoadModel,
    ModelLoaded,
    Request,
    SliceAnswered,
    SliceTracked,
)
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Lib.i18n import tr as _

NOTHING = -1


@runtime_checkable
class Watchable(Protocol):
    """Something with a descriptor, as `EngineClient` is."""

    def fileno(self) -> int:
        """What to watch for reading."""


def descriptor_of(engine: object) -> int:
    """The descriptor of an engine; NOTHING where there is none to watch."""
    if not isinstance(engine, Watchable):
        return NOTHING
    try:
        return engine.fileno()
    except (WorkerError, OSError, ValueError):
        return NOTHING


MAX_CRASHES = 3
"""In a row, without a single mask in between."""
FAILED_MESSAGE = _("the engine ended {number} times in a row").format(number=MAX_CRASHES)
RETRY_HINT = _("press Test under Engine to see why, then Try again")


class Engine(Protocol):
    """The part of `EngineClient` that is used here."""

    def submit(self, request: Request) -> int:
        """Sends a request and returns its number."""

    def open_volume(self, volume: Volume, *, switches: EngineSwitches = AUTOMATIC) -> int:
        """Opens a volume and returns the request's number."""

    def volume_id(self, number: int) -> str:
        """The volume of that request."""

    def poll(self) -> list[Event]:
        """What has happened."""

    def close(self) -> None:
        """Ends it."""


class EngineLink:
    """One engine at a time.

    Args:
        make: Starts an engine.
        model: What it is to load.
    """

    def __init__(self, make: Callable[[], Engine], model: LoadModel) -> None:
        self.model = model
        self.generation = 0
        self.review_iou_threshold = REVIEW_IOU_THRESHOLD
        """From this predicted overlap on the loaded model's masks need no second look."""
        self.sha256 = ""
        """Of the model file as the engine read it; empty before it has."""
        self._make = make
        self._engine: Engine | None = None
        self._crashes = 0
        self._setup: set[int] = set()

    @property
    def engine(self) -> Engine | None:
        """The engine that runs, for whoever watches its descriptor."""
        return self._engine

    @property
    def has_failed(self) -> bool:
        """It has died too often in a row; `retry` allows another start."""
        return self._crashes >= MAX_CRASHES

    def retry(self) -> None:
        """The person wants it tried again."""
        self._crashes = 0

    def use(self, model: LoadModel) -> None:
        """Another model from now on; what the engine knew of volumes is void."""
        self.model, self.sha256 = model, ""
        self.generation += 1
        if self._engine is not None:
            self._setup.add(self._engine.submit(model))

    def is_setup(self, request_id: int) -> bool:
        """The request was one for the model or the volume: if it failed, nothing else can succeed."""
        return request_id in self._setup

    def open(self, volume: Volume, switches: EngineSwitches = AUTOMATIC) -> str:
        """Opens a volume, on a new engine if there is none, and returns its id.

        Raises:
            WorkerError: The engine cannot be started, or has died too often.
        """
        engine = self._running()
        number = engine.open_volume(volume, switches=switches)
        self._setup.add(number)
        return engine.volume_id(number)

    def submit(self, request: Request) -> int:
        """Sends a request to the engine; a volume must be open.

        Raises:
            WorkerError: There is none.
        """
        if self._engine is None:
            raise WorkerError(_("the engine is not running"), hint=_("try again"))
        return self._engine.submit(request)

    def poll(self) -> list[Event]:
        """What has happened; the death of the engine comes as `Disconnected`, and the next `open` starts another."""
        if self._engine is None:
            return []
        engine = self._engine
        events = engine.poll()
        for event in events:
            if isinstance(event, Disconnected):
                engine.close()
                self._engine = None
                self._crashes += 1
            elif isinstance(event, SliceAnswered | SliceTracked):
                self._crashes = 0
            elif isinstance(event, ModelLoaded):
                self.review_iou_threshold = event.review_iou_threshold
                if event.model == self.model.model:  # not one that was asked for before
                    self.sha256 = event.sha256
        return events

    def close(self) -> None:
        """Ends the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _running(self) -> Engine:
        if self._engine is None:
            if self.has_failed:
                raise WorkerError(FAILED_MESSAGE, hint=RETRY_HINT)
            self._engine = self._make()
            self.generation += 1
            self._setup = {self._engine.submit(self.model)}
        return self._engine
