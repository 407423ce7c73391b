"""The descriptor that an event loop watches for events of an engine."""

from typing import Protocol, runtime_checkable

from NeuroSAM2Core.errors import WorkerError

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
