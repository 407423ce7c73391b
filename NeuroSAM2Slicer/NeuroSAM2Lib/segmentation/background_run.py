"""What takes longer than a moment in a session: a large repair, an export. Computed by a process beside this one, the rest at each poll.

One at a time. Until a repair is written the person may do anything else; whoever acts while it is written waits for the rest of it.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError, WorkerError
from NeuroSAM2Core.repair_task import ChangedSlices, RepairTask, read_result, write_task
from NeuroSAM2Lib.beside import Start, Work, running
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.view_state import Activity

BUDGET_S = 0.03
"""How long one poll may take, if no single step takes longer."""
FEW_SLICES = 24
"""Are written at once."""
TASK, RESULT, LOG = "task.npz", "result.npz", "log.txt"
logger = logging.getLogger(__name__)


class ComputingBeside:
    """Does repairs in a process of their own.

    Args:
        command: The start of a command that runs this copy of NeuroSAM2, now.
        start: Starts it.
    """

    def __init__(self, command: Callable[[], tuple[str, ...]], start: Start) -> None:
        self._command, self._start = command, start

    def changes(self, task: RepairTask, mask: NDArray[np.bool_]) -> Work[list[ChangedSlices]]:
        """What `RepairTask.changes` gives. Where no process can be started, it is done here, which takes its time.

        Raises:
            DataError: It cannot be done, or the process has ended early.
        """
        with tempfile.TemporaryDirectory(prefix="neurosam2-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            write_task(folder / TASK, task, mask)
            yield None
            files = str(folder / TASK), str(folder / RESULT)
            command = (*self._command(), "-m", "NeuroSAM2Core.repair_task", *files)
            try:
                yield from running(_("the repair"), command, folder / LOG, self._start)
            except WorkerError as error:
                logger.warning("a repair is done in this process: %s", error)
                return task.changes(mask)
            return read_result(folder / RESULT)


class BackgroundRun:
    """What is under way in a session beside the engine.

    Args:
        beside: Computes repairs; None where everything is done at once.
    """

    def __init__(self, beside: ComputingBeside | None = None) -> None:
        self.beside = beside
        self.activity = Activity.REPAIRING
        """What the panel says while it runs."""
        self.progress = (0, 0)
        """Slices written and slices in all; zeros while it is computed."""
        self._work: Work[None] | None = None
        self._is_stepping = False

    @property
    def is_running(self) -> bool:
        """There is one."""
        return self._work is not None

    @property
    def is_writing(self) -> bool:
        """It is computed, and part of it is in the scene."""
        return self.is_running and self.progress[1] > 0

    def begin(self, work: Work[None], activity: Activity) -> None:
        """Does this at the polls from now on.

        Args:
            work: What.
            activity: What the panel says meanwhile.

        Raises:
            DataError: There is one already.
        """
        if self.is_running:
            raise DataError(_("something else is under way"), hint=_("wait for it, or stop it"))
        self._work, self.activity, self.progress = work, activity, (0, 0)

    def poll(self) -> None:
        """Goes on for a moment. Never waits.

        Raises:
            NeuroSAM2Error: It cannot be done.
        """
        end = time.monotonic() + BUDGET_S
        while self.is_running and time.monotonic() < end:
            if self._step():
                return

    def settle(self) -> None:
        """Writes the rest of a repair that is being written."""
        while self.is_writing and not self._is_stepping:
            self._step()

    def cancel(self) -> None:
        """Gives up what is computed, and writes the rest of a repair that is being written."""
        self.settle()
        if self._work is not None and not self._is_stepping:
            self._work.close()
            self._work = None

    def _step(self) -> bool:
        """One step; true where it waits for a process, or is over."""
        assert self._work is not None, "whoever calls has looked"
        self._is_stepping, is_over = True, True
        try:
            waits = bool(next(self._work))
            is_over = False
        except StopIteration:
            return True
        else:
            return waits
        finally:
            self._is_stepping = False
            if is_over:
                self._work = None
