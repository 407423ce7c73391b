"""The check box for previews, and its user setting."""

import qt
import slicer
from NeuroSAM2Lib.presenters.mouse_tools import MouseTools

from NeuroSAM2Qt.connections import connect

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
