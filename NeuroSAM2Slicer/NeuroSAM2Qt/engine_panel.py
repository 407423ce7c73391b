"""The Engine section: reads the person's choice from its widgets and shows the one in force."""

from collections.abc import Callable
from types import SimpleNamespace

from NeuroSAM2Lib.engine.choice import DEVICES, EngineChoice, Place
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.engine_presenter import EnginePresenter, EngineViewModel
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter

from NeuroSAM2Qt.connections import connect

PLACES = tuple(Place)
OWN_FILE = _("A file of your own")


class EnginePanel:
    """The section.

    Args:
        ui: The panel's widgets.
        segment_presenter: Has the engine in force.
        use: Puts another one to work.
        start: Starts an engine, for the test.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        segment_presenter: SegmentPresenter,
        use: Callable[[EngineChoice], None],
        start: Callable[[EngineChoice], Engine],
    ) -> None:
        self.ui = ui
        self.presenter = EnginePresenter(lambda: segment_presenter.models, use, start)
        self._models = [row.name for row in segment_presenter.models.view.rows]
        self._shown: EngineViewModel | None = None
        ui.modelSelector.addItems([*self.presenter.view.titles, OWN_FILE])
        self.show(segment_presenter.choice)
        connect(ui.placeSelector, "currentIndexChanged(int)", self._on_changed)
        connect(ui.modelSelector, "currentIndexChanged(int)", self._on_changed)
        connect(ui.useEngineButton, "clicked()", self._on_use)
        connect(ui.testButton, "clicked()", self._on_test)
        connect(ui.cancelDownloadButton, "clicked()", self.presenter.cancel_download)
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
        is_busy = self.presenter.poll()
        self._show_progress()
        return is_busy

    def close(self) -> None:
        """Ends a test."""
        self.presenter.close()

    def _show_progress(self) -> None:
        view, ui = self.presenter.view, self.ui
        if view == self._shown:
            return
        self._shown = view
        ui.testLabel.text = view.sentence
        ui.testButton.text = _("Cancel test") if view.is_testing else _("Test")
        ui.cancelDownloadButton.setVisible(view.is_downloading)
        for number, title in enumerate(view.titles):
            ui.modelSelector.setItemText(number, title)

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
        self.presenter.use(self.chosen())
        self._show_progress()

    def _on_test(self) -> None:
        self.presenter.test(self.chosen())
        self._show_progress()
