"""The worker process: the network thread, the compute thread, and an orderly shutdown."""

import itertools
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Core.processes import ProcessId, is_alive
from NeuroSAM2Core.remote.server.job_queue import JobQueue
from NeuroSAM2Core.remote.server.limits import WorkerLimits
from NeuroSAM2Core.remote.server.server import Server
from NeuroSAM2Core.remote.server.volume_store import VolumeStore

logger = logging.getLogger(__name__)

COMPUTE_END_S = 0.2
"""How long the step that is being computed may take to end with the process."""
POLL_S = 0.05
"""Between two looks at what the host asks for."""
POLLS_PER_LOOK = 10
"""Between two looks at whether the host lives, which take many times as long and keep the compute thread from the interpreter."""


class WorkerProcess:
    """A worker in this process.

    Args:
        listener: Bound and listening.
        token: What clients must show.
        limits: The worker's bounds.
        voxel_folder: Where clients on this machine may put files of voxels; None to take none.
    """

    def __init__(
        self, listener: socket.socket, token: str, limits: WorkerLimits, *, voxel_folder: Path | None = None
    ) -> None:
        self._queue, self._store = JobQueue(), VolumeStore(limits.max_memory_bytes)
        self._limits = limits
        self.exit_code = 0
        """Of the process: not 0 where a defect has ended it."""
        self._server = Server(listener, token, self._queue, self._store, limits, voxel_folder=voxel_folder)

    def run(self) -> None:
        """Serves until `stop`."""
        compute = threading.Thread(target=self._compute, name="compute", daemon=True)
        compute.start()
        try:
            self._server.run()
        finally:
            self._queue.close()
            compute.join(COMPUTE_END_S)

    def stop(self) -> None:
        """Ends `run`. May be called from any thread, and from a signal handler."""
        self._server.stop()

    def _compute(self) -> None:
        try:
            from NeuroSAM2Core.remote.server.compute import Compute  # loads torch; the other thread listens meanwhile

            Compute(self._queue, self._server.send_event, self._store, self._limits).run()
        except BaseException:
            logger.exception("the worker cannot compute")
            self.exit_code = 1
            self.stop()


def end_with(host: ProcessId, stop_file: Path, stop: Callable[[], None]) -> None:
    """Calls `stop` when the host has ended, however it did, or when it asks for it.

    Nothing is read meanwhile: on Windows a read that waits in one thread can hold up another one that loads torch, for good.

    Args:
        host: The process that the worker is for, however many launchers stand between them.
        stop_file: How it asks.
        stop: Called once, in a thread of its own.
    """

    def watch() -> None:
        process = host.find()
        for poll in itertools.count():
            has_ended = process is None or (poll % POLLS_PER_LOOK == 0 and not is_alive(process))
            if has_ended or stop_file.exists():
                break
            time.sleep(POLL_S)
        stop()

    threading.Thread(target=watch, name="host", daemon=True).start()


def end_on_signals(stop: Callable[[], None]) -> None:
    """Shuts down in order on SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGINT, lambda *_: stop())
    signal.signal(signal.SIGTERM, lambda *_: stop())
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, lambda *_: stop())


def leave(code: int) -> None:
    """Ends the process now: a thread in the middle of a computation must not hold it up."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)
