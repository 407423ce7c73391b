"""The widgets of settings: those that the scene keeps, those of the display nodes, and the preview's, which the person's settings keep.

The scene keeps clean-up of holes and islands, direction and slice range, and the switches of the Advanced section. Display nodes keep
opacity, fill or outline, and window and level of the chosen image; Slicer's own views have the rest.
"""

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.presenters.mouse_tools import MouseTools
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, Fill
from NeuroSAM2Lib.scene.views.image_display import CT_PRESETS, WindowLevel
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions

from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Core.volume import Direction, MaskCleanup
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


STATES = (None, True, False)
"""Automatic, On, Off, as the selectors list them."""


class SwitchesBox:
    """The widgets.

    Args:
        ui: Of the segmentation panel.
        on_changed: Called with what the person wants.
    """

    def __init__(self, ui: SimpleNamespace, on_changed: Callable[[EngineSwitches], None]) -> None:
        self._on_changed = on_changed
        self._selectors = {
            "crops": ui.cropsSelector,
            "carries_boxes": ui.boxesSelector,
            "ends_by_shape": ui.endingSelector,
            "use_appearance_model": ui.appearanceSelector,
        }
        for selector in self._selectors.values():
            connect(selector, "activated(int)", self._changed)

    def restore(self) -> None:
        """Shows what the scene remembers."""
        switches = PanelSettings(slicer.mrmlScene).switches
        for name, selector in self._selectors.items():
            selector.setCurrentIndex(STATES.index(getattr(switches, name)))

    def _changed(self) -> None:
        value = {name: STATES[selector.currentIndex] for name, selector in self._selectors.items()}
        self._on_changed(EngineSwitches(**value))


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


KEY, ON, OFF = "NeuroSAM2/Preview", "on", "off"


class PreviewSwitch:
    """The check box.

    Args:
        box: The widget.
        tools: Shows previews or not.
    """

    def __init__(self, box: qt.QCheckBox, tools: MouseTools) -> None:
        self.box, self.tools = box, tools
        box.setChecked(slicer.app.userSettings().value(KEY) != OFF)
        tools.previews = box.isChecked()
        connect(box, "toggled(bool)", self._on_toggled)

    def _on_toggled(self, is_on: bool) -> None:
        slicer.app.userSettings().setValue(KEY, ON if is_on else OFF)
        self.tools.previews = is_on


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
