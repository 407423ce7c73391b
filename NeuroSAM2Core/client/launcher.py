"""Starts a worker on this machine, on an interpreter of one's choice, and learns where it listens.

The worker runs this very copy of NeuroSAM2 on the libraries of that interpreter. Its token goes through its standard input, together with
the process that it is for: when that ends, for whatever reason, the worker does.
"""

import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from NeuroSAM2Core.catalog import logs_folder
from NeuroSAM2Core.client.endpoint import Endpoint
from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.processes import STOP_FILE, ProcessId, ProcessTree, environment_for_another_python, how_it_ended

BOOTSTRAP = Path(__file__).parents[1] / "worker" / "bootstrap.py"
LOG_NAME = "worker.log"
MAX_READY_BYTES = 4096
STOP_TIMEOUT_S = 0.5


class LocalWorker:
    """A worker process of one's own. Made by `start`; `poll` says where it listens once it does."""

    def __init__(self, process: ProcessTree, token: str, folder: Path, python: str) -> None:
        self.process = process
        self.folder = folder
        """For the worker's log and voxels on their way; it goes with the worker."""
        self._token, self._python = token, python
        self._said = b""
        self._last_words, self._is_stopped = "", False

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
                Slicer's, see `startup_environment` in `NeuroSAM2MRML.engine.programs`.

        Raises:
            WorkerError: There is no such program, it may not be run, or psutil is missing.
        """
        python, token = interpreter or sys.executable, secrets.token_hex(32)
        if environment is None and python != sys.executable:
            environment = environment_for_another_python(os.environ)
        host = ProcessId.current()
        said = {"token": token, "folder": "", "host": [host.pid, host.created]}
        folder = Path(tempfile.mkdtemp(prefix="neurosam2-"))
        try:
            process = ProcessTree.start(
                [python, str(BOOTSTRAP), *options],
                folder / LOG_NAME,
                stop_file=folder / STOP_FILE,
                environment=environment,
                folder=folder,
                has_pipes=True,
            )
        except WorkerError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        worker = cls(process, token, folder, python)
        os.set_blocking(worker._output.fileno(), False)
        with contextlib.suppress(OSError):  # it has ended already; `poll` will say why
            worker._input.write(json.dumps(said | {"folder": str(folder)}).encode() + b"\n")
        return worker

    def fileno(self) -> int:
        """What to watch for reading until `poll` gives the endpoint."""
        return self._output.fileno()

    def poll(self) -> Endpoint | None:
        """Where the worker listens; None while it is not ready.

        Raises:
            WorkerError: It has ended, or says why it cannot run.
        """
        data = self._output.read(MAX_READY_BYTES)
        self._said += data or b""
        line, is_whole, _ = self._said.partition(b"\n")
        if is_whole:
            return self._read_ready_line(line)
        if data == b"" or self.process.poll() is not None or len(self._said) > MAX_READY_BYTES:
            raise WorkerError("the worker ended before it was ready", hint=f"interpreter: {self._python}")
        return None

    @property
    def last_words(self) -> str:
        """How the process ended, if not in order, what its log says of it and where that is; empty before `stop`."""
        return self._last_words

    def stop(self) -> None:
        """Ends the worker: asks it, and makes sure. Safe to call again."""
        if self._is_stopped:
            return
        self._is_stopped = True
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()
        code = self.process.end(STOP_TIMEOUT_S)
        if code:
            self._last_words = how_it_ended("the worker", code, self._kept_log())
        shutil.rmtree(self.folder, ignore_errors=True)

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

    @property
    def _output(self) -> IO[bytes]:
        assert self.process.child is not None
        assert self.process.child.stdout is not None
        return self.process.child.stdout

    def _read_ready_line(self, line: bytes) -> Endpoint:
        try:
            said = json.loads(line)
            if "error" in said:
                raise WorkerError(str(said["error"]), hint=str(said.get("hint", "")))
            return Endpoint("127.0.0.1", int(said["port"]), self._token)
        except (ValueError, TypeError, KeyError) as error:
            raise WorkerError(f"the worker's first line is not what was expected: {line[:80]!r}") from error
