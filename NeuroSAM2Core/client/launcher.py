"""Starts a worker on this machine, on an interpreter of one's choice, and learns where it listens.

The worker runs this very copy of NeuroSAM2 on the libraries of that interpreter. Its token goes through its standard input, which also
ties it to us: when that closes, for whatever reason, the worker ends. Its standard output, one line, goes into a file that we look at:
not every system can read a pipe without waiting, and in 3D Slicer a thread that waits would starve.
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from NeuroSAM2Core.client.endpoint import Endpoint
from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.scratch import ScratchFolder

BOOTSTRAP = Path(__file__).parents[1] / "worker" / "bootstrap.py"
LOG_NAME = "worker.log"
READY_NAME = "ready.json"
MAX_READY_BYTES = 4096
STOP_TIMEOUT_S = 0.5


class LocalWorker:
    """A worker process of one's own. Made by `start`; `poll` says where it listens once it does."""

    def __init__(self, process: "subprocess.Popen[bytes]", token: str, scratch: ScratchFolder) -> None:
        self.process = process
        self.folder = scratch.path
        """For the worker's log and voxels on their way; it goes with the worker."""
        self._scratch = scratch
        self._quiet = socket.socketpair()
        self._token = token
        self._last_words = ""

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
            environment: Variables to start it with; ours if None, where another interpreter is not told where our Python's modules
                are. 3D Slicer sets more that only suits itself: give `slicer.util.startupEnvironment()` there.

        Raises:
            WorkerError: There is no such program, or it may not be run.
        """
        python, token = interpreter or sys.executable, secrets.token_hex(32)
        scratch = ScratchFolder()
        folder = scratch.path
        try:
            with (folder / LOG_NAME).open("wb") as log, (folder / READY_NAME).open("wb") as ready:
                process = subprocess.Popen(
                    [python, str(BOOTSTRAP), *options],
                    stdin=subprocess.PIPE,
                    stdout=ready,
                    stderr=log,
                    bufsize=0,
                    cwd=folder,
                    env=_environment_for(python) if environment is None else dict(environment),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            scratch.remove()
            raise WorkerError(
                f"cannot start {python}: {error.strerror or error}",
                hint="choose a Python of 3.11 or later that has torch",
            ) from error
        worker = cls(process, token, scratch)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already; `poll` will say why
            process.stdin.write(json.dumps({"token": token, "folder": str(folder)}).encode() + b"\n")
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
                said = file.read(MAX_READY_BYTES)
        except OSError:
            said = b""
        line, is_whole, _ = said.partition(b"\n")
        if is_whole:
            with contextlib.suppress(OSError):
                (self.folder / READY_NAME).unlink(missing_ok=True)
            return self._read_ready_line(line)
        if has_ended or len(said) == MAX_READY_BYTES:
            raise WorkerError("the worker ended before it was ready", hint=f"interpreter: {self.process.args!r}")
        return None

    @property
    def last_words(self) -> str:
        """How the process ended, if not in order, and the last line of its log; empty before `stop`."""
        return self._last_words

    def stop(self) -> None:
        """Ends the worker: asks it by closing its standard input, and makes sure. Safe to call again."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
            self._last_words = self._last_words or self._how_it_ended(code)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for one in self._quiet:
            one.close()
        self._scratch.remove()

    def _how_it_ended(self, code: int) -> str:
        if code == 0:
            return ""
        how = f"the worker ended by signal {-code}" if code < 0 else f"the worker ended with code {code}"
        with contextlib.suppress(OSError):
            lines = (self.folder / LOG_NAME).read_text(errors="replace", encoding="utf-8").strip().splitlines()
            if lines:
                return f"{how}: {lines[-1][:300]}"
        return how

    def _read_ready_line(self, line: bytes) -> Endpoint:
        try:
            said = json.loads(line)
            if "error" in said:
                raise WorkerError(str(said["error"]), hint=str(said.get("hint", "")))
            return Endpoint("127.0.0.1", int(said["port"]), self._token)
        except (ValueError, TypeError, KeyError) as error:
            raise WorkerError(f"the worker's first line is not what was expected: {line[:80]!r}") from error


def _environment_for(python: str) -> dict[str, str]:
    """Our variables, for another interpreter without those that would send it to the modules of ours."""
    ours = () if python == sys.executable else ("PYTHONHOME", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in ours}
