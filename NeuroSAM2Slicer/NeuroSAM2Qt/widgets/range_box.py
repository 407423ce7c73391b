"""The widgets for direction and slice range, and their settings in the scene."""

from types import SimpleNamespace

import slicer
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings

from NeuroSAM2Core.volume import Direction
from NeuroSAM2Qt.connections import connect

DIRECTIONS = tuple(Direction)


class RangeBox:
    """The widgets.

    Args:
        ui: Of the segmentation panel.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self.ui, self._is_showing = ui, False
        connect(ui.directionSelector, "activated(int)", self._on_changed)
        connect(ui.wholeCheckBox, "toggled(bool)", self._on_changed)
        for box in (ui.firstSpinBox, ui.lastSpinBox):
            connect(box, "valueChanged(int)", self._on_changed)

    def restore(self) -> None:
        """Shows what the scene remembers."""
        ui, memory = self.ui, PanelSettings(slicer.mrmlScene)
        value = memory.slice_range
        self._is_showing = True
        ui.directionSelector.setCurrentIndex(DIRECTIONS.index(memory.direction))
        ui.wholeCheckBox.setChecked(value is None)
        for box, index in zip((ui.firstSpinBox, ui.lastSpinBox), value or (0, ui.lastSpinBox.maximum), strict=True):
            box.setMaximum(max(box.maximum, index))  # the volume may come later
            box.setValue(index)
            box.setEnabled(value is not None)
        self._is_showing = False

    def show(self, num_slices: int) -> None:
        """The slices that there are; nothing changes while there are none."""
        if num_slices == 0:
            return
        ui, last = self.ui, num_slices - 1
        self._is_showing = True
        ui.firstSpinBox.setMaximum(last)
        ui.lastSpinBox.setMaximum(last)
        if ui.wholeCheckBox.isChecked():
            ui.lastSpinBox.setValue(last)
        self._is_showing = False

    def _on_changed(self) -> None:
        if self._is_showing:
            return
        ui, memory = self.ui, PanelSettings(slicer.mrmlScene)
        memory.direction = DIRECTIONS[ui.directionSelector.currentIndex]
        is_whole = ui.wholeCheckBox.isChecked()
        memory.slice_range = None if is_whole else (ui.firstSpinBox.value, ui.lastSpinBox.value)
        for widget in (ui.firstSpinBox, ui.lastSpinBox):
            widget.setEnabled(not is_whole)
