"""The segmentation panel while scenes are saved, closed, opened and added, and through its own life. `run.py` runs this; needs no torch."""

import sys
import unittest
from pathlib import Path
from unittest import mock

import slicer

sys.path.append(str(Path(__file__).parent))
from input_simulator import SEGMENT, InputSimulator

LESION = (79, 86, 27)
LOW, HIGH = (66, 75, 27), (92, 97, 27)
NUM_SLICES = 48
LOOKED_AT = (20, 24, 27, 31)


class SceneScenarios(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.inputs = InputSimulator()
        self.addCleanup(self.inputs.put_down)
        self.inputs.begin()

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    @property
    def ui(self):
        return self.inputs.ui

    def outline(self):
        self.inputs.outline(LOW, HIGH)

    def work(self):
        """An object in all slices, and a correction; returns its masks."""
        self.outline()
        self.ui.propagateButton.click()
        self.inputs.settle()
        self.inputs.exclude(*LESION)
        return self.masks()

    def masks(self):
        return [self.inputs.mask(k) for k in LOOKED_AT]

    def quality_strip(self):
        return [self.ui.qualityStripTable.item(0, k).toolTip() for k in range(self.ui.qualityStripTable.columnCount)]

    def save(self):
        path = Path(slicer.util.tempDirectory()) / "scene.mrb"
        slicer.util.saveScene(str(path), {})
        return path

    def check_all_is_there(self, masks, quality_strip):
        """Of `work`; and the next steps go into it and can be taken back."""
        self.inputs.until(lambda: self.inputs.session is not None)
        self.inputs.sit_down()
        self.assertEqual(self.ui.editorWidget.segmentationNode(), self.ui.segmentationSelector.currentNode())
        self.assert_masks(masks)
        self.assertEqual(self.quality_strip(), quality_strip)
        points = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        self.assertEqual(sum(node.GetNumberOfControlPoints() for node in points), 1)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")), 1)
        self.inputs.exclude(LESION[0] + 8, LESION[1], LESION[2])
        self.assertLess(self.inputs.mask(27).sum(), masks[LOOKED_AT.index(27)].sum())
        self.assertTrue(self.ui.undoButton.enabled)
        self.ui.undoButton.click()
        self.inputs.settle()
        self.assert_masks(masks)
        self.ui.continueButton.click()
        self.inputs.settle()
        self.assertEqual(self.inputs.done(), list(range(NUM_SLICES)))

    def assert_masks(self, wanted):
        for found, mask in zip(self.masks(), wanted, strict=True):
            self.assertTrue((found == mask).all())

    def test_a_propagation_is_stopped_and_continued(self):
        self.outline()
        engine = self.inputs.engine
        engine.is_patient = True
        self.ui.propagateButton.click()
        engine.work(6)
        self.inputs.until(lambda: self.ui.progressBar.value >= 1)
        self.assertTrue(self.ui.stopButton.enabled)
        self.ui.stopButton.click()
        engine.is_patient = False
        self.inputs.settle()
        done = self.inputs.done()
        self.assertTrue(1 < len(done) < NUM_SLICES, done)
        self.assertFalse(self.ui.stopButton.enabled)
        self.ui.continueButton.click()
        self.inputs.settle()
        self.assertEqual(self.inputs.done(), list(range(NUM_SLICES)))

    def test_a_scene_that_is_closed_and_opened_again_is_gone_on_with(self):
        masks, quality_strip = self.work(), self.quality_strip()
        path = self.save()
        slicer.mrmlScene.Clear(0)
        self.inputs.until(lambda: self.inputs.session is None)
        self.assertFalse(self.ui.boxButton.enabled)
        slicer.util.loadScene(str(path), {})
        self.check_all_is_there(masks, quality_strip)

    def test_a_scene_opened_before_the_module_is_shown_is_gone_on_with(self):
        masks, quality_strip = self.work(), self.quality_strip()
        path = self.save()
        slicer.util.getModuleWidget(SEGMENT).cleanup()  # there is no panel
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path), {})
        self.inputs.reload()
        self.check_all_is_there(masks, quality_strip)

    def test_a_scene_that_is_added_changes_nothing_that_is_chosen(self):
        self.work()
        path = self.save()
        slicer.mrmlScene.Clear(0)
        self.inputs.begin()
        self.outline()
        session, masks = self.inputs.session, self.masks()
        chosen = self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()
        slicer.util.loadScene(str(path), {})
        slicer.app.processEvents()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), 2)
        self.assertIs(self.inputs.session, session)
        self.assertEqual((self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()), chosen)
        self.assertEqual(self.ui.editorWidget.segmentationNode(), chosen[1])
        self.assert_masks(masks)
        self.inputs.sit_down()
        self.inputs.exclude(*LESION)
        self.assertLess(self.inputs.mask(27).sum(), masks[LOOKED_AT.index(27)].sum())
        self.ui.undoButton.click()
        self.inputs.settle()
        self.assert_masks(masks)

    def test_clicks_go_to_the_other_segmentation_of_the_same_name(self):
        first = self.ui.segmentationSelector.currentNode()
        second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", first.GetName())
        self.ui.segmentationSelector.setCurrentNode(second)
        self.inputs.until(lambda: self.inputs.session.document.segmentation_node is second)
        self.assertEqual(self.ui.editorWidget.segmentationNode(), second)
        self.outline()
        numbers = [node.GetSegmentation().GetNumberOfSegments() for node in (first, second)]
        self.assertEqual(numbers, [0, 1])
        self.ui.segmentationSelector.setCurrentNode(first)
        self.inputs.until(lambda: self.inputs.session.document.segmentation_node is first)

    def test_without_a_main_window_there_are_no_keys_and_all_else_works(self):
        with mock.patch.object(slicer.util, "mainWindow", lambda: None):
            self.inputs.reload()
            self.assertEqual(self.inputs.panel.shortcuts.active(), ())
            self.outline()
            self.assertTrue(self.inputs.mask(27)[LESION[1], LESION[0]])
            self.inputs.panel.exit()
            self.inputs.panel.enter()
        self.inputs.reload()

    def test_after_a_reload_the_new_panel_goes_on_and_the_old_one_does_not(self):
        masks, old = self.work(), self.inputs.panel
        chosen = self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()
        self.inputs.reload()
        self.assertIsNot(self.inputs.panel, old)
        self.assertEqual((self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()), chosen)
        self.assertEqual(bool(self.inputs.panel.shortcuts.active()), slicer.util.mainWindow() is not None)
        old.ui.volumeSelector.setCurrentNode(None)
        old.bridge.wake()
        self.assertFalse(old.bridge.timer.isActive())
        self.assertIsNone(old.segment_presenter.session)
        self.check_all_is_there(masks, self.quality_strip())

    def test_the_panel_asks_for_the_same_width_in_every_state(self):
        parent = slicer.util.getModuleWidget(SEGMENT).parent
        asked = []

        def note():
            slicer.app.processEvents()
            parent.layout().activate()
            asked.append(parent.layout().minimumSize().width())

        note()
        self.outline()
        note()
        self.inputs.engine.is_patient = True
        self.ui.propagateButton.click()
        self.inputs.engine.work(6)
        self.inputs.until(lambda: self.ui.progressBar.value >= 1)
        note()
        self.inputs.engine.kill()
        slicer.app.processEvents()
        note()
        self.inputs.settle()
        note()
        slicer.mrmlScene.Clear(0)
        note()
        self.assertEqual(set(asked), {asked[0]})

    def test_show_3d_stays_on_while_the_object_is_carried_through_the_slices(self):
        self.outline()
        segmentation = self.ui.segmentationSelector.currentNode().GetSegmentation()
        segmentation.CreateRepresentation("Closed surface")  # what the button Show 3D does
        self.ui.propagateButton.click()
        self.inputs.settle()
        self.assertTrue(segmentation.ContainsRepresentation("Closed surface"))
