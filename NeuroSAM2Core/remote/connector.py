"""How a worker is reached: at an address, or started on this machine.

Where a worker listens.
A connection in the making: its host's name is looked up in a thread, its addresses are tried in turn, and nothing ever waits.

Starts a worker on this machine, on an interpreter of one's choice, and learns where it listens.

The worker runs this very copy of NeuroSAM2 on the libraries of that interpreter. Its token goes through its standard input, together
with the process that it is for: when that ends, for whatever reason, the worker does. Its standard output, one line, goes into a file
that we look at: not every system can read a pipe without waiting, and in 3D Slicer a thread that waits would starve.
"""

import contextlib
import errno
import ipaddress
import json
import os
import secrets
import selectors
import shutil
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from NeuroSAM2Core.catalog import logs_folder
from NeuroSAM2Core.decoding import DecodingError, decoded, parse_json
from NeuroSAM2Core.disk import ScratchFolder
from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.processes import STOP_FILE, ProcessId, ProcessTree, environment_for_another_python, exit_summary


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and the token that opens it."""

    host: str
    port: int
    token: str = field(repr=False)

    @property
    def is_loopback(self) -> bool:
        """The address never leaves this machine (though a tunnel may begin there)."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


NEXT_AFTER_S = 2.5
"""After this long without an answer the next address is tried; the last one has no limit here."""
Address = tuple[int, int, int, str, tuple[object, ...]]
"""What `getaddrinfo` gives: family, type, protocol, name, address."""


class Connector:
    """Connects to an endpoint.

    Args:
        endpoint: Where to.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._addresses: list[Address] = []
        self._sock: socket.socket | None = None
        self._tried_s = 0.0
        self._failure = 0
        self._looked_up: list[Address] | OSError | None = None
        self._wakeup_send, self._wakeup_receive = socket.socketpair()
        try:
            self._looked_up = _addresses(endpoint, socket.AI_NUMERICHOST)
        except OSError:  # a name
            threading.Thread(target=self._look_up, name="look-up", daemon=True).start()
        else:
            with contextlib.suppress(WorkerError):  # `poll` says it again
                self._take_addresses()

    def fileno(self) -> int:
        """What to watch: for reading while a name is looked up, for writing afterwards."""
        return (self._sock or self._wakeup_receive).fileno()

    @property
    def wants_write(self) -> bool:
        """An address is being tried: it counts as writable once that has come to something."""
        return self._sock is not None

    def poll(self) -> socket.socket | None:
        """The connected socket, which is the caller's from then on; None while there is none.

        Raises:
            WorkerError: There is no such host, or nobody listens at any of its addresses.
        """
        if self._sock is None and self._looked_up is not None:
            self._take_addresses()
        while self._sock is not None:
            code = _result(self._sock)
            if code == 0:
                connected, self._sock = self._sock, None
                self.close()
                return connected
            is_late = bool(self._addresses) and time.monotonic() - self._tried_s > NEXT_AFTER_S
            if code is None and not is_late:
                return None
            self._failure = errno.ETIMEDOUT if code is None else code
            self._try_next()
        return None

    def close(self) -> None:
        """Gives up. Safe to call again."""
        for sock in (self._sock, self._wakeup_send, self._wakeup_receive):
            if sock is not None:
                sock.close()
        self._sock = None

    def _look_up(self) -> None:
        try:
            self._looked_up = _addresses(self._endpoint, 0)
        except OSError as error:
            self._looked_up = error
        except UnicodeError as error:  # no name at all
            self._looked_up = OSError(str(error))
        try:
            self._wakeup_send.send(b"!")
        except OSError:  # nobody wants to know any more
            return

    def _take_addresses(self) -> None:
        if isinstance(self._looked_up, OSError):
            error = self._looked_up
            raise WorkerError(f"there is no host {self._endpoint.host!r}: {error.strerror or error}") from error
        self._addresses = list(self._looked_up or [])
        self._try_next()

    def _try_next(self) -> None:
        """Begins with the next address that can be begun with.

        Raises:
            WorkerError: There is none.
        """
        before = self._sock
        while self._addresses:
            family, kind, protocol, _, address = self._addresses.pop(0)
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a kind of address that this machine does not have
                self._failure = error.errno or 0
                continue
            sock.setblocking(False)
            sock.connect_ex(address)  # what goes wrong shows when it is looked at
            self._sock, self._tried_s = sock, time.monotonic()
            if before is not None:
                before.close()  # after the new one was made: who watches tells them apart by their numbers
            return
        self.close()
        if self._failure == errno.ECONNREFUSED:
            raise WorkerError("nobody listens at that address", hint="is the address right, and the tunnel open?")
        raise WorkerError(f"the connection broke: {os.strerror(self._failure)}", hint="is the address right?")


def _addresses(endpoint: Endpoint, flags: int) -> list[Address]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags)
    return [(int(family), int(kind), protocol, name, address) for family, kind, protocol, name, address in found]


def _result(sock: socket.socket) -> int | None:
    """What came of a try: 0 for a connection, else the system's number of what went wrong; None while it is not known."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        is_known = bool(selector.select(0))
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if is_known else None


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
                Slicer's, see `startup_environment` in `NeuroSAM2Lib.engine.choice`.

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
