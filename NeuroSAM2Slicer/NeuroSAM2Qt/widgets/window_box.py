"""Window and level of the chosen image from presets, and the values of an object; Slicer's own views have the rest."""

from collections.abc import Callable
from types import SimpleNamespace

from NeuroSAM2Lib.scene.views.window_level import CT_PRESETS, WindowLevel

from NeuroSAM2Qt.connections import connect

CHANGES = (WindowLevel.set_auto, *(preset.apply for preset in CT_PRESETS), WindowLevel.invert)
"""In the order of the selector, which begins with its title."""


class WindowBox:
    """The widgets for it.

    Args:
        ui: Has them.
        change: Changes window and level of the image.
        tell_values: Says the values of the active object on the shown slice.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        change: Callable[[Callable[[WindowLevel], None]], None],
        tell_values: Callable[[], None],
    ) -> None:
        self.ui, self._change = ui, change
        connect(ui.windowSelector, "activated(int)", self._on_window)
        connect(ui.valuesButton, "clicked()", tell_values)

    def show(self, *, has_image: bool, has_objects: bool) -> None:
        """What can be done."""
        self.ui.windowSelector.setEnabled(has_image)
        self.ui.valuesButton.setEnabled(has_objects)

    def _on_window(self, index: int) -> None:
        self.ui.windowSelector.setCurrentIndex(0)
        if index > 0:
            self._change(CHANGES[index - 1])
