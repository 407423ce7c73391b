"""Loads a scripted module as Slicer does: its file, its module class, its panel in a widget, `setup`, `enter`."""

import importlib.util
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import slicer

from Testing.Qt.host import pythonqt
from Testing.Qt.host.application import Module

qt = pythonqt.install()


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
        for editor in self.parent.findChildren(slicer.qMRMLSegmentEditorWidget):
            editor.setMRMLSegmentEditorNode(None)  # its observers go with it
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


class FactoryManager:
    """qSlicerModuleFactoryManager, and `slicer.util.reloadScriptedModule`: modules that are found and loaded while Slicer runs."""

    def __init__(self):
        self._paths = {}
        self.loaded = {}
        """Loaded modules by name."""

    def registerModule(self, file):
        assert isinstance(file, qt.QFileInfo)
        self._paths[file.completeBaseName()] = Path(file.absoluteFilePath())

    def isRegistered(self, name):
        return name in self._paths

    def loadModules(self, names):
        """A panel is set up; none is shown until it is selected."""
        for name in names:
            if name not in self.loaded and name in self._paths:
                self.loaded[name] = load_module(self._paths[name], is_shown=False)
        return all(name in self.loaded for name in names)

    def reload(self, name):
        selector, old = slicer.app.window.moduleSelector(), self.loaded[name]
        new = self.loaded[name] = old.reload()
        if selector.shown is old:
            selector.shown = new
        return new.file

    def close(self):
        """As when Slicer ends, the last module first; nothing is registered any more."""
        slicer.app.window.moduleSelector().shown = None
        for name in reversed(self.loaded):
            self.loaded[name].close()
        self._paths, self.loaded = {}, {}


def begin_managing():
    """The application can load modules; returns what does it."""
    slicer.app.factory = FactoryManager()
    slicer.util.reloadScriptedModule = slicer.app.factory.reload
    return slicer.app.factory


def _execute(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    file = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = file
    spec.loader.exec_module(file)
    return file
