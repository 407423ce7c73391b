"""Child processes and their descendants: start, watch, suspend, resume, stop and kill.

A program often stands behind a launcher (3D Slicer's, that of a virtual environment on Windows, uv, conda), which forwards no signal
and may be gone before the program is. So everything here is done to the whole tree of processes, and a tree counts as running until
its last process has ended. A tree outlives whoever started it and is found again by the number of its first process and the time at
which that began.

Needs psutil, which is imported when it is first needed: 3D Slicer loads its modules before their packages are installed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.errors import WorkerError

if TYPE_CHECKING:
    import psutil

STOP_FILE = "stop"
"""A file of this name in a program's folder asks it to save and end. It works on every system and through every launcher."""
CLOCK_TOLERANCE_S = 2.0
"""Systems round the time at which a process began, and move it when their clock is set."""
WAIT_S, POLL_S = 0.02, 0.002
EFFECT_S, MIN_LOOKS = 0.1, 8
"""So long it is made sure that what was done to a program has reached all of it; on a busy machine until so many looks were taken."""
CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW = 0x00000200, 0x08000000
"""As Windows has them; Python names them on Windows alone."""
PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
"""They tell a Python where its modules are; another one finds the wrong ones there, and does not even start."""
LIBRARY_VARIABLES = (
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "DYLD_INSERT_LIBRARIES",
)
SAVED = "APPLAUNCHER_0_"
"""Before the names of all variables as they were when CTKAppLauncher, the launcher of 3D Slicer, was started."""
CRASHES = ("Traceback (most recent call last)", "Fatal Python error")
MAX_MESSAGE, LAST_LINES = 300, 20
MESSAGE_PREFIX, OWN_MESSAGE = "neurosam2: ", 2
"""How our own programs begin the sentence on what went wrong, and how they end then."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Which process is meant, also long after it has ended and its number was given to another."""

    pid: int
    created: float
    """When it began, in seconds since 1970; 0 where psutil was missing."""

    @classmethod
    def current(cls) -> "ProcessId":
        """This process."""
        try:
            return cls(os.getpid(), _psutil().Process().create_time())
        except WorkerError:
            return cls(os.getpid(), 0.0)

    def is_running(self) -> bool:
        """Whether it lives. Where nobody can know without psutil, only this process does."""
        try:
            return self.pid == os.getpid() if self.created == 0 else self.find() is not None
        except WorkerError:
            return self.pid == os.getpid()

    def find(self) -> "psutil.Process | None":
        """The process, if it lives.

        Raises:
            WorkerError: psutil is missing.
        """
        library = _psutil()
        try:
            process = library.Process(self.pid)
            is_it = abs(process.create_time() - self.created) <= CLOCK_TOLERANCE_S
            return process if is_it and is_alive(process) else None
        except (library.Error, ValueError, OverflowError):
            return None

    def to_text(self) -> str:
        """For a file."""
        return json.dumps([self.pid, self.created])

    @classmethod
    def from_text(cls, text: str) -> "ProcessId":
        """From a file.

        Raises:
            ValueError: It is not what `to_text` gives.
        """
        return cls(*decoded(tuple[int, float], parse_json(text), "process"))


def is_alive(process: "psutil.Process") -> bool:
    """Whether a process runs or is suspended; false for one that has ended and only waits to be asked how."""
    library = _psutil()
    try:
        return bool(process.is_running() and process.status() not in (library.STATUS_ZOMBIE, library.STATUS_DEAD))
    except library.AccessDenied:
        return True
    except library.NoSuchProcess:
        return False


class _Child(subprocess.Popen[bytes]):
    """A child that may outlive this process, of which Python need not warn."""

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                super().__del__()


class ProcessTree:
    """A program and all that it has started. Made by `start` and `find`.

    Args:
        leader: The first process.
        child: The same, where this process has started it.
        stop_file: What the program takes for the request to end; None where it knows no such file.
    """

    def __init__(
        self, leader: ProcessId, *, child: "subprocess.Popen[bytes] | None" = None, stop_file: Path | None = None
    ) -> None:
        self.leader = leader
        self.child = child
        """With its pipes, where it has any."""
        self._stop_file = stop_file
        self._others: set[psutil.Process] = set()

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        log: Path,
        *,
        stop_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        output: Path | None = None,
    ) -> "ProcessTree":
        """Starts a program.

        Args:
            command: Its file and arguments.
            log: What it writes is added here.
            stop_file: See the class; one that an earlier request has left is removed.
            environment: All its variables; ours if None.
            folder: Where it begins; here if None.
            output: What it writes goes here, only errors go into the log, and its input is a pipe; None for no input.

        Raises:
            WorkerError: There is no such program, it may not be run, or psutil is missing.
        """
        library = _psutil()
        try:
            if stop_file is not None:
                stop_file.unlink(missing_ok=True)
            with log.open("ab") as file, contextlib.ExitStack() as stack:
                child = _Child(
                    list(command),
                    stdin=subprocess.DEVNULL if output is None else subprocess.PIPE,
                    stdout=file if output is None else stack.enter_context(output.open("wb")),
                    stderr=file,
                    bufsize=0,
                    cwd=folder,
                    env=None if environment is None else dict(environment),
                    start_new_session=sys.platform != "win32",
                    creationflags=creation_flags(sys.platform),
                )
        except OSError as error:
            raise WorkerError(
                f"cannot start {command[0]}: {error.strerror or error}",
                hint="choose a Python of 3.11 or later that has torch",
            ) from error
        created = time.time()
        with contextlib.suppress(library.Error):  # it has ended already; on Windows nobody can ask any more
            created = library.Process(child.pid).create_time()
        return cls(ProcessId(child.pid, created), child=child, stop_file=stop_file)

    @classmethod
    def find(cls, leader: ProcessId, *, stop_file: Path | None = None) -> "ProcessTree | None":
        """A program that was started earlier, by whomever; None where nothing of it runs any more.

        Raises:
            WorkerError: psutil is missing.
        """
        tree = cls(leader, stop_file=stop_file)
        return tree if tree.poll() is None else None

    @property
    def pid(self) -> int:
        """Of the first process."""
        return self.leader.pid

    def poll(self) -> int | None:
        """None while anything of it runs; then how the first process ended, and 0 where that is not known."""
        if self.child is not None:
            is_leader_running = self.child.poll() is None
        else:
            is_leader_running = self.leader.find() is not None
        if is_leader_running or self.members():
            return None
        return 0 if self.child is None else self.child.returncode

    def wait(self, timeout_s: float) -> int | None:
        """Waits until all of it has ended, or for so long; see `poll`."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(WAIT_S)
        return code

    def suspend(self) -> None:
        """Makes it wait, so that the machine is free."""
        self._until_none(lambda process: is_alive(process) and not is_suspended(process), suspend_once)

    def resume(self) -> None:
        """Lets it go on."""
        self._to_all(lambda process: process.resume())
        self._until_none(is_suspended, lambda process: process.resume())

    def ask(self) -> None:
        """Asks it to save and end: by its stop file, or by a signal to all of it where it knows none."""
        self.resume()
        if self._stop_file is not None:
            with contextlib.suppress(OSError):
                self._stop_file.parent.mkdir(parents=True, exist_ok=True)
                self._stop_file.touch()
                return
        request = stop_signal(sys.platform)
        if request.goes_to_group:
            with contextlib.suppress(OSError):
                os.kill(self.pid, request.number)
                return
        self._to_all(lambda process: process.terminate())

    def kill(self) -> None:
        """Ends all of it at once."""
        self._until_none(is_alive, lambda process: process.kill())

    def end(self, timeout_s: float) -> int | None:
        """Asks it, waits for so long and then ends it; None where it had to be ended."""
        if (code := self.poll()) is not None:
            return code
        self.ask()
        code = self.wait(timeout_s)
        if code is None:
            self.kill()
            self.poll()
        return code

    def members(self) -> "list[psutil.Process]":
        """All of it that lives."""
        library = _psutil()
        leader = self.leader.find()
        found = {one for one in self._others if is_alive(one)} | {one for one in self._grouped() if is_alive(one)}
        with contextlib.suppress(library.NoSuchProcess):
            if leader is not None:
                found |= {leader, *leader.children(recursive=True)}
            elif sys.platform == "win32":
                found |= set(orphans_of(self.leader, library.process_iter(["pid", "ppid", "create_time"])))
        alive = [one for one in found if is_alive(one)]
        self._others.update(one for one in alive if one.pid != self.pid)
        return sorted(alive, key=lambda one: one.pid != self.pid)

    def _grouped(self) -> "Iterator[psutil.Process]":
        """Those in the session that was made for it: they are known by that after the leader has ended and its number is no process."""
        library = _psutil()
        if sys.platform == "win32":
            return
        with contextlib.suppress(library.NoSuchProcess):
            if abs(library.Process(self.pid).create_time() - self.leader.created) > CLOCK_TOLERANCE_S:
                return  # the number was given to another process, which is only possible after all of ours have ended
        for pid in library.pids():
            with contextlib.suppress(library.Error, OSError):
                if os.getpgid(pid) == self.pid and os.getsid(pid) == self.pid:
                    yield library.Process(pid)

    def _to_all(self, action: "Callable[[psutil.Process], object]") -> None:
        """Does something to each process that there is now."""
        library = _psutil()
        for process in self.members():
            with contextlib.suppress(library.Error):
                action(process)

    def _until_none(
        self, is_left: "Callable[[psutil.Process], bool]", action: "Callable[[psutil.Process], object]"
    ) -> None:
        """Does something until two looks in a row find no process left to do it to: during one, another may have been started."""
        deadline, num_looks, num_clear = time.monotonic() + EFFECT_S, 0, 0
        while num_clear < 2 and (num_looks < MIN_LOOKS or time.monotonic() < deadline):
            num_looks += 1
            if any(map(is_left, self.members())):
                num_clear = 0
                self._to_all(action)
                time.sleep(POLL_S)
            else:
                num_clear += 1


def is_suspended(process: "psutil.Process") -> bool:
    """Whether a process waits to be resumed."""
    library = _psutil()
    try:
        return bool(process.status() == library.STATUS_STOPPED)
    except library.Error:
        return False


def suspend_once(process: "psutil.Process") -> None:
    """Suspends a process unless it is: Windows counts, and wants it resumed as often."""
    if not is_suspended(process):
        process.suspend()


@dataclass(frozen=True, slots=True)
class EndRequest:
    """How a system asks a program to end."""

    number: int
    goes_to_group: bool
    """The system passes it on to all that the program has started."""


def stop_signal(platform: str) -> EndRequest:
    """The signal that asks a program to end. Windows delivers it only to programs that share this one's console."""
    if platform == "win32":
        return EndRequest(int(getattr(signal, "CTRL_BREAK_EVENT", 1)), goes_to_group=True)
    return EndRequest(int(signal.SIGTERM), goes_to_group=False)


def creation_flags(platform: str) -> int:
    """How Windows starts a program: in a group of its own, and without a console window; 0 elsewhere."""
    return CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW if platform == "win32" else 0


def orphans_of(leader: ProcessId, processes: "Iterator[psutil.Process]") -> "list[psutil.Process]":
    """What a process that has ended left behind, on a system where orphans remember their parent's number.

    Args:
        leader: That process.
        processes: All there are, with `pid`, `ppid` and `create_time` in `info`.
    """
    rows = [(one, one.info) for one in processes if None not in one.info.values()]
    heirs = [info["create_time"] for _, info in rows if info["pid"] == leader.pid]
    until = heirs[0] if heirs else float("inf")  # from then on the number is another process's
    left = [
        one
        for one, info in rows
        if info["ppid"] == leader.pid and leader.created - CLOCK_TOLERANCE_S <= info["create_time"] < until
    ]
    return [*left, *(child for one in left for child in one.children(recursive=True))]


def environment_for_another_python(variables: Mapping[str, str]) -> dict[str, str]:
    """What a program of another Python is started with: these variables without what a launcher has set for ours.

    Args:
        variables: Those of this process.
    """
    saved = {name.removeprefix(SAVED): value for name, value in variables.items() if name.startswith(SAVED)}
    ours: tuple[str, ...] = PYTHON_VARIABLES
    if not saved and "PYTHONHOME" in variables:  # nobody but a launcher sets it; the library path goes with it
        ours += LIBRARY_VARIABLES
    return {name: value for name, value in (saved or variables).items() if name not in ours}


def exit_summary(name: str, code: int, log: Path) -> str:
    """Why a program ended early, in a sentence without its first capital and its dot: its own words, or what died and where its log is.

    Args:
        name: Of the program.
        code: How it ended; negative for a signal.
        log: Where it has written what went wrong.
    """
    lines = _lines(log)
    own = [line.removeprefix(MESSAGE_PREFIX) for line in lines if line.startswith(MESSAGE_PREFIX)] or lines
    if code == OWN_MESSAGE and own:
        return own[-1][:MAX_MESSAGE]
    line = relevant_line(lines)
    how = f"{name} ended by signal {-code}" if code < 0 else f"{name} ended with code {code}"
    return f"{how}: {line or 'it printed nothing'}; its log is {log}"


def has_crashed(log: Path) -> bool:
    """Whether a log tells of the death of a Python, whatever that ended with."""
    return any(line.startswith(CRASHES) for line in _lines(log))


def relevant_line(lines: Sequence[str]) -> str:
    """The line of a log that says best what went wrong: the last one that speaks of an error, else the last; empty without any."""
    telling = [line for line in lines[-LAST_LINES:] if "error" in line.lower()] or lines
    return telling[-1][:MAX_MESSAGE] if telling else ""


def _lines(log: Path) -> list[str]:
    """What stands in a log, without empty lines; nothing where there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip()]


def _psutil() -> ModuleType:
    """The library.

    Raises:
        WorkerError: It is missing.
    """
    try:
        import psutil
    except ModuleNotFoundError as error:
        raise WorkerError("psutil is missing, which starts and ends programs", hint="pip install psutil") from error
    return psutil
