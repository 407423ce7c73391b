"""The training panel: buttons call the presenter, its view model is copied into the widgets. Training goes on without it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import ctk
import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.train_presenter import TrainPresenter, TrainViewModel
from NeuroSAM2Lib.training.cases import ROLE_TITLES, ROLES, Role
from NeuroSAM2Lib.training.controller import TrainController
from NeuroSAM2Lib.training.loss_plot import LossPlot
from NeuroSAM2Lib.training.run import ADAPTATIONS, EXPERT, PARTS, TrainChoice, matching, parse_settings
from NeuroSAM2Lib.view_state import TrainView, capitalized

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Qt.application import Installer, StatusBar
from NeuroSAM2Qt.connections import connect, guarded_poll
from NeuroSAM2Qt.help_text import train_help
from NeuroSAM2Qt.train_project import TrainProject
from NeuroSAM2Qt.widgets.pictures import SampleViewer, VerdictBox
from NeuroSAM2Qt.widgets.tables import fill_table, prepare_table

POLL_MS = 250


class TrainPanel:
    """One panel.

    Args:
        ui: Its widgets.
        project: What is open, and where its cases come from.
    """

    def __init__(self, ui: SimpleNamespace, project: TrainProject) -> None:
        self.ui, self.project = ui, project
        self.installer, self.plot = Installer(), LossPlot(slicer.mrmlScene)
        self.viewer, self.verdict = SampleViewer(ui), VerdictBox(ui)
        self.status = StatusBar()
        self._shown: TrainViewModel | None = None
        self._parts = dict(
            zip(PARTS, (ui.trunkCheckBox, ui.neckCheckBox, ui.decoderCheckBox, ui.memoryCheckBox), strict=True)
        )
        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MS)
        self._guarded_wake = guarded_poll(self.wake)
        self.timer.connect("timeout()", self._guarded_wake)
        prepare_table(ui.casesTable, (_("Case"), _("For"), _("Files")))
        prepare_table(ui.comparisonTable, (_("On held-out cases"), _("Before"), _("After")))
        ui.helpLabel.text = train_help()
        ui.logEdit.setVisible(False)
        ui.folderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.adaptSelector.addItems([*(one.title for one in ADAPTATIONS), EXPERT])
        ui.modelSelector.addItems([row.name for row in project.segment_presenter.models.view.rows if row.is_installed])
        self._connect()
        self._on_adaptation(0)
        ui.folderEdit.currentPath = project.folder
        self.open_folder()

    @property
    def presenter(self) -> TrainPresenter | None:
        """Of the open project."""
        return self.project.presenter

    def enter(self) -> None:
        """The module is shown."""
        self.open_folder()
        self.timer.start()
        self.wake()

    def exit(self) -> None:
        """Another module is shown; the timer stays, so that a run yields the CPU to clicks."""

    def close(self) -> None:
        """Slicer is about to unload the module; a run goes on."""
        self.timer.stop()
        self.project.close()
        self.status.show("")

    def open_folder(self) -> None:
        """The project in the chosen folder, with a run that may be under way."""
        if self.project.open(self.ui.folderEdit.currentPath.strip()):
            self._shown = None
            self.wake()

    def wake(self) -> None:
        """Takes in and shows what there is; soon again while there is more to write."""
        if self.presenter is None:
            return
        is_adding = self.presenter.poll()
        self.viewer.fit()
        self.verdict.fit()
        try:
            self.show(self.presenter.view())
        except NeuroSAM2Error as error:
            self.ui.stateLabel.text = capitalized(str(error))
            return
        if is_adding:
            qt.QTimer.singleShot(0, self._guarded_wake)

    def show(self, view: TrainViewModel) -> None:
        """Copies the view into the widgets."""
        if view == self._shown:
            return
        has_run_changed = self._shown is None or view.run != self._shown.run
        self._shown = view
        self.ui.stateLabel.text = view.sentence
        self.ui.paceLabel.text = view.progress_rate
        self.status.show(
            _("NeuroSAM2 training: {progress_rate}").format(progress_rate=view.progress_rate)
            if view.run.is_running
            else ""
        )
        self.ui.paceLabel.setVisible(view.run.is_running)
        self.verdict.show(view)
        if has_run_changed:
            self._show_run(view.run)

    def _show_run(self, view: TrainView) -> None:
        ui = self.ui
        files = {True: _("there"), False: _("missing")}
        fill_table(ui.casesTable, [(row.name, ROLE_TITLES[row.role], files[row.is_there]) for row in view.cases])
        fill_table(ui.comparisonTable, [(row.what, row.before, row.after) for row in view.comparison])
        for button, is_enabled in (
            (ui.lookButton, view.can_validate),
            (ui.startButton, view.can_start),
            (ui.stopButton, view.can_stop),
            (ui.continueButton, view.can_continue),
            (ui.compareButton, view.can_compare),
            (ui.useButton, view.can_promote),
            (ui.backButton, view.can_roll_back),
            (ui.plotButton, bool(view.losses)),
            (ui.removeButton, bool(view.cases)),
        ):
            button.setEnabled(is_enabled)
        ui.progressBar.setVisible(view.is_running)
        ui.progressBar.setMaximum(view.num_steps if view.step else 0)  # busy until something is reported
        ui.progressBar.setValue(view.step)
        if view.losses:
            self.plot.show(view.losses, view.dices)
        self.viewer.show(view.pictures, view.report)
        self._show_estimate()
        self._show_log()

    def _connect(self) -> None:
        ui = self.ui
        connect(ui.folderEdit, "currentPathChanged(QString)", lambda path: self.open_folder())
        connect(ui.adaptSelector, "activated(int)", self._on_adaptation)
        connect(ui.stepsSpinBox, "valueChanged(int)", lambda steps: self._show_estimate())
        connect(ui.logCheckBox, "toggled(bool)", lambda is_on: self._show_log())
        connect(ui.plotButton, "clicked()", self._show_plot)
        for box in self._parts.values():
            connect(box, "clicked()", self._on_expert)
        connect(ui.rankSpinBox, "valueChanged(int)", lambda rank: self._on_expert())
        for button, action in (
            (ui.addButton, self._add_current),
            (ui.addFolderButton, self._add_folder),
            (ui.removeButton, self._remove),
            (ui.lookButton, self._validate_dataset),
            (ui.startButton, self._start),
            (ui.stopButton, lambda controller: controller.stop()),
            (ui.continueButton, lambda controller: controller.resume()),
            (ui.compareButton, lambda controller: controller.compare()),
            (ui.useButton, self._use_new_model),
            (ui.backButton, lambda controller: controller.roll_back()),
        ):
            connect(button, "clicked()", self._do(action))

    def _do(self, action: Callable[[TrainController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it."""

        def pressed() -> None:
            if self.presenter is not None:
                self.presenter.act(action)
                self._shown = None
                self.wake()

        return pressed

    def _add_current(self, _controller: TrainController) -> None:
        if self.presenter is not None and self._has_packages():
            self.presenter.add_current(self._role())

    def _add_folder(self, _controller: TrainController) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with annotated volumes"))
        if self.presenter is not None and folder:
            self.presenter.add_folder(Path(folder), self._role())

    def _remove(self, _controller: TrainController) -> None:
        if self.presenter is not None:
            self.presenter.remove(self.ui.casesTable.currentRow())

    def _use_new_model(self, _controller: TrainController) -> None:
        if self.presenter is not None:
            self.presenter.use_new_model()

    def _start(self, controller: TrainController) -> None:
        if self._has_packages():
            controller.begin(self._choice())

    def _validate_dataset(self, controller: TrainController) -> None:
        if self._has_packages():
            controller.validate_dataset(self._choice())

    def _choice(self) -> TrainChoice:
        ui = self.ui
        return TrainChoice(
            model=ui.modelSelector.currentText,
            preset=ui.presetSelector.currentText,
            parts=tuple(part for part, box in self._parts.items() if box.isChecked()),
            adapter_rank=ui.rankSpinBox.value,
            steps=ui.stepsSpinBox.value,
            settings=parse_settings(ui.settingsEdit.toPlainText()),
        )

    def _has_packages(self) -> bool:
        segment_presenter = self.project.segment_presenter
        return self.installer.has_training_packages(segment_presenter.choice.place, segment_presenter.host)

    def _role(self) -> Role:
        return ROLES[self.ui.roleSelector.currentIndex]

    def _on_adaptation(self, number: int) -> None:
        if number < len(ADAPTATIONS):
            for part, box in self._parts.items():
                box.setChecked(part in ADAPTATIONS[number].parts)
            self.ui.rankSpinBox.setValue(ADAPTATIONS[number].adapter_rank)

    def _on_expert(self) -> None:
        parts = [part for part, box in self._parts.items() if box.isChecked()]
        self.ui.adaptSelector.setCurrentIndex(matching(parts, self.ui.rankSpinBox.value))

    def _show_plot(self) -> None:
        if self._shown is not None:
            run = self._shown.run
            slicer.modules.plots.logic().ShowChartInLayout(self.plot.show(run.losses, run.dices))

    def _show_estimate(self) -> None:
        if self.presenter is not None:
            self.ui.estimateLabel.text = self.presenter.estimate(self.ui.stepsSpinBox.value)

    def _show_log(self) -> None:
        is_on = self.ui.logCheckBox.isChecked()
        self.ui.logEdit.setVisible(is_on)
        if is_on and self.presenter is not None:
            self.ui.logEdit.setPlainText(self.presenter.controller.log())
