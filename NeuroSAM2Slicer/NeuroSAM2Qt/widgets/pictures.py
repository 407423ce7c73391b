"""Pictures in the training panel: clips one at a time, a comparison with its verdict, and a window of its own for a large one.

A window of its own for one of several pictures, nearly as large as the main window, with the ones before and after.
Pictures of clips, one at a time, with what was found out about the cases below.
The verdict of a comparison: words in their colour, and a picture of the cases; and warnings in theirs.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.train_presenter import TrainViewModel
from NeuroSAM2Lib.training.samples import ImageCarousel
from NeuroSAM2Lib.training.verdict_view import Tone, VerdictView

from NeuroSAM2Core import disk
from NeuroSAM2Qt.connections import connect

PART_OF_WINDOW = 0.8


class LargePicture:
    """One window, made when it is opened first.

    Args:
        picture: The picture that is open, with its caption; None without one.
        turn: Turns so many pictures on; None where there is one only.
    """

    def __init__(
        self, picture: Callable[[], tuple[Path, str] | None], turn: Callable[[int], None] | None = None
    ) -> None:
        self._picture, self._turn = picture, turn
        self.dialog: qt.QDialog | None = None

    def open(self) -> None:
        """Shows the picture that is open."""
        if self._picture() is None:
            return
        dialog = self.dialog = self.dialog or self._make()
        self.show()
        dialog.show()
        dialog.raise_()

    def show(self) -> None:
        """The open picture has changed."""
        shown = self._picture()
        if self.dialog is None or shown is None:
            return
        path, caption = shown
        window = slicer.util.mainWindow().size
        picture = qt.QPixmap(disk.as_utf8(path))
        if not picture.isNull():
            width, height = (round(PART_OF_WINDOW * one) for one in (window.width(), window.height()))
            self.label.setPixmap(picture.scaled(width, height, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
        self.caption.text = caption

    def _make(self) -> qt.QDialog:
        dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.setWindowTitle("NeuroSAM2")
        layout = qt.QVBoxLayout(dialog)
        self.label, self.caption = qt.QLabel(), qt.QLabel()
        for label in (self.label, self.caption):
            label.setAlignment(qt.Qt.AlignCenter)
            layout.addWidget(label)
        if self._turn is not None:
            row = qt.QHBoxLayout()
            layout.addLayout(row)
            for title, step in ((_("Previous"), -1), (_("Next"), 1)):
                button = qt.QPushButton(title)
                connect(button, "clicked()", lambda step=step: self._go(step))
                row.addWidget(button)
        return dialog

    def _go(self, step: int) -> None:
        if self._turn is not None:
            self._turn(step)
            self.show()


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
