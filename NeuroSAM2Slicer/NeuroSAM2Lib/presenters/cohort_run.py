"""The run of a cohort as a process of its own: begun from a panel, stopped, and found again by the next window.

Panel and run share nothing but the cohort's folder, so that the run goes on when the host is closed. While a person clicks, it waits, so
that the machine is the click's. The project of the training panel remembers the folder of the run that was begun last.
"""

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.cohort.record import COHORT_FILE
from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.errors import ConfigError, DataError, WorkerError
from NeuroSAM2Core.processes import ProcessId, ProcessTree, exit_summary
from NeuroSAM2Lib.engine.choice import DEFAULT_MODEL, EngineChoice, Place, StartProgram
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.cases import CaseList
from NeuroSAM2Lib.training.controller import STOP_GRACE_S, YIELD_CPU_S

PROCESS_FILE, LOG_FILE, REQUEST_FILE = ".cohort.pid", ".cohort.log", ".cohort.request"
LAST_FILE = "cohort.json"
"""In the project: which folder the last run was begun in."""
DERIVATIVES = Path("derivatives", "neurosam2")
"""Where results go, in the folder of the scans; with a number behind it where other requests have been there."""


class CohortRun:
    """At most one at a time.

    Args:
        command: The start of a command that runs NeuroSAM2, now.
        start: Starts it.
        clock: Seconds.
    """

    def __init__(
        self,
        command: Callable[[], tuple[str, ...]],
        start: StartProgram,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._start, self._clock = command, start, clock
        self._program: ProcessTree | None = None
        self.folder: Path | None = None
        """Of the run under way, or of the last one."""
        self.notice = ""
        """How it began or ended."""
        self._waits_until, self._ends_by = 0.0, math.inf

    @property
    def is_running(self) -> bool:
        """Its process lives."""
        return self._program is not None

    def begin(self, cases: CaseList, images: Path, choice: EngineChoice) -> Path:
        """Begins a run, or goes on with one that was asked for in the same words.

        Args:
            cases: Those that are annotated.
            images: The folder of the new scans.
            choice: Says which model, on which device.

        Returns:
            The folder of the cohort.

        Raises:
            ConfigError: A run goes on already.
            DataError: No case is annotated, or the folder cannot be written to.
            WorkerError: The program cannot be started.
        """
        if self.is_running:
            raise ConfigError(_("a run goes on already"), hint=_("stop it first"))
        if all(case.role == "test" for case in cases.read()):
            raise DataError(_("no case is annotated"), hint=_("add one to the list of cases to train on first"))
        is_here = choice.place is not Place.REMOTE
        words = (str(cases.path.resolve()), "--images", str(images.resolve()))
        model = (
            "--model",
            choice.model if is_here else DEFAULT_MODEL,
            "--device",
            choice.device if is_here else "auto",
        )
        try:
            listed = hashlib.sha256(cases.path.read_bytes()).hexdigest()
            request = json.dumps([*words, *model, listed])
            folder = _folder_for(images.resolve(), request)
            folder.mkdir(parents=True, exist_ok=True)
            disk.write_atomically(folder / REQUEST_FILE, request)
            command = (*self._command(), "cohort", *words, "--out", str(folder), *model)
            self._program = self._start(command, folder / LOG_FILE)
            disk.write_atomically(folder / PROCESS_FILE, self._program.leader.to_text())
            disk.write_atomically(cases.folder / LAST_FILE, json.dumps(str(folder)))
        except OSError as error:
            raise DataError(
                _("cannot write to {folder}: {reason}").format(folder=images, reason=error.strerror or error)
            ) from error
        self.folder, self.notice = folder, ""
        return folder

    def find_again(self, project: Path) -> Path | None:
        """The folder of the project's last run, if that is still under way or has ended unseen; None otherwise."""
        if self.is_running:
            return None
        try:
            folder = Path(decoded(str, parse_json(disk.read_text(project / LAST_FILE)), ""))
            leader = ProcessId.from_text(disk.read_text(folder / PROCESS_FILE))
            self._program = ProcessTree.find(leader)
        except (OSError, ValueError, WorkerError):
            return None
        self.folder = folder
        if self._program is None:
            self._forget_process()
        else:
            self._program.resume()  # the host before may have ended while the run gave way
        return folder

    def stop(self) -> None:
        """Asks it to end; what is done stays, and the same request goes on with the rest."""
        if self._program is not None:
            self._waits_until = 0.0
            self._program.ask()
            self._ends_by = self._clock() + STOP_GRACE_S
            self.notice = _("the run is stopping")

    def yield_cpu(self) -> None:
        """A person clicks: it waits for a moment."""
        if self._program is not None and self._ends_by == math.inf:
            if self._waits_until == 0.0:
                self._program.suspend()
            self._waits_until = self._clock() + YIELD_CPU_S

    def poll(self) -> bool:
        """Takes in what has happened; true when it has ended just now. Never waits."""
        if self._program is None or self.folder is None:
            return False
        if self._waits_until and self._clock() >= self._waits_until:
            self._end_waiting()
        if self._clock() >= self._ends_by:
            self._program.kill()
        code = self._program.poll()
        if code is None:
            return False
        was_asked = self._ends_by < math.inf
        self._program, self._waits_until, self._ends_by = None, 0.0, math.inf
        self._forget_process()
        how = "" if code == 0 or was_asked else exit_summary(_("the run"), code, self.folder / LOG_FILE)
        self.notice = _("the run was stopped") if was_asked else how or _("the run is over")
        return True

    def close(self) -> None:
        """The panel goes; the run goes on."""
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._waits_until and self._program is not None:
            self._program.resume()
        self._waits_until = 0.0

    def _forget_process(self) -> None:
        if self.folder is not None:
            (self.folder / PROCESS_FILE).unlink(missing_ok=True)


def _folder_for(images: Path, request: str) -> Path:
    """Where the results of a request go: where the same one was before, else a folder that no other one has."""
    names = itertools.chain([DERIVATIVES.name], (f"{DERIVATIVES.name}-{number}" for number in itertools.count(2)))
    folders = (images / DERIVATIVES.parent / name for name in names)
    return next(one for one in folders if _request_in(one) in (request, None))


def _request_in(folder: Path) -> str | None:
    """What was asked for in a folder, empty where that is not known; None where no cohort is."""
    if disk.is_file(folder / REQUEST_FILE):
        return disk.read_text(folder / REQUEST_FILE)
    return "" if disk.is_file(folder / COHORT_FILE) else None
