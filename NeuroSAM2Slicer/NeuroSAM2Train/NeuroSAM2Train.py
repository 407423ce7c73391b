"""NeuroSAM2 Train: fine-tune the model on your own cases while you work, and see on held-out cases whether it helps."""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
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
        self.parent.helpText = _(
            "Fine-tune the model on your own cases in the background, compare it on held-out cases, use it or go back. See the "
            '<a href="https://github.com/neurosam2/SlicerNeuroSAM2/blob/main/docs/tutorial.md">tutorial</a>.'
        )
        self.parent.acknowledgementText = _("Built on SAM 2 by Meta AI (Apache-2.0).")


class NeuroSAM2TrainWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.panel = None

    def setup(self) -> None:
        """Builds the panel. Nothing is installed, downloaded or started here."""
        ScriptedLoadableModuleWidget.setup(self)
        from NeuroSAM2Qt.train_panel import TrainPanel

        form = slicer.util.loadUI(self.resourcePath("UI/NeuroSAM2Train.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.panel = TrainPanel(self.ui, self._workplace())
        if (
            self.parent.isVisible()
        ):  # Slicer calls `enter` when it shows a module, and not when it loads the shown one anew
            self.enter()

    def enter(self) -> None:
        """The module is shown."""
        self.panel.use(self._workplace())
        self.panel.enter()

    def exit(self) -> None:
        """Another module is shown."""
        self.panel.exit()

    def cleanup(self) -> None:
        """The module is unloaded."""
        if self.panel is not None:
            self.panel.close()

    @staticmethod
    def _workplace() -> object:
        """Of the segmentation panel that there is now: it may have been loaded anew."""
        return slicer.util.getModuleWidget("NeuroSAM2Segment").panel.workplace


class NeuroSAM2TrainTest(ScriptedLoadableModuleTest):
    """Self test: needs neither torch, nor a graphics card, nor a network."""

    def runTest(self) -> None:
        """Runs all."""
        self.test_an_empty_project_leads_to_its_first_case()

    def test_an_empty_project_leads_to_its_first_case(self) -> None:
        """Without cases nothing can be started, and the panel says what to do."""
        folder = slicer.util.tempDirectory()
        panel = slicer.util.getModuleWidget("NeuroSAM2Train").panel
        panel.ui.folderEdit.currentPath = folder
        self.assertFalse(panel.ui.startButton.enabled)
        self.assertTrue(panel.ui.addButton.enabled)
        self.assertIn("Add the cases", panel.ui.stateLabel.text)
