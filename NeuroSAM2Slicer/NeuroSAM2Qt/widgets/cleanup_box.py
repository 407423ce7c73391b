"""The clean-up widgets for holes and islands, and their settings in the scene."""

from collections.abc import Callable
from types import SimpleNamespace

import slicer
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings

from NeuroSAM2Core.volume import MaskCleanup
from NeuroSAM2Qt.connections import connect

NONE, AUTOMATIC = 0.0, None


class CleanupBox:
    """The widgets.

    Args:
        ui: Of the segmentation panel.
        on_changed: Called with what the person wants.
    """

    def __init__(self, ui: SimpleNamespace, on_changed: Callable[[MaskCleanup], None]) -> None:
        self.ui, self._on_changed = ui, on_changed
        self._rows = ((ui.holesCheckBox, ui.holesSpinBox), (ui.islandsCheckBox, ui.islandsSpinBox))
        for box, size in self._rows:
            connect(box, "toggled(bool)", self._changed)
            connect(size, "valueChanged(double)", self._changed)
        connect(ui.cleanWholeCheckBox, "toggled(bool)", self._changed)
        self._is_showing = False

    def restore(self) -> None:
        """Shows what the scene remembers."""
        cleanup = PanelSettings(slicer.mrmlScene).cleanup
        self._is_showing = True
        for (box, size), value in zip(self._rows, (cleanup.hole_mm, cleanup.island_mm), strict=True):
            box.setChecked(value != NONE)
            size.setEnabled(value != NONE)
            size.setValue(value or size.minimum)
        self.ui.cleanWholeCheckBox.setChecked(cleanup.is_whole)
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
        self._on_changed(MaskCleanup(hole_mm=holes, island_mm=islands, is_whole=self.ui.cleanWholeCheckBox.isChecked()))
