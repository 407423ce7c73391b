"""A program of its own beside the host: started, watched, asked to stop, made to wait. It outlives the host."""

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from NeuroSAM2Core.errors import WorkerError


class Process(Protocol):
    """What is used of a running program."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """How it ended; None while it runs."""

    def stop(self) -> None:
        """Asks it to save and end."""

    def kill(self) -> None:
        """Ends it and all it has started, at once."""

    def pause(self) -> None:
        """Makes it wait, so that the machine is free; nothing where the system cannot."""

    def go_on(self) -> None:
        """Lets it go on."""


class StartProcess(Protocol):
    """Starts a program."""

    def __call__(self, command: Sequence[str], log: Path) -> Process:
        """Starts it; what it says goes into the log.

        Raises:
            WorkerError: There is no such program.
        """


class LocalProcess:
    """A process in a group of its own, so that all it starts stops and waits with it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def __del__(self) -> None:
        """It outlives whoever has started it, and Python need not warn of that."""
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            del self._process

    @classmethod
    def start(cls, command: Sequence[str], log: Path) -> "LocalProcess":
        """See `StartProcess`."""
        try:
            with log.open("ab") as file:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise WorkerError(
                f"cannot start {command[0]}: {error.strerror or error}", hint="choose a Python that has torch"
            ) from error
        return cls(process)

    @property
    def pid(self) -> int:
        """See `Process`."""
        return self._process.pid

    def poll(self) -> int | None:
        """See `Process`."""
        return self._process.poll()

    def stop(self) -> None:
        """See `Process`."""
        self.go_on()
        self._process.terminate()

    def kill(self) -> None:
        """See `Process`."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """See `Process`."""
        if sys.platform != "win32":
            self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """See `Process`."""
        if sys.platform != "win32":
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class FoundProcess:
    """A process that another host has started.

    Args:
        pid: Its number.
        words: What its command holds, so that another program of the same number is never taken for it.
    """

    def __init__(self, pid: int, words: str) -> None:
        self._pid, self._words = pid, words

    @property
    def pid(self) -> int:
        """See `Process`."""
        return self._pid

    def poll(self) -> int | None:
        """See `Process`; how it ended is not known and counts as well."""
        return None if self._words in command_of(self._pid) else 0

    def stop(self) -> None:
        """See `Process`."""
        self.go_on()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Process`; of a found one, what it has started ends by itself."""
        self._signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def pause(self) -> None:
        """See `Process`."""
        if sys.platform != "win32":
            self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """See `Process`."""
        if sys.platform != "win32":
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, number)


def command_of(pid: int) -> str:
    """The command of a process of this machine; empty where there is none, it is dead, or the system does not say."""
    place = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        if "\nState:\tZ" not in (place / "status").read_text():
            return (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, timeout=2)
        return said.stdout.strip()
    return ""
