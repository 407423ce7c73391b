"""`slicer.app`, `slicer.modules` and `slicer.mrmlScene`: the application as far as the modules use it, once per process."""

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import slicer
import slicer.util
from NeuroSAM2Lib.headless.application import HeadlessApplication
from PySide6.QtCore import Signal

from Testing.Qt.host import dicom_library, pythonqt
from Testing.Qt.host.forms import UiLoader
from Testing.Qt.host.log import ErrorLogModel, errors, open_log
from Testing.Qt.host.stand_ins import STAND_INS
from Testing.Qt.host.subject_hierarchy import SubjectHierarchy
from Testing.Qt.host.views import LayoutManager

qt = pythonqt.install()


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


class Files:
    """qSlicerCoreIOManager, for scenes.

    Args:
        mrml: Reads and writes them.
    """

    def __init__(self, mrml):
        self._mrml = mrml

    def loadNodes(self, kind, properties, nodes=None, messages=None):
        assert kind == "SceneFile"
        self._mrml.load(Path(properties["fileName"]))
        return True

    def saveNodes(self, kind, properties, messages=None):
        assert kind == "SceneFile"
        path = Path(properties["fileName"])
        path.parent.mkdir(parents=True, exist_ok=True)  # as the application does, see `slicer.util.saveScene`
        self._mrml.save(path, overwrite=True)
        return True


@dataclass(slots=True)
class ModuleSelector:
    """qSlicerModuleSelectorToolBar: one module is shown at a time."""

    shown: object = None
    """A loaded module."""

    def selectModule(self, name):
        chosen = slicer.app.factoryManager().loaded[name]
        if chosen is self.shown:
            return
        if self.shown is not None:
            self.shown.widget.exit()
        self.shown = chosen
        slicer.app.panels.setCurrentWidget(chosen.parent)
        slicer.app.window.show()
        chosen.widget.enter()


class MainWindow(qt.QMainWindow):
    """qSlicerMainWindow."""

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.selector = ModuleSelector()
        self.statusBar().setSizeGripEnabled(False)

    def moduleSelector(self):
        return self.selector


class Application(qt.QApplication):
    """qSlicerApplication."""

    startupCompleted = Signal()
    applicationVersion = "test host"

    def __init__(self, folder):
        super().__init__(["Slicer"])
        self.mrml = HeadlessApplication(folder)
        self.subject_hierarchy = SubjectHierarchy(self.mrml.scene, errors)
        self.temporaryPath = str(folder)
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")
        self.extensions = Extensions()
        self.num_restarts = 0
        self._settings = qt.QSettings(self.slicerUserSettingsFilePath, qt.QSettings.IniFormat)
        self._layout_manager = LayoutManager(self.mrml)
        self._log, self._files = ErrorLogModel(), Files(self.mrml)
        self.factory = None
        self.options = types.SimpleNamespace(runPythonAndExit=True)
        self.exit_status = None

    def errorLogModel(self):
        return self._log

    def coreIOManager(self):
        return self._files

    def factoryManager(self):
        return self.factory

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

    def commandOptions(self):
        return self.options

    def exit(self, status):
        self.exit_status = status


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
    slicer.qSlicerScriptedLoadableModuleWidget = slicer.qSlicerScriptedLoadableModule = Module
    ctk = types.ModuleType("ctk")
    for name, kind in STAND_INS.items():
        setattr(ctk if name.startswith("ctk") else slicer, name, kind)
    sys.modules["ctk"] = ctk
    sys.modules["DICOMLib"] = dicom_library.MODULE
    window = MainWindow()
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
