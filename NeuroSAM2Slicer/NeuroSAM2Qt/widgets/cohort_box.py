"""More cases: the list of a cohort by doubt, its cases one after the other, and what is accepted."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.cohort_presenter import CohortPresenter, CohortView
from NeuroSAM2Lib.training.cases import ROLES, CaseList
from NeuroSAM2Lib.view_state import capitalized

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Qt.connections import connect
from NeuroSAM2Qt.widgets.tables import fill_table, prepare_table


def ask_folder(title: str) -> str:
    """A folder that the person chooses; empty for none."""
    return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title) or "")


class CohortBox:
    """The widgets.

    Args:
        ui: Has them.
        cohort: What they show and act on.
        training_folder: Of the project whose list accepted cases join.
        do: Makes a button's function of an action.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        cohort: CohortPresenter,
        training_folder: Callable[[], Path],
        do: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self.ui, self.cohort, self._training_folder = ui, cohort, training_folder
        self.ask_folder = ask_folder
        self._shown: CohortView | None = None
        prepare_table(ui.cohortTable, (_("Case"), _("Doubt"), _("State")))
        connect(ui.runCohortButton, "clicked()", do(self._begin))
        connect(ui.stopCohortButton, "clicked()", do(cohort.stop))
        connect(ui.openCohortButton, "clicked()", do(self._open_folder))
        connect(ui.openCaseButton, "clicked()", do(lambda: self._open(self._chosen())))
        connect(ui.nextCaseButton, "clicked()", do(self._open_next))
        connect(ui.acceptCaseButton, "clicked()", do(self._accept))
        connect(ui.trainAcceptedButton, "clicked()", do(self._join_training))

    def poll(self) -> None:
        """Takes in what a run has done, and shows what there is."""
        self.cohort.poll()
        view, ui = self.cohort.view, self.ui
        if view == self._shown:
            return
        self._shown = view
        fill_table(ui.cohortTable, [(row.name, row.doubt, row.state) for row in view.rows])
        for number, row in enumerate(view.rows):
            ui.cohortTable.item(number, 0).setToolTip(row.reason)
        ui.cohortLabel.text = capitalized(view.sentence)
        ui.cohortLabel.setVisible(bool(view.sentence))
        for button in (ui.openCaseButton, ui.nextCaseButton, ui.trainAcceptedButton):
            button.setEnabled(bool(view.rows))
        ui.acceptCaseButton.setEnabled(view.can_accept)
        ui.runCohortButton.setEnabled(not view.is_running)
        ui.stopCohortButton.setEnabled(view.is_running)
        ui.cohortProgressBar.setVisible(view.is_running)
        ui.cohortProgressBar.setValue(view.percent)

    def _chosen(self) -> str:
        row, rows = self.ui.cohortTable.currentRow(), self.cohort.view.rows
        return rows[row].name if 0 <= row < len(rows) else ""

    def _begin(self) -> None:
        if folder := self.ask_folder(_("Folder of the scans to outline")):
            self.cohort.begin(Path(folder))

    def _open_folder(self) -> None:
        if folder := self.ask_folder(_("Folder of a cohort")):
            self.cohort.open_folder(Path(folder))

    def _open_next(self) -> None:
        self.cohort.reload()
        self._open(self.cohort.next_case)

    def _open(self, name: str) -> None:
        try:
            self.cohort.show_case(self.cohort.read_case(self.cohort.case(name)))
        except NeuroSAM2Error as error:
            self.cohort.fail(error)

    def _accept(self) -> None:
        if self.cohort.accept() and (name := self.cohort.next_case):
            self._open(name)

    def _join_training(self) -> None:
        self.cohort.join_training(CaseList(self._training_folder()), ROLES[0])
