"""NeuroSAM2 Segment: outline objects in a brain volume by clicking, and carry the outlines through all slices."""

import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from vtk.util.misc import calldata_type

# From a source tree the packages lie beside and above this folder; once installed they lie in this very folder.
for folder in (Path(__file__).parents[1], Path(__file__).parents[2]):
    if (folder / "NeuroSAM2Qt").is_dir() or (folder / "NeuroSAM2Core").is_dir():
        sys.path.append(str(folder))


BEFORE_SELECTORS, AFTER_SELECTORS = 100.0, -100.0
"""Priorities of observers that are called before or after all node selectors, also those inside the embedded editor."""


class NeuroSAM2Segment(ScriptedLoadableModule):
    """What the module is."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NeuroSAM2 Segment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Markups", "Volumes"]
        self.parent.contributors = ["The NeuroSAM2 team"]
        from NeuroSAM2Qt.help_text import module_help, segment_help

        self.parent.helpText = module_help(segment_help(), self.resourcePath("Help/NeuroSAM2Segment.png"))
        self.parent.acknowledgementText = _("Built on SAM 2 by Meta AI (Apache-2.0).")
        slicer.app.connect("startupCompleted()", self.register_sample)

    def register_sample(self) -> None:
        """Slicer is up: the practice volume is listed among its sample data."""
        from NeuroSAM2Qt.application import register_sample

        register_sample(self.resourcePath("Icons/PracticeHead.png"))


class NeuroSAM2SegmentLogic(ScriptedLoadableModuleLogic):
    """What there is without widgets: `slicer.util.getModuleLogic("NeuroSAM2Segment").segment_presenter` has the session and the engine.

    What the scene remembers of the module is in its parameter node.

    Args:
        editor: The segment editor that has the undo history.
    """

    def __init__(self, editor: object) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        from NeuroSAM2Qt.segment_panel import new_segment_presenter

        self.segment_presenter = new_segment_presenter(editor)

    def close(self) -> None:
        """Ends the session and the engine."""
        self.segment_presenter.close()


class NeuroSAM2SegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = self.logic = None

    def setup(self) -> None:
        """Builds the panel. Nothing is installed, downloaded or started here."""
        ScriptedLoadableModuleWidget.setup(self)
        from NeuroSAM2Qt.segment_panel import SegmentPanel

        form = slicer.util.loadUI(self.resourcePath("UI/NeuroSAM2Segment.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        scene = slicer.mrmlScene
        form.setMRMLScene(scene)  # before the panel listens: selectors say at once that nothing is chosen
        self.logic = NeuroSAM2SegmentLogic(self.ui.editorWidget)
        self.panel = SegmentPanel(self.ui, self.logic.segment_presenter)
        self.panel.restore()
        for event, act, priority in (
            (scene.StartCloseEvent, lambda *_: self.panel.begin_closing(), BEFORE_SELECTORS),
            (scene.StartImportEvent, lambda *_: self.panel.begin_import(), BEFORE_SELECTORS),
            (scene.NodeAboutToBeRemovedEvent, self.on_removal, BEFORE_SELECTORS),
            (scene.EndBatchProcessEvent, lambda *_: self.panel.end_batch(), AFTER_SELECTORS),
        ):
            self.addObserver(scene, event, act, priority=priority)
        if (
            self.parent.isVisible()
        ):  # Slicer calls `enter` when it shows a module, and not when it loads the shown one anew
            self.enter()

    @calldata_type(vtk.VTK_OBJECT)
    def on_removal(self, _scene: object, _event: object, node: object) -> None:
        """A node is about to be deleted."""
        self.panel.let_go(node)

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
            self.logic.close()


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
        panel.ui.segmentationSelector.setCurrentNode(panel.segment_presenter.new_segmentation())
        panel.bridge.wake()  # a selector says nothing where the name is the same
        self.assertTrue(panel.ui.boxButton.enabled)
        panel.segment_presenter.act(lambda session: session.add_box(SlicePlane(Axis.K, 4), BoxPrompt(4, 4, 20, 20)))
        panel.bridge.wake()
        segmentation = panel.ui.segmentationSelector.currentNode().GetSegmentation()
        self.assertEqual(segmentation.GetNumberOfSegments(), 1)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 1)
        panel.ui.undoButton.click()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 0)
