"""The widgets of the Advanced section, and their settings in the scene."""

from collections.abc import Callable
from types import SimpleNamespace

import slicer
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings

from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Qt.connections import connect

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
