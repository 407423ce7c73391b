"""The limits of a worker, and the command line options that set them."""

import argparse
from dataclasses import dataclass

from NeuroSAM2Core.errors import ConfigError

GIB = 1 << 30
ABOVE_ZERO = (
    *("max_memory_bytes", "feature_cache_bytes", "max_request_bytes", "max_clients"),
    *("idle_s", "heartbeat_s", "handshake_s", "unread_s", "upload_s"),
)


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
        for name in ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0; got {getattr(self, name)}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1; got {self.threads}")


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    default = WorkerLimits()
    parser.add_argument(
        "--max-memory",
        type=float,
        default=default.max_memory_bytes / GIB,
        metavar="GB",
        help="for volumes, features and masks of all clients (default: %(default)g)",
    )
    parser.add_argument(
        "--max-clients", type=int, default=default.max_clients, metavar="N", help="at a time (default: %(default)d)"
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=default.idle_s / 60,
        metavar="MINUTES",
        help="after which the volumes of a client that asks for nothing are closed (default: %(default)g)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads to compute with (default: all cores)")


def limits_of(args: argparse.Namespace) -> WorkerLimits:
    """The bounds that were asked for.

    Raises:
        ConfigError: They make no sense.
    """
    max_memory = int(args.max_memory * GIB)
    return WorkerLimits(
        max_memory_bytes=max_memory,
        feature_cache_bytes=max(1, min(WorkerLimits().feature_cache_bytes, max_memory // 4)),
        max_clients=args.max_clients,
        idle_s=args.idle * 60,
        threads=args.threads,
    )
