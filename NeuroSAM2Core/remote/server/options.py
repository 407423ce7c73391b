"""The options that all workers have in common."""

import argparse

from NeuroSAM2Core.remote.server.limits import WorkerLimits

GIB = 1 << 30


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
