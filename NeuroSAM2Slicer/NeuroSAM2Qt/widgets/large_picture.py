"""A window of its own for one of several pictures, nearly as large as the main window, with the ones before and after."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _

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
