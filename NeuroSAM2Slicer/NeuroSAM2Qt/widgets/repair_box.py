"""The repair widgets: a button for each repair, and how repairs are done."""

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.tools import REPAIRS, SCOPES
from NeuroSAM2Lib.segmentation.repair_actions import RepairSettings

from NeuroSAM2Qt.connections import connect

NUM_COLUMNS = 2


class RepairBox:
    """The widgets.

    Args:
        ui: Of the segmentation panel.
        repair: Does the repair of a name.
    """

    def __init__(self, ui: SimpleNamespace, repair: Callable[[str], None]) -> None:
        self.ui = ui
        self.buttons: dict[str, qt.QPushButton] = {}
        self._is_showing = False
        for place, one in enumerate(REPAIRS):
            button = qt.QPushButton(f"{one.title} ({one.key})" if one.key else one.title)
            button.setToolTip(one.tip)
            button.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
            connect(button, "clicked()", lambda name=one.name: repair(name))
            ui.repairGrid.addWidget(button, place // NUM_COLUMNS, place % NUM_COLUMNS)
            self.buttons[one.name] = button
        for title in SCOPES.values():
            ui.repairScopeSelector.addItem(title)
        connect(ui.repairScopeSelector, "currentIndexChanged(int)", self._changed)
        connect(ui.repairLengthSpinBox, "valueChanged(double)", self._changed)

    @property
    def keys(self) -> dict[str, Callable[[], None]]:
        """What keys press."""
        return {one.key: self.buttons[one.name].click for one in REPAIRS if one.key}

    def show(self, *, can_repair: bool) -> None:
        """Whether there is anything to repair."""
        for button in self.buttons.values():
            button.setEnabled(can_repair)

    def restore(self) -> None:
        """Shows what the scene remembers."""
        settings = PanelSettings(slicer.mrmlScene).repair
        self._is_showing = True
        self.ui.repairScopeSelector.setCurrentIndex(list(SCOPES).index(settings.scope))
        self.ui.repairLengthSpinBox.setValue(settings.length_mm)
        self._is_showing = False

    def _changed(self) -> None:
        if not self._is_showing:
            scope = list(SCOPES)[self.ui.repairScopeSelector.currentIndex]
            settings = RepairSettings(scope=scope, length_mm=self.ui.repairLengthSpinBox.value)
            PanelSettings(slicer.mrmlScene).repair = settings
