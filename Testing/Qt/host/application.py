"""`slicer.app`, `slicer.modules` and `slicer.mrmlScene`: the application as far as the modules use it, once per process."""

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import slicer
import slicer.util
from NeuroSAM2MRML.headless import HeadlessApplication
from PySide6.QtCore import Signal

from Testing.Qt.host import dialect
from Testing.Qt.host.forms import UiLoader
from Testing.Qt.host.log import open_log
from Testing.Qt.host.stand_ins import STAND_INS
from Testing.Qt.host.views import LayoutManager

qt = dialect.install()
BASE_CLASSES = Path(__file__).parent / "base_classes"


@dataclass(slots=True)
class Module:
    """An entry of `slicer.modules`."""

    name: str
    path: str = ""
    module_logic: object = None
    panel: object = None
    """The module's ...Widget object, once it is set up."""

    def logic(self):
        return self.module_logic

    def widgetRepresentation(self):
        return self if self.panel is not None else None

    def self(self):
        return self.panel


@dataclass(slots=True)
class Extensions:
    """qSlicerExtensionsManagerModel, as far as it is used: asks nothing of any server."""

    installed: set[str] = field(default_factory=set)
    can_install: bool = True

    def isExtensionInstalled(self, name):
        return name in self.installed

    def installExtensionFromServer(self, name, restart=True):
        if self.can_install:
            self.installed.add(name)
        return self.can_install


class Application(qt.QApplication):
    """qSlicerApplication."""

    startupCompleted = Signal()

    def __init__(self, folder):
        super().__init__(["Slicer"])
        self.mrml = HeadlessApplication(folder)
        self.temporaryPath = str(folder)
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")
        self.extensions = Extensions()
        self.num_restarts = 0
        self._settings = qt.QSettings(self.slicerUserSettingsFilePath, qt.QSettings.IniFormat)
        self._layout_manager = LayoutManager(self.mrml)

    def applicationLogic(self):
        return self.mrml.logic

    def mrmlScene(self):
        return self.mrml.scene

    def layoutManager(self):
        return self._layout_manager

    def moduleManager(self):
        return self

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def userSettings(self):
        return self._settings

    def extensionsManagerModel(self):
        return self.extensions

    def startupEnvironment(self):
        return qt.QProcessEnvironment.systemEnvironment()  # no launcher stands in front of this host

    def testingEnabled(self):
        return True

    def restart(self):
        self.num_restarts += 1


def start(folder):
    """The application of this process, with a main window, ready to load modules.

    Args:
        folder: For settings and unpacked scenes.
    """
    open_log()
    qt.QUiLoader = UiLoader
    application = Application(folder)
    slicer.app, slicer.mrmlScene = application, application.mrmlScene()
    mrml = application.mrml
    slicer.modules = types.SimpleNamespace(
        volumes=Module("Volumes", module_logic=mrml.volumes),
        segmentations=Module("Segmentations", module_logic=mrml.segmentations),
        markups=Module("Markups", module_logic=mrml.markups),
        plots=Module("Plots", module_logic=_plots_logic(mrml)),
    )
    slicer.qSlicerScriptedLoadableModuleWidget = Module
    ctk = types.ModuleType("ctk")
    for name, kind in STAND_INS.items():
        setattr(ctk if name.startswith("ctk") else slicer, name, kind)
    sys.modules["ctk"] = ctk
    if str(BASE_CLASSES) not in slicer.__path__:
        slicer.__path__.append(str(BASE_CLASSES))
    window = qt.QMainWindow()
    window.setObjectName("qSlicerMainWindow")
    application.panels = qt.QStackedWidget()
    window.setCentralWidget(application.panels)
    window.resize(460, 900)
    application.window = window
    return application


def _plots_logic(mrml):
    logic = slicer.vtkSlicerPlotsLogic()
    logic.SetMRMLApplicationLogic(mrml.logic)
    logic.SetMRMLScene(mrml.scene)
    return logic
