"""The Engine section: reads the person's choice from its widgets and shows the one in force; the Test button."""

from collections.abc import Callable
from types import SimpleNamespace

from NeuroSAM2MRML.engine.check import EngineCheck
from NeuroSAM2MRML.engine.choice import DEVICES, EngineChoice, Place
from NeuroSAM2MRML.engine.link import Engine
from NeuroSAM2MRML.view_state import ModelRow
from NeuroSAM2MRML.workplace.workplace import Workplace

from NeuroSAM2Core.errors import NeuroSAM2Error

PLACES = tuple(Place)
OWN_FILE = "A file of your own"
TESTING = "Testing. Starting an engine takes a few seconds."


class EnginePanel:
    """The section.

    Args:
        ui: The panel's widgets.
        workplace: Has the engine in force.
        use: Puts another one to work.
        start: Starts an engine, for the test.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        workplace: Workplace,
        use: Callable[[EngineChoice], None],
        start: Callable[[EngineChoice], Engine],
    ) -> None:
        self.ui, self.workplace, self._use, self._start = ui, workplace, use, start
        self.check: EngineCheck | None = None
        self._models = [row.name for row in workplace.models.view.rows]
        self._said = ""
        ui.modelSelector.addItems([*(_title(row) for row in workplace.models.view.rows), OWN_FILE])
        self.show(workplace.choice)
        ui.placeSelector.connect("currentIndexChanged(int)", self._on_changed)
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_changed)
        ui.useEngineButton.connect("clicked()", self._on_use)
        ui.testButton.connect("clicked()", self._on_test)
        ui.cancelDownloadButton.connect("clicked()", lambda: self.workplace.models.cancel_download())
        self._on_changed()

    def show(self, choice: EngineChoice) -> None:
        """The widgets say this."""
        ui = self.ui
        is_named = choice.model in self._models
        ui.modelSelector.setCurrentIndex(self._models.index(choice.model) if is_named else len(self._models))
        ui.modelFileEdit.currentPath = "" if is_named else choice.model
        ui.deviceSelector.setCurrentIndex(DEVICES.index(choice.device))
        ui.placeSelector.setCurrentIndex(PLACES.index(choice.place))
        ui.interpreterEdit.currentPath = choice.interpreter
        ui.hostEdit.text = choice.host
        ui.portSpinBox.value = choice.port
        ui.tokenEdit.text = choice.token

    def chosen(self) -> EngineChoice:
        """What the widgets say."""
        ui = self.ui
        number = ui.modelSelector.currentIndex
        return EngineChoice(
            place=PLACES[ui.placeSelector.currentIndex],
            interpreter=ui.interpreterEdit.currentPath,
            host=ui.hostEdit.text.strip(),
            port=ui.portSpinBox.value,
            token=ui.tokenEdit.text.strip(),
            model=self._models[number] if number < len(self._models) else ui.modelFileEdit.currentPath,
            device=DEVICES[ui.deviceSelector.currentIndex],
        )

    def poll(self) -> bool:
        """Goes on with a test and a download; true while one runs."""
        models = self.workplace.models.view
        if models.download is not None:
            self._show_result(f"{models.notice}: {models.download[0] / 1e6:.0f} MB so far")
        elif models.notice != self._said:
            self._said = models.notice
            self._show_result(models.notice)
            for number, row in enumerate(models.rows):
                self.ui.modelSelector.setItemText(number, _title(row))
        self.ui.cancelDownloadButton.setVisible(models.download is not None)
        if self.check is None:
            return models.download is not None
        verdict = self.check.poll()
        if verdict is not None:
            self.check = None
            self._show_result(verdict.sentence)
        return self.check is not None

    def close(self) -> None:
        """Ends a test."""
        if self.check is not None:
            self.check.cancel()
            self.check = None

    def _show_result(self, sentence: str) -> None:
        self.ui.testLabel.text = sentence[:1].upper() + sentence[1:]
        self.ui.testButton.text = "Test"

    def _on_changed(self) -> None:
        """Only what belongs to the choice can be filled in."""
        ui = self.ui
        place = PLACES[ui.placeSelector.currentIndex]
        for widget in (ui.interpreterLabel, ui.interpreterEdit):
            widget.setVisible(place is Place.INTERPRETER)
        for widget in (ui.serverLabel, ui.hostEdit, ui.portSpinBox, ui.tokenLabel, ui.tokenEdit):
            widget.setVisible(place is Place.REMOTE)
        for widget in (ui.modelFileLabel, ui.modelFileEdit):
            widget.setVisible(ui.modelSelector.currentIndex == len(self._models))

    def _on_use(self) -> None:
        choice = self.chosen()
        try:
            self._use(choice)
        except NeuroSAM2Error as error:
            self._show_result(str(error))
            return
        self._show_result(self.workplace.models.notice or "in use from now on")

    def _on_test(self) -> None:
        if self.check is not None:
            self.check.cancel()
            self.poll()
            return
        try:
            choice = self.chosen()
            choice.check()
            self.check = EngineCheck(self._start(choice), choice.load_model)
        except NeuroSAM2Error as error:
            self._show_result(str(error))
            return
        self.ui.testLabel.text, self.ui.testButton.text = TESTING, "Cancel test"


def _title(row: ModelRow) -> str:
    return f"{row.name}: {row.description}" + ("" if row.is_installed else " (to be downloaded)")
