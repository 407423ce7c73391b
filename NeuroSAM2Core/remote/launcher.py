"""Starts a worker on this machine, on an interpreter of one's choice, and learns where it listens.

The worker runs this very copy of NeuroSAM2 on the libraries of that interpreter. Its token goes through its standard input, together with
the process that it is for: when that ends, for whatever reason, the worker does. Its standard output, one line, goes into a file that we
look at: not every system can read a pipe without waiting, and in 3D Slicer a thread that waits would starve.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from NeuroSAM2Core.catalog import logs_folder
from NeuroSAM2Core.decoding import DecodingError, decoded, parse_json
from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.processes import STOP_FILE, ProcessId, ProcessTree, environment_for_another_python, exit_summary
from NeuroSAM2Core.remote.endpoint import Endpoint
from NeuroSAM2Core.scratch import ScratchFolder

BOOTSTRAP = Path(__file__).parent / "server" / "bootstrap.py"
LOG_NAME = "worker.log"
READY_NAME = "ready.json"
MAX_READY_BYTES = 4096
STOP_TIMEOUT_S = 0.5


class LocalWorker:
    """A worker process of one's own. Made by `start`; `poll` says where it listens once it does."""

    def __init__(self, process: ProcessTree, token: str, scratch: ScratchFolder, python: str) -> None:
        self.process = process
        self.folder = scratch.path
        """For the worker's log and voxels on their way; it goes with the worker."""
        self._scratch = scratch
        self._quiet = socket.socketpair()
        self._token, self._python = token, python
        self._exit_message, self._is_stopped = "", False

    @classmethod
    def start(
        cls,
        interpreter: str | None = None,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "LocalWorker":
        """Starts a worker and does not wait for it.

        Args:
            interpreter: The Python that has torch; this one if None.
            options: Those of `neurosam2 serve` that set limits, such as `("--threads", "2")`.
            environment: Variables to start it with; ours if None, where another interpreter gets none that only suit ours. For
                Slicer's, see `startup_environment` in `NeuroSAM2Lib.engine.programs`.

        Raises:
            WorkerError: There is no such program, it may not be run, or psutil is missing.
        """
        python, token = interpreter or sys.executable, secrets.token_hex(32)
        if environment is None and python != sys.executable:
            environment = environment_for_another_python(os.environ)
        host = ProcessId.current()
        scratch = ScratchFolder()
        folder = scratch.path
        payload = {"token": token, "folder": str(folder), "host": [host.pid, host.created]}
        try:
            process = ProcessTree.start(
                [python, str(BOOTSTRAP), *options],
                folder / LOG_NAME,
                stop_file=folder / STOP_FILE,
                environment=environment,
                folder=folder,
                output=folder / READY_NAME,
            )
        except WorkerError:
            scratch.remove()
            raise
        worker = cls(process, token, scratch, python)
        with contextlib.suppress(OSError):  # it has ended already; `poll` will say why
            worker._input.write(json.dumps(payload).encode() + b"\n")
        return worker

    def fileno(self) -> int:
        """A socket on which nothing happens: event loops of every system can watch it until there is a connection to watch."""
        return self._quiet[0].fileno()

    def poll(self) -> Endpoint | None:
        """Where the worker listens; None while it is not ready.

        Raises:
            WorkerError: It has ended, or says why it cannot run.
        """
        has_ended = self.process.poll() is not None
        try:
            with (self.folder / READY_NAME).open("rb") as file:
                payload = file.read(MAX_READY_BYTES)
        except OSError:
            payload = b""
        line, is_whole, _ = payload.partition(b"\n")
        if is_whole:
            with contextlib.suppress(OSError):
                (self.folder / READY_NAME).unlink(missing_ok=True)
            return self._read_ready_line(line)
        if has_ended or len(payload) == MAX_READY_BYTES:
            raise WorkerError("the worker ended before it was ready", hint=f"interpreter: {self._python}")
        return None

    @property
    def exit_message(self) -> str:
        """How the process ended, if not in order, what its log says of it and where that is; empty before `stop`."""
        return self._exit_message

    def stop(self) -> None:
        """Ends the worker: asks it, and makes sure. Safe to call again."""
        if self._is_stopped:
            return
        self._is_stopped = True
        with contextlib.suppress(OSError):
            self._input.close()
        code = self.process.end(STOP_TIMEOUT_S)
        if code:
            self._exit_message = exit_summary("the worker", code, self._kept_log())
        for one in self._quiet:
            one.close()
        self._scratch.remove()

    def _kept_log(self) -> Path:
        """The log where it outlives the folder: one file, of the worker that went wrong last."""
        kept = logs_folder() / LOG_NAME
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            return Path(shutil.move(self.folder / LOG_NAME, kept))
        except OSError:
            return self.folder / LOG_NAME

    @property
    def _input(self) -> IO[bytes]:
        assert self.process.child is not None
        assert self.process.child.stdin is not None
        return self.process.child.stdin

    def _read_ready_line(self, line: bytes) -> Endpoint:
        try:
            ready = decoded(_ReadyLine, parse_json(line), "first line")
        except DecodingError as error:
            raise WorkerError(f"the worker's first line is not what was expected: {line[:80]!r}") from error
        if ready.error:
            raise WorkerError(ready.error, hint=ready.hint)
        return Endpoint("127.0.0.1", ready.port, self._token)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ReadyLine:
    """The first line of a worker: where it listens, or why it cannot."""

    port: int = 0
    pid: int = 0
    error: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        if not self.error and not 0 < self.port < 1 << 16:
            raise DecodingError(f"{self.port} is not a port")
