"""Starts a worker on this machine, on an interpreter of one's choice, and learns where it listens.

The worker runs this very copy of NeuroSAM2 on the libraries of that interpreter. Its token goes through its standard input, which also
ties it to us: when that closes, for whatever reason, the worker ends.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from NeuroSAM2Core.client.endpoint import Endpoint
from NeuroSAM2Core.errors import WorkerError

BOOTSTRAP = Path(__file__).parents[1] / "worker" / "bootstrap.py"
LOG_NAME = "worker.log"
MAX_READY_BYTES = 4096
STOP_TIMEOUT_S = 0.5


class LocalWorker:
    """A worker process of one's own. Made by `start`; `poll` says where it listens once it does."""

    def __init__(self, process: "subprocess.Popen[bytes]", token: str, folder: Path) -> None:
        self.process = process
        self.folder = folder
        """For the worker's log and voxels on their way; it goes with the worker."""
        self._token = token
        self._said = b""
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
        folder = Path(tempfile.mkdtemp(prefix="neurosam2-"))
        try:
            with (folder / LOG_NAME).open("wb") as log:
                process = subprocess.Popen(
                    [python, str(BOOTSTRAP), *options],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    cwd=folder,
                    env=_environment_for(python) if environment is None else dict(environment),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise WorkerError(
                f"cannot start {python}: {error.strerror or error}",
                hint="choose a Python of 3.11 or later that has torch",
            ) from error
        worker = cls(process, token, folder)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        with contextlib.suppress(OSError):  # it has ended already; `poll` will say why
            process.stdin.write(json.dumps({"token": token, "folder": str(folder)}).encode() + b"\n")
        return worker

    def fileno(self) -> int:
        """What to watch for reading until `poll` gives the endpoint."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def poll(self) -> Endpoint | None:
        """Where the worker listens; None while it is not ready.

        Raises:
            WorkerError: It has ended, or says why it cannot run.
        """
        assert self.process.stdout is not None
        data = self.process.stdout.read(MAX_READY_BYTES)
        self._said += data or b""
        line, is_whole, _ = self._said.partition(b"\n")
        if is_whole:
            return self._read_ready_line(line)
        if data == b"" or self.process.poll() is not None or len(self._said) > MAX_READY_BYTES:
            raise WorkerError("the worker ended before it was ready", hint=f"interpreter: {self.process.args!r}")
        return None

    @property
    def last_words(self) -> str:
        """How the process ended, if not in order, and the last line of its log; empty before `stop`."""
        return self._last_words

    def stop(self) -> None:
        """Ends the worker: asks it by closing its standard input, and makes sure. Safe to call again."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
            self._last_words = self._last_words or self._how_it_ended(code)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _how_it_ended(self, code: int) -> str:
        if code == 0:
            return ""
        how = f"the worker ended by signal {-code}" if code < 0 else f"the worker ended with code {code}"
        with contextlib.suppress(OSError):
            lines = (self.folder / LOG_NAME).read_text(errors="replace").strip().splitlines()
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
