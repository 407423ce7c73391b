"""The verdict of a comparison: words in their colour, and a picture of the cases; and warnings in theirs."""

from pathlib import Path
from types import SimpleNamespace

import qt
from NeuroSAM2Lib.presenters.train_presenter import TrainViewModel
from NeuroSAM2Lib.training.verdict_view import Tone, VerdictView

from NeuroSAM2Core import disk
from NeuroSAM2Qt.connections import connect
from NeuroSAM2Qt.widgets.large_picture import LargePicture

MIN_PX = 40
"""Before the panel was laid out."""


class VerdictBox:
    """The widgets.

    Args:
        ui: Of the training panel.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self.ui = ui
        self._verdict: VerdictView | None = None
        self._picture: Path | None = None
        self._width_px = 0
        self.large = LargePicture(self._open_picture)
        connect(ui.largeVerdictButton, "clicked()", self.large.open)
        ui.warningsLabel.setStyleSheet(_style(Tone.UNSURE))
        self._show()

    def show(self, view: TrainViewModel) -> None:
        """The verdict and the warnings of a view."""
        self.ui.warningsLabel.setVisible(bool(view.run.warnings))
        self.ui.warningsLabel.text = "\n".join(view.run.warnings)
        if (view.verdict, view.run.verdict_picture) != (self._verdict, self._picture):
            self._verdict, self._picture = view.verdict, view.run.verdict_picture
            self._show()

    def fit(self) -> None:
        """The picture is as wide as the panel is now."""
        if self._width_px != self.ui.verdictPictureLabel.width:
            self._show_picture()

    def _show(self) -> None:
        ui, verdict = self.ui, self._verdict
        for label in (ui.verdictLabel, ui.verdictDetailLabel):
            label.setVisible(verdict is not None)
        if verdict is not None:
            ui.verdictLabel.setStyleSheet(_style(verdict.tone))
            ui.verdictLabel.text, ui.verdictDetailLabel.text = verdict.sentence, verdict.detail
        self._show_picture()

    def _open_picture(self) -> tuple[Path, str] | None:
        return None if self._picture is None else (self._picture, "")

    def _show_picture(self) -> None:
        label, picture = self.ui.verdictPictureLabel, self._picture
        label.setVisible(picture is not None)
        self.ui.largeVerdictButton.setVisible(picture is not None)
        if picture is not None:
            pixels, self._width_px = qt.QPixmap(disk.as_utf8(picture)), label.width
            label.setPixmap(pixels.scaledToWidth(max(MIN_PX, self._width_px), qt.Qt.SmoothTransformation))


def _style(tone: Tone) -> str:
    """Text on its own ground, whatever the window's colours are."""
    return f"background:{tone.value.ground};color:{tone.value.text};padding:6px"
