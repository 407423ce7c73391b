"""The limits of a worker."""

from dataclasses import dataclass

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLimits:
    """The limits of one worker."""

    max_memory_bytes: int = 8 << 30
    """Volumes, features and masks of all clients; the model is not counted. What can be computed again is let go of first."""
    feature_cache_bytes: int = 2 << 30
    """Features kept for all volumes together, along all axes."""
    max_clients: int = 8
    """At a time."""
    max_waiting: int = 50_000
    """Requests of one client that have not ended."""
    max_request_bytes: int = 1 << 30
    """What the requests of one client that have not ended may hold: masks, mostly. Never more than a quarter of the memory."""
    hold_above_bytes: int = 8 << 20
    """While a client lets more than this lie unread, nothing is computed for it."""
    max_outgoing_bytes: int = 64 << 20
    """A client that lets more than this lie unread is taken for dead."""
    unread_s: float = 300.0
    """So is one that reads nothing of what it is sent for so long."""
    upload_s: float = 60.0
    """An upload whose voxels have stopped coming for so long is given up."""
    idle_s: float = 3600.0
    """The volumes of a client that asks for nothing for so long are closed."""
    heartbeat_s: float = 2.0
    """Time between signs of life."""
    handshake_s: float = 5.0
    """A connection that has not shown its token by then is ended."""
    threads: int | None = None
    """CPU threads to compute with; PyTorch's own choice if None."""

    def __post_init__(self) -> None:
        for name in ("max_memory_bytes", "feature_cache_bytes", "max_clients"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0; got {getattr(self, name)}")
        for name in ("idle_s", "heartbeat_s", "handshake_s", "unread_s", "upload_s", "max_request_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0; got {getattr(self, name)}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1; got {self.threads}")
