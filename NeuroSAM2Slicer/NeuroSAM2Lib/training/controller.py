"""Fine-tuning in the background: cases, a run as a process of its own, comparison on held-out cases, and back.

Training and panel share nothing but the run's folder, so that the run goes on when the host is closed and is found again. While a person
clicks, the run waits, so that the machine is the click's.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import decoded, parse_count, parse_json
from NeuroSAM2Core.errors import ConfigError, DataError, WorkerError
from NeuroSAM2Core.processes import STOP_FILE, ProcessId, ProcessTree, exit_summary
from NeuroSAM2Core.verdict import Report
from NeuroSAM2Lib.engine.choice import StartProgram
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.cases import CaseList
from NeuroSAM2Lib.training.run import RunReader, TrainChoice, problems
from NeuroSAM2Lib.training.samples import LOOKING, Samples
from NeuroSAM2Lib.training.verdict_view import ReportReader, missing_proof
from NeuroSAM2Lib.view_state import CaseRow, ComparisonRow, TrainView

YIELD_CPU_S = 2.0
"""After the last click the run waits this long."""
BUNDLED = "nano"
"""In use before anything was promoted, where no run says otherwise."""
LOG_CHARS = 20_000
STOP_GRACE_S = 60.0
"""A run that was asked to stop, or is over, and has not ended after this long is ended; what it saved is whole."""


class TrainController:
    """The training panel.

    Args:
        folder: The project: cases, runs and comparisons.
        start: Starts processes.
        python: The interpreter that has torch, as the start of a command.
        use_model: Puts a model file, or a catalog name, to work.
        clock: Seconds.
    """

    def __init__(
        self,
        folder: Path,
        start: StartProgram,
        python: Sequence[str],
        *,
        use_model: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cases = CaseList(folder)
        self.samples = Samples(folder, start, python)
        self.folder, self.notice = folder, ""
        self.run: RunReader | None = None
        self._start, self._python, self._use_model, self._clock = start, tuple(python), use_model, clock
        self._training: ProcessTree | None = None
        self._comparing: ProcessTree | None = None
        self._report_reader: ReportReader | None = None
        self._waits_until = 0.0
        self._ends_by = math.inf
        self._was_asked_to_stop = False
        runs = sorted((folder / "runs").glob("*.toml"))
        if runs:
            self.run = RunReader(runs[-1].with_suffix(""))
            self.run.read_news()
            self._training = self._found()
            if self._training is not None:
                self._training.resume()  # the host before may have ended while the run gave way
                self.notice = _("training goes on (started before)")

    @property
    def is_running(self) -> bool:
        """The run's process lives."""
        return self._training is not None

    @property
    def is_comparing(self) -> bool:
        """Two models are being compared."""
        return self._comparing is not None

    def begin(self, choice: TrainChoice) -> None:
        """Begins a new run.

        Raises:
            ConfigError: A run goes on already.
            DataError: There is nothing to train on, or the folder cannot be written to.
        """
        if self.is_running:
            raise ConfigError(_("a run goes on already"), hint=_("stop it first"))
        if not any(case.role == "training" for case in self.cases.read()):
            raise DataError(_("there are no cases to train on"), hint=_("add one to the list first"))
        runs = self.folder / "runs"
        try:
            runs.mkdir(parents=True, exist_ok=True)
            self.run = RunReader(self._new_run(runs, choice))
        except OSError as error:
            raise DataError(
                _("cannot write to {folder}: {reason}").format(folder=runs, reason=error.strerror or error)
            ) from error
        self._launch()

    def _new_run(self, runs: Path, choice: TrainChoice) -> Path:
        """The folder of a run with a number that no other window has taken; its configuration is written."""
        number = max((parse_count(path.stem) or 0 for path in runs.glob("*.toml")), default=0)
        while True:
            number += 1
            folder = runs / f"{number:03d}"
            text = choice.to_toml(self.cases.path.resolve(), folder.resolve())
            with suppress(FileExistsError):
                disk.write_atomically(folder.with_suffix(".toml"), text, overwrite=False)
                return folder

    def validate_dataset(self, choice: TrainChoice) -> None:
        """Looks at the cases as a run with this choice would see them; see `Samples.begin`."""
        self.samples.begin(choice, self.cases.path)
        self.notice = LOOKING

    def stop(self) -> None:
        """Asks the run to save and end; `resume` continues exactly there."""
        if self._training is not None:
            self._training.ask()
            self._ends_by = self._clock() + STOP_GRACE_S
            self._was_asked_to_stop = True
            self.notice = _("stopping after this step")

    def resume(self) -> None:
        """Continues the last run.

        Raises:
            ConfigError: There is none, or it goes on already, or it is over.
        """
        if self.run is None or self.is_running or self.run.is_over:
            raise ConfigError(_("there is no stopped run to continue"), hint=_("start a new one"))
        self._launch()

    def compare(self) -> None:
        """Compares the run's model with the one before it on held-out cases.

        Raises:
            DataError: The run is not over, or no case was held out.
        """
        if self.run is None or self.run.model is None:
            raise DataError(_("the run is not over yet"), hint=_("wait for its end"))
        if all(case.role == "training" for case in self.cases.read()):
            raise DataError(_("no case is held out"), hint=_("add one for validation or for the test"))
        target = self._comparison_folder
        target.mkdir(parents=True, exist_ok=True)
        before, after = self._model_in_use(), str(self.run.model)
        asked = ["report", before, after, str(self.cases.path), "--out", str(target), "--overwrite"]
        command = ["-m", "NeuroSAM2Core", *asked]
        self._comparing = self._start([*self._python, *command], target / "log.txt")
        self.notice = _("measuring both models on the held-out cases")

    def promote(self) -> None:
        """Puts the run's model to work.

        Raises:
            DataError: There is no comparison yet.
        """
        if self.run is None or self.run.model is None or self._report is None:
            raise DataError(_("this model has not been compared yet"), hint=_("compare it on held-out cases first"))
        history = self._history()
        model = str(self.run.model)
        if not history or history[-1] != model:
            self._write_history([*history, model])
        self._use_model(model)
        self.notice = _("the new model is in use; Back returns to the one before")

    def roll_back(self) -> None:
        """Returns to the model before the last promoted one.

        Raises:
            DataError: None was promoted.
        """
        history = self._history()
        if not history:
            raise DataError(_("no model was promoted"), hint=_("there is nothing to go back from"))
        self._write_history(history[:-1])
        self._use_model(self._model_in_use())
        self.notice = _("the model before is in use again")

    def yield_cpu(self) -> None:
        """A person clicks: the run waits for a moment, unless it is saving what it has."""
        if self._training is not None and not self._was_asked_to_stop:
            if self._waits_until == 0.0:
                self._training.suspend()
            self._waits_until = self._clock() + YIELD_CPU_S

    def poll(self) -> None:
        """Takes in what has happened. Never waits."""
        if self._waits_until and self._clock() >= self._waits_until:
            self._end_waiting()
        if self._training is not None and self.run is not None and self.run.is_over and self._ends_by == math.inf:
            self._ends_by = self._clock() + STOP_GRACE_S
        if self._training is not None and self._clock() >= self._ends_by:
            self._training.kill()
            self._ends_by = math.inf
        if self._training is not None and (code := self._training.poll()) is not None:
            self._training, self._waits_until = None, 0.0
            if self.run is not None:
                self.run.folder.with_suffix(".pid").unlink(missing_ok=True)
                (self.run.folder / STOP_FILE).unlink(missing_ok=True)  # where it was ended before it looked
            was_asked, self._ends_by = self._was_asked_to_stop, math.inf
            self._was_asked_to_stop = False
            is_over = self.run is not None and self.run.is_over
            self.notice = (
                _("the run is over")
                if is_over
                else _("the run was stopped")
                if code == 0 or was_asked
                else self._exit_message(code)
            )
        if self.samples.poll():
            count = len(self.samples.pictures)
            self.notice = (
                _("{count} clips are drawn").format(count=count)
                if count
                else _("no clip could be drawn; see the report below")
            )
        if self.run is not None:  # after the look at the process, so that nothing it wrote last is missed
            self.run.read_news()
        if self._comparing is not None and (code := self._comparing.poll()) is not None:
            self._comparing = None
            how = exit_summary(self._python[0], code, self._comparison_folder / "log.txt")
            self.notice = (
                _("the comparison is ready") if code == 0 else _("the comparison failed: {how}").format(how=how)
            )

    def close(self) -> None:
        """Ends a look at the cases; a run goes on."""
        self.samples.cancel()
        self._end_waiting()

    @property
    def view(self) -> TrainView:
        """What the panel shows."""
        cases = self.cases.read()
        run, report, is_idle = self.run, self._report, not self.is_running
        is_unfinished = run is not None and (self.is_running or not run.is_over)
        rows = () if report is None else report.rows
        return TrainView(
            cases=tuple(CaseRow(name=c.name, role=c.role, is_there=c.is_there) for c in cases),
            is_running=self.is_running,
            step=0 if run is None else run.step,
            num_steps=0 if run is None else run.num_steps,
            losses=() if run is None else tuple(run.losses),
            dices=() if run is None else tuple(run.dices),
            comparison=tuple(
                ComparisonRow(what=f"{row.what} ({row.kind})", before=row.before_text, after=row.after_text)
                for row in rows
            ),
            verdict=None if report is None else report.verdict,
            verdict_picture=None if report is None or self._report_reader is None else self._report_reader.picture,
            warnings=tuple(
                one
                for one in (
                    missing_proof(cases),
                    *(problems(run.numbers) if run and is_unfinished else ()),
                    self._damaged_history(),
                )
                if one
            ),
            pictures=self.samples.pictures,
            report="" if self.samples.is_running else self.samples.report,
            can_validate=bool(cases) and not self.samples.is_running,
            can_start=is_idle and any(c.role == "training" for c in cases),
            can_stop=self.is_running,
            can_continue=is_idle and run is not None and not run.is_over,
            can_compare=is_idle and run is not None and run.model is not None and not self.is_comparing,
            can_promote=is_idle and report is not None,
            can_roll_back=bool(self._history()),
            notice=self.notice,
        )

    def log(self, num_chars: int = LOG_CHARS) -> str:
        """The end of the log of the last run."""
        if self.run is None:
            return ""
        try:
            return self.run.folder.with_suffix(".log").read_text(errors="replace", encoding="utf-8")[-num_chars:]
        except OSError:
            return ""

    @property
    def _comparison_folder(self) -> Path:
        assert self.run is not None
        return self.folder / "proofs" / self.run.folder.name

    @property
    def _report(self) -> Report | None:
        """Of the last run's comparison."""
        if self.run is None:
            return None
        if self._report_reader is None or self._report_reader.folder != self._comparison_folder:
            self._report_reader = ReportReader(self._comparison_folder)
        return self._report_reader.read()

    def _launch(self) -> None:
        assert self.run is not None
        config = self.run.folder.with_suffix(".toml")
        command = [*self._python, "-m", "NeuroSAM2Core", "train", str(config), "--resume"]
        self._training = self._start(
            command, self.run.folder.with_suffix(".log"), stop_file=self.run.folder / STOP_FILE
        )
        record = self.run.folder.with_suffix(".pid")
        disk.write_atomically(record, self._training.leader.to_text())
        self.notice = _("training")

    def _found(self) -> ProcessTree | None:
        """The run's program, where an earlier host has left it running."""
        assert self.run is not None
        try:
            leader = ProcessId.from_text(self.run.folder.with_suffix(".pid").read_text(encoding="utf-8"))
            return ProcessTree.find(leader, stop_file=self.run.folder / STOP_FILE)
        except (OSError, ValueError, WorkerError):
            return None

    def _end_waiting(self) -> None:
        """The person has not clicked for a while."""
        if self._waits_until and self._training is not None:
            self._training.resume()
        self._waits_until = 0.0

    def _exit_message(self, code: int) -> str:
        assert self.run is not None
        return _("the run failed: {how}").format(
            how=exit_summary(self._python[0], code, self.run.folder.with_suffix(".log"))
        )

    def _model_in_use(self) -> str:
        history = self._history()
        return history[-1] if history else BUNDLED if self.run is None else self.run.start_model

    @property
    def _history_file(self) -> Path:
        return self.folder / "promoted.json"

    def _read_history(self) -> list[str]:
        """Models that were promoted, oldest first.

        Raises:
            ValueError: The file is damaged.
        """
        path = self._history_file
        return list(decoded(tuple[str, ...], parse_json(disk.read_text(path)), "")) if path.exists() else []

    def _history(self) -> list[str]:
        """Models that were promoted, oldest first; none where the file is damaged, which `_damaged_history` says."""
        try:
            return self._read_history()
        except (OSError, ValueError):
            return []

    def _damaged_history(self) -> str:
        """A sentence; empty where the file is whole."""
        try:
            self._read_history()
        except (OSError, ValueError):
            return _("{file} cannot be read: Back does not know the models that were in use before.").format(
                file=self._history_file.name
            )
        return ""

    def _write_history(self, history: list[str]) -> None:
        disk.write_atomically(self._history_file, json.dumps(history))
