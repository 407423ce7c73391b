"""How all objects are shown: opacity, fill or outline, or not at all.

Window and level of the chosen image from presets, and the values of an object; Slicer's own views have the rest.
"""

from collections.abc import Callable
from types import SimpleNamespace

from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, Fill
from NeuroSAM2Lib.scene.views.image_display import CT_PRESETS, WindowLevel
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
