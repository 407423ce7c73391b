"""Loads a scripted module as Slicer does: its file, its module class, its panel in a widget, `setup`, `enter`."""

import importlib.util
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import slicer

from Testing.Qt.host import dialect
from Testing.Qt.host.application import Module

qt = dialect.install()


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """A module and its panel."""

    file: types.ModuleType
    module: object
    widget: object
    """The module's ...Widget object."""
    parent: object
    """The Qt widget that the panel is in."""

    def reload(self):
        """As Slicer's Reload button: the file is executed again, and a new panel is set up beside the old one, which is hidden.

        Neither `exit` nor `enter` is called, and the old panel's widgets live on.
        """
        name = type(self.module).__name__
        for child in self.parent.findChildren(qt.QWidget, options=qt.Qt.FindDirectChildrenOnly):
            child.hide()
        self.widget.cleanup()
        layout = self.parent.layout()
        while layout.count():
            layout.takeAt(0)
        file = _execute(Path(self.file.__file__))
        widget = getattr(file, f"{name}Widget")(self.parent)
        getattr(slicer.modules, name.lower()).panel = widget
        widget.setup()
        return LoadedModule(file, self.module, widget, self.parent)

    def close(self):
        """As when Slicer unloads the module."""
        self.widget.exit()
        self.widget.cleanup()
        for one in self.parent.findChildren(qt.QWidget):
            if hasattr(one, "setMRMLScene"):
                one.setMRMLScene(None)
        slicer.app.panels.removeWidget(self.parent)
        self.parent.deleteLater()


def load_module(path: Path, *, is_shown: bool = True) -> LoadedModule:
    """Executes the file and sets its panel up in the main window."""
    name, file = path.stem, _execute(path)
    entry = types.SimpleNamespace(path=str(path), title="", categories=[], dependencies=[], contributors=[])
    entry.helpText = entry.acknowledgementText = ""
    setattr(slicer.modules, name.lower(), Module(name, str(path)))
    module = getattr(file, name)(entry)
    parent = slicer.qMRMLWidget()
    parent.setLayout(qt.QVBoxLayout())
    parent.setMRMLScene(slicer.mrmlScene)
    widget = getattr(file, f"{name}Widget")(parent)
    widget.setup()
    getattr(slicer.modules, name.lower()).panel = widget
    parent.layout().setContentsMargins(0, 0, 0, 0)  # as qSlicerModulePanel does
    slicer.app.panels.addWidget(parent)
    if is_shown:
        slicer.app.panels.setCurrentWidget(parent)
        slicer.app.window.show()
        widget.enter()
    return LoadedModule(file, module, widget, parent)


def _execute(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    file = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = file
    spec.loader.exec_module(file)
    return file
