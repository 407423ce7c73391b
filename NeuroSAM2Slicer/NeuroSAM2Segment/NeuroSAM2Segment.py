"""NeuroSAM2 Segment: outline objects in a brain volume by clicking, and carry the outlines through all slices."""

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
from slicer.util import VTKObservationMixin

# From a source tree the packages lie beside and above this folder; once installed they lie in this very folder.
for folder in (Path(__file__).parents[1], Path(__file__).parents[2]):
    if (folder / "NeuroSAM2Qt").is_dir() or (folder / "NeuroSAM2Core").is_dir():
        sys.path.append(str(folder))


AFTER_SELECTORS = -100.0
"""Priority of an observer that hears of the end of a batch after the node selectors, also those inside the embedded editor."""


class NeuroSAM2Segment(ScriptedLoadableModule):
    """What the module is."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NeuroSAM2 Segment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Markups", "Volumes"]
        self.parent.contributors = ["The NeuroSAM2 team"]
        self.parent.helpText = _(
            "Outline objects in a brain volume by clicking, carry the outlines through all slices, correct, confirm. See the "
            '<a href="https://github.com/neurosam2/SlicerNeuroSAM2/blob/main/docs/tutorial.md">tutorial</a>.'
        )
        self.parent.acknowledgementText = _("Built on SAM 2 by Meta AI (Apache-2.0).")
        slicer.app.connect("startupCompleted()", self.register_sample)

    def register_sample(self) -> None:
        """Slicer is up: the practice volume is listed among its sample data."""
        from NeuroSAM2Qt.samples import register_sample

        register_sample(self.resourcePath("Icons/NeuroSAM2Segment.png"))


class NeuroSAM2SegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def setup(self) -> None:
        """Builds the panel. Nothing is installed, downloaded or started here."""
        ScriptedLoadableModuleWidget.setup(self)
        from NeuroSAM2Qt.segment_panel import SegmentPanel

        form = slicer.util.loadUI(self.resourcePath("UI/NeuroSAM2Segment.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        scene = slicer.mrmlScene
        form.setMRMLScene(scene)  # before the panel listens: selectors say at once that nothing is chosen
        self.panel = SegmentPanel(self.ui)
        self.panel.restore()
        self.addObserver(scene, scene.StartCloseEvent, lambda *_: self.panel.begin_closing())
        self.addObserver(scene, scene.StartImportEvent, lambda *_: self.panel.begin_import())
        self.addObserver(scene, scene.EndBatchProcessEvent, lambda *_: self.panel.end_batch(), priority=AFTER_SELECTORS)
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
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()


class NeuroSAM2SegmentTest(ScriptedLoadableModuleTest):
    """Self test: needs neither torch, nor a graphics card, nor a network."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """Runs all."""
        self.setUp()
        self.test_prompts_are_kept_in_the_scene()

    def test_prompts_are_kept_in_the_scene(self) -> None:
        """A volume and a segmentation are chosen, a box is placed; without an engine it waits in the scene."""
        import numpy as np

        from NeuroSAM2Core.prompts import BoxPrompt
        from NeuroSAM2Core.volume import Axis, SlicePlane

        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "test")
        slicer.util.updateVolumeFromArray(volume, np.zeros((8, 32, 32), np.int16))
        panel = slicer.util.getModuleWidget("NeuroSAM2Segment").panel
        panel.ui.volumeSelector.setCurrentNode(volume)
        panel.ui.segmentationSelector.setCurrentNode(panel.workplace.new_segmentation())
        panel.bridge.wake()  # a selector says nothing where the name is the same
        self.assertTrue(panel.ui.boxButton.enabled)
        panel.workplace.act(lambda session: session.add_box(SlicePlane(Axis.K, 4), BoxPrompt(4, 4, 20, 20)))
        panel.bridge.wake()
        segmentation = panel.ui.segmentationSelector.currentNode().GetSegmentation()
        self.assertEqual(segmentation.GetNumberOfSegments(), 1)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 1)
        panel.ui.undoButton.click()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 0)
