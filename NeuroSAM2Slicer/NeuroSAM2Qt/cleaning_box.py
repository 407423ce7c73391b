"""Which holes and islands are seen to: the widgets, and what the scene remembers of them."""

from collections.abc import Callable
from types import SimpleNamespace

import slicer
from NeuroSAM2MRML.workplace.panel_memory import PanelMemory

from NeuroSAM2Core.volume import Cleaning
from NeuroSAM2Qt.connections import connect

NONE, AUTOMATIC = 0.0, None


class CleaningBox:
    """The widgets.

    Args:
        ui: Of the segmentation panel.
        on_changed: Called with what the person wants.
    """

    def __init__(self, ui: SimpleNamespace, on_changed: Callable[[Cleaning], None]) -> None:
        self.ui, self._on_changed = ui, on_changed
        self._rows = ((ui.holesCheckBox, ui.holesSpinBox), (ui.islandsCheckBox, ui.islandsSpinBox))
        for box, size in self._rows:
            connect(box, "toggled(bool)", self._changed)
            connect(size, "valueChanged(double)", self._changed)
        connect(ui.cleanWholeCheckBox, "toggled(bool)", self._changed)
        self._is_showing = False

    def restore(self) -> None:
        """Shows what the scene remembers."""
        cleaning = PanelMemory(slicer.mrmlScene).cleaning
        self._is_showing = True
        for (box, size), said in zip(self._rows, (cleaning.hole_mm, cleaning.island_mm), strict=True):
            box.setChecked(said != NONE)
            size.setEnabled(said != NONE)
            size.setValue(said or size.minimum)
        self.ui.cleanWholeCheckBox.setChecked(cleaning.is_whole)
        self._is_showing = False

    def _changed(self) -> None:
        if self._is_showing:
            return
        sizes = []
        for box, size in self._rows:
            is_on = box.isChecked()
            size.setEnabled(is_on)
            sizes.append(NONE if not is_on else AUTOMATIC if size.value == size.minimum else size.value)
        holes, islands = sizes
        self._on_changed(Cleaning(hole_mm=holes, island_mm=islands, is_whole=self.ui.cleanWholeCheckBox.isChecked()))
