"""The training panel of any toolkit: the chosen project, cases on their way to its list, the pace of a run, and one sentence.

The run itself is the controller's; here it meets the workplace: its session is the current case, its clicks come first, its engine gets
the new model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2MRML.engine.pace import Pace
from NeuroSAM2MRML.engine.programs import starter
from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.training.case_export import CaseExport
from NeuroSAM2MRML.training.case_import import Unclear, find_pairs, said_of
from NeuroSAM2MRML.training.cases import labels_of
from NeuroSAM2MRML.training.controller import TrainController
from NeuroSAM2MRML.training.estimate import estimate
from NeuroSAM2MRML.training.roles import Role
from NeuroSAM2MRML.view_state import TrainView, as_sentence
from NeuroSAM2MRML.workplace.workplace import Workplace

WELCOME = _("Add the cases that you have outlined, then press Start.")
READY = _("The cases are on the list. Press Start.")
GETTING_READY = _("Reading model and cases; the first step takes longest.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainDeskView:
    """What the panel shows."""

    run: TrainView
    sentence: str
    pace: str
    """Of the run under way; empty without one."""


class TrainDesk:
    """One panel's.

    Args:
        workplace: Of the segmentation panel.
        folder: The project.
        own_python: The interpreter that has torch, where the engine's choice names no other.
    """

    def __init__(self, workplace: Workplace, folder: Path, own_python: str) -> None:
        self.workplace = workplace
        choice = workplace.choice
        self.controller = TrainController(
            folder,
            starter(choice.environment(own_python)),
            choice.command(own_python),
            use_model=workplace.use_model,
        )
        self._export: CaseExport | None = None
        self._pace: tuple[Pace, int] | None = None

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
        """Begins to put what is outlined now on the list."""
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
            left_out = _("; left out: {labels}").format(labels=said_of(unclear)) if unclear else ""
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
        session = self.workplace.session
        if session is not None and session.talk.is_waiting:
            self.controller.give_way()
        self.act(self._go_on_adding)
        self.act(lambda controller: controller.poll())
        return self.is_adding

    def view(self) -> TrainDeskView:
        """What the panel shows.

        Raises:
            DataError: The project's list cannot be read.
        """
        run = self.controller.view
        return TrainDeskView(
            run=run, sentence=as_sentence(run.notice) or _welcome(run), pace=self._sentence_on_pace(run)
        )

    def estimate(self, steps: int) -> str:
        """How long so many steps will take, in a sentence."""
        return estimate(self.controller.folder, steps)

    def close(self) -> None:
        """Ends what is on its way to the list and a look at the cases; a run goes on."""
        self.controller.close()
        self._stop_adding()

    def _stop_adding(self) -> None:
        if self._export is not None:
            self._export.cancel()
            self._export = None

    def _begin_export(self, controller: TrainController, role: Role) -> None:
        session = self.workplace.session
        if session is None or session.ended:
            raise DataError(_("nothing is outlined now"), hint=_("outline something in NeuroSAM2 Segment first"))
        desk = session.desk
        self._stop_adding()
        self._export = CaseExport(controller.cases, desk.volume_node.GetName(), desk.volume, labels_of(desk), role)
        controller.notice = _("adding {name}").format(name=self._export.name)

    def _go_on_adding(self, controller: TrainController) -> None:
        """Writes some more of a case; an error ends it."""
        if self._export is None:
            return
        export, self._export = self._export, None
        if export.advance():
            said = _("{name} is on the list, in place of how it was") if export.is_again else _("{name} is on the list")
            controller.notice = said.format(name=export.name)
        else:
            self._export = export

    def _sentence_on_pace(self, run: TrainView) -> str:
        if not run.is_running:
            self._pace = None
            return ""
        if run.step == 0:
            return GETTING_READY
        if self._pace is None:
            self._pace = Pace(time.monotonic()), run.step
        pace, first = self._pace
        speed = pace.speed((run.step - first, run.num_steps - first), time.monotonic())
        return _("Step {step} of {num_steps}{speed}").format(step=run.step, num_steps=run.num_steps, speed=speed)


def _welcome(run: TrainView) -> str:
    """What there is to go on with, while nothing has happened yet."""
    if run.can_continue:
        return _("The last run has stopped at step {step} of {num_steps}. Continue goes on exactly there.").format(
            step=run.step, num_steps=run.num_steps
        )
    if run.can_prove:
        return _("The last run is over. Compare its model on held-out cases, or start another run.")
    return READY if run.can_start else WELCOME
