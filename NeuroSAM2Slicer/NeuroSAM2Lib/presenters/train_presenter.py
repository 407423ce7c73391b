"""The presenter of the training panel: the project, case export and import, progress, and status.

The run itself is the controller's; here it meets the segmentation presenter: its session is the current case, its clicks come first, its
engine gets the new model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Lib.engine.choice import starter
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.training.case_import import Unclear, find_pairs, message_of
from NeuroSAM2Lib.training.cases import CaseExport, Role, labels_of
from NeuroSAM2Lib.training.controller import TrainController
from NeuroSAM2Lib.training.run import estimate
from NeuroSAM2Lib.training.verdict_view import VerdictView, view_of
from NeuroSAM2Lib.view_state import ProgressRate, TrainView, capitalized

WELCOME = _("Add the cases that you have segmented, then press Start.")
READY = _("The cases are on the list. Press Start.")
FIRST_FOLDER = "NeuroSAM2 training"
"""Name of the project's folder while a person has chosen none."""
GETTING_READY = _("Reading model and cases; the first step takes longest.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainViewModel:
    """What the panel shows."""

    run: TrainView
    sentence: str
    progress_rate: str
    """Of the run under way; empty without one."""
    verdict: VerdictView | None
    """Of the last comparison; None without one."""


class TrainPresenter:
    """One panel's.

    Args:
        segment_presenter: Of the segmentation panel.
        folder: The project.
        slicer_python: The interpreter that has torch, where the engine's choice names no other.
    """

    def __init__(self, segment_presenter: SegmentPresenter, folder: Path, slicer_python: str) -> None:
        self.segment_presenter = segment_presenter
        choice = segment_presenter.choice
        self.controller = TrainController(
            folder,
            starter(choice.environment(slicer_python)),
            choice.command(slicer_python),
            use_model=segment_presenter.use_model,
        )
        self._export: CaseExport | None = None
        self._progress_rate: tuple[ProgressRate, int] | None = None

    @property
    def is_adding(self) -> bool:
        """A case is on its way to the list."""
        return self._export is not None

    def act(self, action: Callable[[TrainController], object]) -> None:
        """Does something; a mistake becomes the notice."""
        try:
            action(self.controller)
        except NeuroSAM2Error as error:
            self.controller.notice = str(error)

    def add_current(self, role: Role) -> None:
        """Begins to put what is segmented now on the list."""
        self.act(lambda controller: self._begin_export(controller, role))

    def add_folder(self, folder: Path, role: Role) -> None:
        """Puts all annotated volumes of a folder on the list, where they are.

        Args:
            folder: Holds them.
            role: Of those that no dataset.json there gives one.
        """

        def add(controller: TrainController) -> None:
            unclear: list[Unclear] = []
            pairs = find_pairs(folder, on_unclear=unclear.append)
            for pair in pairs:
                controller.cases.add(pair.image, pair.label, pair.role or role)
            kept = sum(pair.role is not None for pair in pairs)
            of_their_own = _("; {kept} as their dataset.json says").format(kept=kept) if kept else ""
            left_out = _("; left out: {labels}").format(labels=message_of(unclear)) if unclear else ""
            controller.notice = _("{count} cases are on the list{of_their_own}{left_out}").format(
                count=len(pairs), of_their_own=of_their_own, left_out=left_out
            )

        self.act(add)

    def remove(self, row: int) -> None:
        """Takes a case off the list.

        Args:
            row: Its place in the list; out of range for none.
        """

        def remove(controller: TrainController) -> None:
            cases = controller.cases.read()
            if not 0 <= row < len(cases):
                raise DataError(_("no case is chosen"), hint=_("click on one in the list"))
            controller.cases.remove(cases[row])
            controller.notice = _("{name} is off the list; its files stay").format(name=cases[row].name)

        self.act(remove)

    def poll(self) -> bool:
        """Takes in what has happened and goes on adding a case; true while there is more to write. Never waits."""
        session = self.segment_presenter.session
        if session is not None and session.engine_sync.is_waiting:
            self.controller.yield_cpu()
        self.act(self._continue_adding)
        self.act(lambda controller: controller.poll())
        return self.is_adding

    def view(self) -> TrainViewModel:
        """What the panel shows.

        Raises:
            DataError: The project's list cannot be read.
        """
        run = self.controller.view
        return TrainViewModel(
            run=run,
            sentence=capitalized(run.notice) or _welcome(run),
            progress_rate=self._rate_message(run),
            verdict=None if run.verdict is None else view_of(run.verdict),
        )

    def use_new_model(self) -> None:
        """Puts the run's model to work; asks first where held-out cases do not show that it is better."""
        self.act(self._use_new_model)

    def estimate(self, steps: int) -> str:
        """How long so many steps, or those of the run under way, take in all, in a sentence."""
        run = self.controller.run
        asked = run.num_steps if run is not None and self.controller.is_running else 0
        return estimate(self.controller.folder, asked or steps)

    def close(self) -> None:
        """Ends what is on its way to the list and a look at the cases; a run goes on."""
        self.controller.close()
        self._stop_adding()

    def _stop_adding(self) -> None:
        if self._export is not None:
            self._export.cancel()
            self._export = None

    def _use_new_model(self, controller: TrainController) -> None:
        verdict = controller.view.verdict
        question = "" if verdict is None else view_of(verdict).question
        if not question or self.segment_presenter.host.confirm(question):
            controller.promote()

    def _begin_export(self, controller: TrainController, role: Role) -> None:
        session = self.segment_presenter.session
        if session is None or session.ended:
            raise DataError(_("nothing is segmented now"), hint=_("outline something in NeuroSAM2 Segment first"))
        document = session.document
        self._stop_adding()
        self._export = CaseExport(
            controller.cases, document.volume_node.GetName(), document.volume, labels_of(document), role
        )
        controller.notice = _("adding {name}").format(name=self._export.name)

    def _continue_adding(self, controller: TrainController) -> None:
        """Writes some more of a case; an error ends it."""
        if self._export is None:
            return
        export, self._export = self._export, None
        if export.advance():
            said = _("{name} is on the list, in place of how it was") if export.is_again else _("{name} is on the list")
            controller.notice = said.format(name=export.name)
        else:
            self._export = export

    def _rate_message(self, run: TrainView) -> str:
        if not run.is_running:
            self._progress_rate = None
            return ""
        if run.step == 0:
            return GETTING_READY
        if self._progress_rate is None:
            self._progress_rate = ProgressRate(time.monotonic()), run.step
        progress_rate, first = self._progress_rate
        speed = progress_rate.speed((run.step - first, run.num_steps - first), time.monotonic())
        return _("Step {step} of {num_steps}{speed}").format(step=run.step, num_steps=run.num_steps, speed=speed)


def _welcome(run: TrainView) -> str:
    """What there is to go on with, while nothing has happened yet."""
    if run.can_continue:
        return _("The last run has stopped at step {step} of {num_steps}. Continue goes on exactly there.").format(
            step=run.step, num_steps=run.num_steps
        )
    if run.can_compare:
        return _("The last run is over. Compare its model on held-out cases, or start another run.")
    return READY if run.can_start else WELCOME
