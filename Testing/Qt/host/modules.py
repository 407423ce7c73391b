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

    def close(self):
        """As when Slicer unloads the module."""
        self.widget.exit()
        self.widget.cleanup()
        for editor in self.parent.findChildren(slicer.qMRMLSegmentEditorWidget):
            editor.setMRMLSegmentEditorNode(None)  # its observers go with it
        slicer.app.panels.removeWidget(self.parent)
        self.parent.deleteLater()


def load_module(path: Path) -> LoadedModule:
    """Executes the file and sets its panel up in the main window."""
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    file = importlib.util.module_from_spec(spec)
    sys.modules[name] = file
    spec.loader.exec_module(file)
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
    slicer.app.panels.addWidget(parent)
    slicer.app.panels.setCurrentWidget(parent)
    slicer.app.window.show()
    widget.enter()
    return LoadedModule(file, module, widget, parent)
