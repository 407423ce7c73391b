"""Stand-ins for CTK's widgets; see `stand_ins`."""

from PySide6.QtCore import Property, Signal

from Testing.Qt.host import pythonqt
from Testing.Qt.host.stored import stored

qt = pythonqt.install()


class ctkCollapsibleButton(qt.QAbstractButton):
    """Draws its head and shows or hides what is in it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(qt.QSizePolicy.Minimum, qt.QSizePolicy.Preferred)
        self.connect("toggled(bool)", lambda is_open: _fold(self, is_open))

    def showEvent(self, event):
        super().showEvent(event)
        _free_memory(self)

    def paintEvent(self, _event):
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = qt.QRect(0, 0, self.width, HEAD_PX)
        option.text = ("▾  " if self.isChecked() else "▸  ") + self.text
        qt.QApplication.style().drawControl(qt.QStyle.CE_PushButton, option, painter, self)
        painter.end()

    def hitButton(self, place):
        return place.y() < HEAD_PX

    def sizeHint(self):
        inner = self.layout()
        if inner is None or not self.isChecked():
            return qt.QSize(160, HEAD_PX)
        return inner.sizeHint()

    def minimumSizeHint(self):
        inner = self.layout()
        return qt.QSize(40, HEAD_PX) if inner is None or not self.isChecked() else inner.minimumSize()

    collapsed = Property(
        bool, lambda widget: not widget.isChecked(), lambda widget, is_closed: widget.setChecked(not is_closed)
    )


HEAD_PX = 26


def _free_memory(widget):
    """Below the head; children that came while it was closed are hidden, too."""
    inner = widget.layout()
    if inner is not None and inner.contentsMargins.top() < HEAD_PX:
        margins = inner.contentsMargins
        inner.setContentsMargins(margins.left(), HEAD_PX + 6, margins.right(), margins.bottom())
    if not widget.isChecked():
        _hide_children(widget)


def _fold(widget, is_open):
    if is_open:
        for child in widget.__dict__.pop("_hidden", ()):
            child.setVisible(True)
    else:
        _hide_children(widget)
    widget.setMaximumHeight(16777215 if is_open else HEAD_PX)
    widget.updateGeometry()
    widget.contentsCollapsed.emit(not is_open)


def _hide_children(widget):
    """Remembers which were not hidden by someone else."""
    for child in widget.findChildren(qt.QWidget, options=qt.Qt.FindDirectChildrenOnly):
        if not child.isHidden():
            widget.__dict__.setdefault("_hidden", []).append(child)
            child.setVisible(False)


class ctkPathLineEdit(qt.QWidget):
    Dirs, Files = 1, 2
    currentPathChanged = Signal(str)
    filters = stored(int, "filters", 3)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        edit, button = qt.QLineEdit(), qt.QToolButton()
        button.setText("…")
        layout.addWidget(edit)
        layout.addWidget(button)
        self.setFocusProxy(edit)
        self.__dict__["_edit"] = edit
        edit.connect("textChanged(QString)", lambda text: self.currentPathChanged.emit(text))

    def setCurrentPath(self, path):
        self.__dict__["_edit"].setText(path)

    def addCurrentPathToHistory(self):
        self.__dict__.setdefault("_paths", []).append(self.currentPath)

    currentPath = Property(str, lambda widget: widget.__dict__["_edit"].text, setCurrentPath)
