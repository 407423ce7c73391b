"""The worker process: the network thread and the compute thread, how they begin and how they end in order.

A local worker reads its token from standard input, prints its port, and ends with the program that started it. A serving worker has its
token in a file.
"""

import argparse
import contextlib
import itertools
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.processes import STOP_FILE, ProcessId, is_alive
from NeuroSAM2Core.remote.server.counters import Counters, ServerState
from NeuroSAM2Core.remote.server.job_queue import JobQueue
from NeuroSAM2Core.remote.server.options import WorkerLimits, add_limit_options, limits_of
from NeuroSAM2Core.remote.server.server import Listener, Server
from NeuroSAM2Core.remote.server.volume_store import VolumeStore
from NeuroSAM2Core.startup import allow_any_character

logger = logging.getLogger(__name__)

COMPUTE_END_S = 0.2
"""How long the step that is being computed may take to end with the process."""
POLL_S = 0.05
"""Between two looks at what the host asks for."""
POLLS_PER_LOOK = 10
"""Between two looks at whether the host lives, which take many times as long and keep the compute thread from the interpreter."""
MIN_TOKEN_CHARS = 32
"""A token cannot be guessed."""


class WorkerProcess:
    """A worker in this process.

    Args:
        listener: Bound and listening.
        token: What clients must show.
        limits: The worker's bounds.
        voxel_folder: Where clients on this machine may put files of voxels; None to take none.
        counters: Counts what is done; its own if None.
    """

    def __init__(
        self,
        listener: Listener,
        token: str,
        limits: WorkerLimits,
        *,
        voxel_folder: Path | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._queue, self._store = JobQueue(), VolumeStore(limits.max_memory_bytes)
        self._limits, self.counters = limits, counters or Counters()
        self.exit_code = 0
        """Of the process: not 0 where a defect has ended it."""
        self._server = Server(
            listener, token, self._queue, self._store, limits, self.counters, voxel_folder=voxel_folder
        )

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

    def state(self) -> ServerState:
        """What it has counted. May be called from any thread."""
        return ServerState(workers=[self.counters.snapshot()])

    def _compute(self) -> None:
        try:
            # it loads torch; the other thread listens meanwhile
            from NeuroSAM2Core.remote.server.job_runner import Compute

            Compute(self._queue, self._server.send_event, self._store, self._limits, self.counters).run()
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


def run_local_worker(arguments: Sequence[str]) -> None:
    """Serves on loopback until the host is gone or asks it to end, then ends the process; the host's folder goes with it."""
    parser = argparse.ArgumentParser(prog="neurosam2 worker")
    add_limit_options(parser)
    limits = limits_of(parser.parse_args(arguments))
    allow_any_character()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    payload = json.loads(sys.stdin.buffer.readline())
    folder, listener = Path(payload["folder"]), listen("127.0.0.1", 0)
    worker = WorkerProcess(listener, payload["token"], limits, voxel_folder=folder)
    end_with(ProcessId(*payload["host"]), folder / STOP_FILE, worker.stop)
    end_on_signals(worker.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for the host
    with contextlib.suppress(BrokenPipeError):  # the host is gone already, which `end_with` sees too
        print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)  # noqa: T201
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on
    worker.run()
    shutil.rmtree(folder, ignore_errors=True)
    leave(worker.exit_code)


def token_in(path: Path) -> str:
    """The token in a file; a new one is made, for the owner's eyes only, where there is no file.

    Raises:
        DataError: The file cannot be read or made.
        ConfigError: It holds no token, a short one, or is open to others.
    """
    try:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(secrets.token_hex(32) + "\n")
        mode, token = path.stat().st_mode, disk.read_text(path).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"cannot read or make the token file {path}: {reason}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"the token file {path} is open to other users", hint=f"chmod 600 {path}")
    if len(token) < MIN_TOKEN_CHARS or any(one.isspace() for one in token):
        raise ConfigError(
            f"the token file {path} must hold one word of at least {MIN_TOKEN_CHARS} characters",
            hint="delete it, and a good one is made",
        )
    return token
