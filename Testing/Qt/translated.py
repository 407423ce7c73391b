"""Both panels under a translator that marks what it is asked for: prints what a person reads without a mark. `python -m` runs it."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
MARK = "«»"
READ = ("text", "title", "toolTip", "placeholderText", "windowTitle", "accessibleName", "suffix", "specialValueText")


def main():
    from PySide6 import QtCore, QtWidgets

    from Testing.Qt.host.application import start

    class Marker(QtCore.QTranslator):
        def isEmpty(self):
            return False

        def translate(self, context, text, *_):
            return text.join(MARK) if text else text

    with tempfile.TemporaryDirectory() as folder:
        application = start(Path(folder))
        marker = Marker()
        application.installTranslator(marker)
        from Testing.Qt.host.modules import load_module
        from Testing.Qt.panel_user import SLICER

        names = ("NeuroSAM2Segment", "NeuroSAM2Train")
        modules = [load_module(SLICER / name / f"{name}.py") for name in names]
        for one in modules:
            for widget in one.parent.findChildren(QtWidgets.QWidget):
                for text in _texts(widget):
                    if any(letter.isalpha() for letter in text) and not set(MARK) & set(text):
                        print(f"{widget.objectName}: {text}")  # noqa: T201
            for text in (one.module.parent.title, one.module.parent.helpText):
                assert set(MARK) & set(text), text
        for one in reversed(modules):
            one.close()
    sys.stdout.flush()
    os._exit(0)


def _texts(widget):
    for name in READ:
        value = widget.property(name)
        if isinstance(value, str):
            yield value
    if hasattr(widget, "itemText"):
        yield from (widget.itemText(number) for number in range(widget.count))


if __name__ == "__main__":
    main()
