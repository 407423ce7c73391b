"""NeuroSAM2 Train: fine-tune the model on your own cases while you work, and see on held-out cases whether it helps."""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

# From a source tree the packages lie beside and above this folder; once installed they lie in this very folder.
for folder in (Path(__file__).parents[1], Path(__file__).parents[2]):
    if (folder / "NeuroSAM2Qt").is_dir() or (folder / "NeuroSAM2Core").is_dir():
        sys.path.append(str(folder))


class NeuroSAM2Train(ScriptedLoadableModule):
    """What the module is."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NeuroSAM2 Train")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["NeuroSAM2Segment", "Plots"]
        self.parent.contributors = ["The NeuroSAM2 team"]
        from NeuroSAM2Qt.help_text import module_help, train_help

        self.parent.helpText = module_help(train_help(), self.resourcePath("Help/NeuroSAM2Train.png"))
        self.parent.acknowledgementText = _("Built on SAM 2 by Meta AI (Apache-2.0).")


class NeuroSAM2TrainLogic(ScriptedLoadableModuleLogic):
    """What there is without widgets: `slicer.util.getModuleLogic("NeuroSAM2Train").project` has the cases and the run.

    Cases come from the segmentation module there is now: it may have been loaded anew.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        from NeuroSAM2Qt.train_project import TrainProject

        self.project = TrainProject(lambda: slicer.util.getModuleLogic("NeuroSAM2Segment").segment_presenter)

    def close(self) -> None:
        """Nothing is open any more; a run goes on."""
        self.project.close()


class NeuroSAM2TrainWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.panel = self.logic = None

    def setup(self) -> None:
        """Builds the panel. Nothing is installed, downloaded or started here."""
        ScriptedLoadableModuleWidget.setup(self)
        from NeuroSAM2Qt.train_panel import TrainPanel

        form = slicer.util.loadUI(self.resourcePath("UI/NeuroSAM2Train.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = NeuroSAM2TrainLogic()
        self.panel = TrainPanel(self.ui, self.logic.project)
        if (
            self.parent.isVisible()
        ):  # Slicer calls `enter` when it shows a module, and not when it loads the shown one anew
            self.enter()

    def enter(self) -> None:
        """The module is shown."""
        self.panel.enter()

    def exit(self) -> None:
        """Another module is shown."""
        self.panel.exit()

    def cleanup(self) -> None:
        """The module is unloaded."""
        if self.panel is not None:
            self.panel.close()
            self.logic.close()


class NeuroSAM2TrainTest(ScriptedLoadableModuleTest):
    """Self test: needs neither torch, nor a graphics card, nor a network."""

    def runTest(self) -> None:
        """Runs all."""
        self.test_an_empty_project_leads_to_its_first_case()

    def test_an_empty_project_leads_to_its_first_case(self) -> None:
        """Without cases nothing can be started, and the panel says what to do."""
        ui = slicer.util.getModuleWidget("NeuroSAM2Train").panel.ui
        own_folder, ui.folderEdit.currentPath = ui.folderEdit.currentPath, slicer.util.tempDirectory()
        try:
            self.assertFalse(ui.startButton.enabled)
            self.assertTrue(ui.addButton.enabled)
            self.assertIn("Add the cases", ui.stateLabel.text)
        finally:
            ui.folderEdit.currentPath = own_folder
