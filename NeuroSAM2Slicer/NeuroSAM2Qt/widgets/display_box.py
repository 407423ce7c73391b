"""How all objects are shown: opacity, fill or outline, or not at all."""

from collections.abc import Callable
from types import SimpleNamespace

from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, Fill
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions

from NeuroSAM2Qt.connections import connect

PERCENT = 100
FILLS = (Fill.BOTH, Fill.FILL, Fill.OUTLINE)
"""In the order of the selector."""


class DisplayBox:
    """The widgets for it.

    Args:
        ui: Has them.
        edit: Does something to the objects.
    """

    def __init__(self, ui: SimpleNamespace, edit: Callable[[Callable[[ObjectActions], object]], None]) -> None:
        self.ui, self._edit = ui, edit
        connect(ui.opacitySlider, "valueChanged(int)", self._on_opacity)
        connect(ui.fillSelector, "activated(int)", self._on_fill)
        connect(ui.hideButton, "clicked()", lambda: edit(lambda objects: objects.display.toggle_all()))

    def show(self, style: DisplayStyle, *, can_change: bool) -> None:
        """Shows what is set."""
        if not self.ui.opacitySlider.isSliderDown():
            self.ui.opacitySlider.setValue(round(PERCENT * style.opacity))
        self.ui.fillSelector.setCurrentIndex(FILLS.index(style.fill))
        self.ui.hideButton.setChecked(style.is_hidden)
        for widget in (self.ui.opacitySlider, self.ui.fillSelector, self.ui.hideButton):
            widget.setEnabled(can_change)

    def _on_opacity(self, value: int) -> None:
        self._edit(lambda objects: objects.display.set_opacity(value / PERCENT))

    def _on_fill(self, index: int) -> None:
        self._edit(lambda objects: objects.display.set_fill(FILLS[index]))
