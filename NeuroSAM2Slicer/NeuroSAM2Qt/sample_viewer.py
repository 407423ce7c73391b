"""Pictures of clips, one at a time, with what was found out about the cases below."""

from pathlib import Path
from types import SimpleNamespace

import qt

WIDTH_PX = 420


class SampleViewer:
    """The widgets.

    Args:
        ui: Of the training panel.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self.ui = ui
        self._pictures: tuple[Path, ...] = ()
        self._number = 0
        ui.previousSampleButton.connect("clicked()", lambda: self._turn(-1))
        ui.nextSampleButton.connect("clicked()", lambda: self._turn(1))
        self._show()

    def show(self, pictures: tuple[Path, ...], report: str) -> None:
        """These pictures, from the first one on if they are others."""
        self.ui.sampleReportLabel.setVisible(bool(report))
        self.ui.sampleReportLabel.text = report
        if pictures != self._pictures:
            self._pictures, self._number = pictures, 0
            self._show()

    def _turn(self, step: int) -> None:
        self._number = (self._number + step) % len(self._pictures)
        self._show()

    def _show(self) -> None:
        ui, count = self.ui, len(self._pictures)
        for widget in (ui.sampleLabel, ui.sampleCaptionLabel, ui.previousSampleButton, ui.nextSampleButton):
            widget.setVisible(count > 0)
        if count:
            picture = qt.QPixmap(str(self._pictures[self._number]))
            ui.sampleLabel.setPixmap(picture.scaledToWidth(WIDTH_PX, qt.Qt.SmoothTransformation))
            ui.sampleCaptionLabel.text = f"Clip {self._number + 1} of {count}"
