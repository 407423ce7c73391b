"""Pictures of clips, one at a time, with what was found out about the cases below."""

from pathlib import Path
from types import SimpleNamespace

import qt
from NeuroSAM2Lib.training.image_carousel import ImageCarousel

from NeuroSAM2Core import disk
from NeuroSAM2Qt.connections import connect
from NeuroSAM2Qt.widgets.large_picture import LargePicture

MIN_PX = 40
"""Before the panel was laid out."""


class SampleViewer:
    """The widgets.

    Args:
        ui: Of the training panel.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self.ui = ui
        self._carousel, self._width_px = ImageCarousel(), 0
        ui.sampleReportLabel.setFont(qt.QFontDatabase.systemFont(qt.QFontDatabase.FixedFont))  # it has columns
        self.large = LargePicture(self._open_picture, self._turn)
        connect(ui.largeSampleButton, "clicked()", self.large.open)
        connect(ui.previousSampleButton, "clicked()", lambda: self._turn(-1))
        connect(ui.nextSampleButton, "clicked()", lambda: self._turn(1))
        self._show()

    def show(self, pictures: tuple[Path, ...], report: str) -> None:
        """These pictures, from the first one on if they are others."""
        self.ui.sampleReportLabel.setVisible(bool(report))
        self.ui.sampleReportLabel.text = report
        if self._carousel.fill(pictures):
            self._show()

    def fit(self) -> None:
        """The picture is as wide as the panel is now."""
        if self._width_px != self.ui.sampleLabel.width:
            self._show()

    def _turn(self, step: int) -> None:
        self._carousel.turn(step)
        self._show()

    def _open_picture(self) -> tuple[Path, str] | None:
        picture = self._carousel.picture
        return None if picture is None else (picture, self._carousel.caption)

    def _show(self) -> None:
        ui, shown = self.ui, self._carousel.picture
        for widget in (
            ui.sampleLabel,
            ui.sampleCaptionLabel,
            ui.previousSampleButton,
            ui.nextSampleButton,
            ui.largeSampleButton,
        ):
            widget.setVisible(shown is not None)
        if shown is not None:
            picture, self._width_px = qt.QPixmap(disk.as_utf8(shown)), ui.sampleLabel.width
            ui.sampleLabel.setPixmap(picture.scaledToWidth(max(MIN_PX, self._width_px), qt.Qt.SmoothTransformation))
            ui.sampleCaptionLabel.text = self._carousel.caption
