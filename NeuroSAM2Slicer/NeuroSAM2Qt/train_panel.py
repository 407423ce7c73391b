"""The training panel: buttons call the controller, its view is copied into the widgets. Training goes on without it."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import ctk
import qt
import slicer
from NeuroSAM2MRML.engine.local_process import LocalProcess
from NeuroSAM2MRML.engine.pace import Pace
from NeuroSAM2MRML.training.adaptation import ADAPTATIONS, matching, parse_settings
from NeuroSAM2MRML.training.case_export import CaseExport
from NeuroSAM2MRML.training.case_import import find_pairs
from NeuroSAM2MRML.training.cases import ROLES, Role, labels_of
from NeuroSAM2MRML.training.controller import TrainController
from NeuroSAM2MRML.training.estimate import estimate
from NeuroSAM2MRML.training.loss_plot import LossPlot
from NeuroSAM2MRML.training.run import PARTS, TrainChoice
from NeuroSAM2MRML.view_state import TrainView
from NeuroSAM2MRML.workplace.workplace import Workplace

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Qt.help_text import TRAIN_HELP
from NeuroSAM2Qt.installer import Installer
from NeuroSAM2Qt.own_python import own_python
from NeuroSAM2Qt.sample_viewer import SampleViewer
from NeuroSAM2Qt.tables import fill_table, prepare_table

FOLDER_KEY = "NeuroSAM2/TrainingFolder"
POLL_MS = 250
LOG_CHARS = 20_000
ROLE_TITLES: dict[str, str] = dict(zip(ROLES, ("training", "checked while training", "held out"), strict=True))
WELCOME = "Add the cases that you have outlined, then press Start."


class TrainPanel:
    """One panel.

    Args:
        ui: Its widgets.
        workplace: Of the segmentation panel: its session is the current case, its engine uses the models.
    """

    def __init__(self, ui: SimpleNamespace, workplace: Workplace) -> None:
        self.ui, self.workplace = ui, workplace
        self.installer, self.plot = Installer(), LossPlot(slicer.mrmlScene)
        self.viewer = SampleViewer(ui)
        self.controller: TrainController | None = None
        self.export: CaseExport | None = None
        """A case on its way to the list."""
        self._shown: TrainView | None = None
        self._pace: tuple[Pace, int] | None = None
        self._parts = dict(
            zip(PARTS, (ui.trunkCheckBox, ui.neckCheckBox, ui.decoderCheckBox, ui.memoryCheckBox), strict=True)
        )
        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MS)
        self.timer.connect("timeout()", self.wake)
        prepare_table(ui.casesTable, ("Case", "For", "Files"))
        prepare_table(ui.proofTable, ("On held-out cases", "Before", "After"))
        ui.helpLabel.text = TRAIN_HELP
        ui.logEdit.setVisible(False)
        ui.folderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.adaptSelector.addItems([one.title for one in ADAPTATIONS] + ["As chosen below, for experts"])
        ui.modelSelector.addItems([row.name for row in workplace.models.view.rows if row.is_installed])
        self._connect()
        self._on_adaptation(0)
        said = slicer.app.userSettings().value(FOLDER_KEY)
        ui.folderEdit.currentPath = str(said or Path.home() / "NeuroSAM2 training")
        self.open_folder()

    def enter(self) -> None:
        """The module is shown."""
        self.timer.start()
        self.wake()

    def exit(self) -> None:
        """Another module is shown; the timer stays, so that a run gives way to clicks."""

    def close(self) -> None:
        """Slicer is about to unload the module; a run goes on."""
        self.timer.stop()
        self._stop_adding()
        if self.controller is not None:
            self.controller.samples.cancel()

    def open_folder(self) -> None:
        """The project in the chosen folder, with a run that may be under way."""
        folder = self.ui.folderEdit.currentPath.strip()
        if not folder or (self.controller is not None and self.controller.folder == Path(folder)):
            return
        slicer.app.userSettings().setValue(FOLDER_KEY, folder)
        command = self.workplace.choice.command(own_python())
        self.controller = TrainController(Path(folder), LocalProcess.start, command, use_model=self.workplace.use_model)
        self._shown = None
        self.wake()

    def wake(self) -> None:
        """Takes in and shows what there is."""
        if self.controller is None:
            return
        session = self.workplace.session
        if session is not None and session.talk.is_waiting:
            self.controller.give_way()
        try:
            self._go_on_adding(self.controller)
            self.controller.poll()
            view = self.controller.view
        except NeuroSAM2Error as error:
            self._say(str(error))
            return
        if view != self._shown:
            self.show(view)
        self._show_pace(view)

    def show(self, view: TrainView) -> None:
        """Copies the view into the widgets."""
        if self._shown is None or view.notice != self._shown.notice:
            self._say(view.notice or WELCOME)
        self._shown = view
        ui = self.ui
        files = {True: "there", False: "missing"}
        fill_table(ui.casesTable, [(row.name, ROLE_TITLES[row.role], files[row.is_there]) for row in view.cases])
        fill_table(ui.proofTable, [(row.what, f"{row.before:.3g}", f"{row.after:.3g}") for row in view.proof])
        for button, is_enabled in (
            (ui.lookButton, view.can_look),
            (ui.startButton, view.can_start),
            (ui.stopButton, view.can_stop),
            (ui.continueButton, view.can_continue),
            (ui.compareButton, view.can_prove),
            (ui.useButton, view.can_promote),
            (ui.backButton, view.can_roll_back),
            (ui.plotButton, bool(view.losses)),
            (ui.removeButton, bool(view.cases)),
        ):
            button.setEnabled(is_enabled)
        ui.progressBar.setVisible(view.is_running)
        ui.progressBar.setMaximum(view.num_steps)
        ui.progressBar.setValue(view.step)
        if view.losses:
            self.plot.show(view.losses, view.dices)
        self.viewer.show(view.pictures, view.report)
        self._show_estimate()
        self._show_log()

    def _connect(self) -> None:
        ui = self.ui
        ui.folderEdit.connect("currentPathChanged(QString)", lambda path: self.open_folder())
        ui.adaptSelector.connect("activated(int)", self._on_adaptation)
        ui.stepsSpinBox.connect("valueChanged(int)", lambda steps: self._show_estimate())
        ui.logCheckBox.connect("toggled(bool)", lambda is_on: self._show_log())
        ui.plotButton.connect("clicked()", self._show_plot)
        for box in self._parts.values():
            box.connect("clicked()", self._on_expert)
        ui.rankSpinBox.connect("valueChanged(int)", lambda rank: self._on_expert())
        for button, action in (
            (ui.addButton, self._add_current),
            (ui.addFolderButton, self._add_folder),
            (ui.removeButton, self._remove),
            (ui.lookButton, self._look),
            (ui.startButton, self._start),
            (ui.stopButton, lambda controller: controller.stop()),
            (ui.continueButton, lambda controller: controller.go_on()),
            (ui.compareButton, lambda controller: controller.prove()),
            (ui.useButton, lambda controller: controller.promote()),
            (ui.backButton, lambda controller: controller.roll_back()),
        ):
            button.connect("clicked()", self._do(action))

    def _do(self, action: Callable[[TrainController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it; a mistake is said."""

        def pressed() -> None:
            if self.controller is None:
                return
            try:
                action(self.controller)
            except NeuroSAM2Error as error:
                self._say(str(error))
                return
            self._shown = None
            self.wake()

        return pressed

    def _add_current(self, controller: TrainController) -> None:
        if not self._has_packages():
            return
        session = self.workplace.session
        if session is None or session.ended:
            raise DataError("nothing is outlined now", hint="outline something in NeuroSAM2 Segment first")
        desk = session.desk
        self._stop_adding()
        self.export = CaseExport(controller.cases, desk.volume.name, desk.volume, labels_of(desk), self._role())
        controller.notice = f"adding {self.export.name}"

    def _go_on_adding(self, controller: TrainController) -> None:
        """Writes some more of a case; soon again while there is more to write."""
        if self.export is None:
            return
        export, self.export = self.export, None  # an error ends it
        if export.advance():
            controller.notice = f"{export.name} is on the list"
        else:
            self.export = export
            qt.QTimer.singleShot(0, self.wake)

    def _stop_adding(self) -> None:
        if self.export is not None:
            self.export.cancel()
            self.export = None

    def _add_folder(self, controller: TrainController) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), "Folder with annotated volumes")
        if folder:
            pairs = find_pairs(Path(folder))
            for pair in pairs:
                controller.cases.add_files(pair.name, pair.image, pair.label, self._role())
            controller.notice = f"{len(pairs)} cases are on the list"

    def _remove(self, controller: TrainController) -> None:
        cases, row = controller.cases.read(), self.ui.casesTable.currentRow()
        if not 0 <= row < len(cases):
            raise DataError("no case is chosen", hint="click on one in the list")
        controller.cases.remove(cases[row].name)
        controller.notice = f"{cases[row].name} is off the list; its files stay"

    def _start(self, controller: TrainController) -> None:
        if self._has_packages():
            controller.begin(self._choice())

    def _look(self, controller: TrainController) -> None:
        if self._has_packages():
            controller.look(self._choice())

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
        return self.installer.has_training_packages(self.workplace.choice.place, self.workplace.host)

    def _role(self) -> Role:
        return ROLES[self.ui.roleSelector.currentIndex]

    def _on_adaptation(self, number: int) -> None:
        if number < len(ADAPTATIONS):
            for part, box in self._parts.items():
                box.setChecked(part in ADAPTATIONS[number].parts)
            self.ui.rankSpinBox.setValue(ADAPTATIONS[number].adapter_rank)

    def _on_expert(self) -> None:
        parts = [part for part, box in self._parts.items() if box.isChecked()]
        number = matching(parts, self.ui.rankSpinBox.value)
        self.ui.adaptSelector.setCurrentIndex(len(ADAPTATIONS) if number is None else number)

    def _show_plot(self) -> None:
        if self._shown is not None:
            slicer.modules.plots.logic().ShowChartInLayout(self.plot.show(self._shown.losses, self._shown.dices))

    def _show_estimate(self) -> None:
        if self.controller is not None:
            self.ui.estimateLabel.text = estimate(self.controller.folder, self.ui.stepsSpinBox.value)

    def _show_pace(self, view: TrainView) -> None:
        self.ui.paceLabel.setVisible(view.is_running)
        self.ui.estimateLabel.setVisible(not view.is_running)
        if not view.is_running:
            self._pace = None
            return
        if self._pace is None:
            self._pace = Pace(time.monotonic(), "steps"), view.step
        pace, first = self._pace
        said = pace.sentence((view.step - first, view.num_steps - first), time.monotonic())
        self.ui.paceLabel.text = f"Step {view.step}: {said}"

    def _show_log(self) -> None:
        is_on = self.ui.logCheckBox.isChecked()
        self.ui.logEdit.setVisible(is_on)
        if is_on and self.controller is not None:
            self.ui.logEdit.setPlainText(self.controller.log(LOG_CHARS))

    def _say(self, sentence: str) -> None:
        self.ui.stateLabel.text = sentence[:1].upper() + sentence[1:] + ("" if sentence.endswith(".") else ".")
