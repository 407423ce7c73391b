"""The port to listen on: the one that was asked for, or the usual one where it is free."""

import socket

from NeuroSAM2Core.errors import WorkerError

HOST = "127.0.0.1"


def choose_port(asked: int | None, usual: int) -> int:
    """A port that is free now.

    Args:
        asked: What the person asked for; 0 for any, None for the usual one.
        usual: Taken where nothing was asked for; any other where it is in use.

    Raises:
        WorkerError: The one that was asked for cannot be had.
    """
    if asked is None:
        return usual if _problem(usual) is None else 0
    if problem := _problem(asked):
        raise WorkerError(f"cannot listen on port {asked}: {problem}", hint="choose another --port, or leave it out")
    return asked


def _problem(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None
