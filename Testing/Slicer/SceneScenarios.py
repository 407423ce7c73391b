"""The segmentation panel while scenes are saved, closed, opened and added, and through its own life. `run.py` runs this; needs no torch."""

import sys
import unittest
from pathlib import Path
from unittest import mock

import slicer

sys.path.append(str(Path(__file__).parent))
from hands import SEGMENT, Hands

LESION = (79, 86, 27)
LOW, HIGH = (66, 75, 27), (92, 97, 27)
NUM_SLICES = 48
LOOKED_AT = (20, 24, 27, 31)


class SceneScenarios(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.hands = Hands()
        self.addCleanup(self.hands.put_down)
        self.hands.begin()

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    @property
    def ui(self):
        return self.hands.ui

    def outline(self):
        self.hands.outline(LOW, HIGH)

    def work(self):
        """An object in all slices, and a correction; returns its masks."""
        self.outline()
        self.ui.propagateButton.click()
        self.hands.settle()
        self.hands.exclude(*LESION)
        return self.masks()

    def masks(self):
        return [self.hands.mask(k) for k in LOOKED_AT]

    def ribbon(self):
        return [self.ui.ribbonTable.item(0, k).toolTip() for k in range(self.ui.ribbonTable.columnCount)]

    def save(self):
        path = Path(slicer.util.tempDirectory()) / "scene.mrb"
        slicer.util.saveScene(str(path), {})
        return path

    def check_all_is_there(self, masks, ribbon):
        """Of `work`; and the next steps go into it and can be taken back."""
        self.hands.until(lambda: self.hands.session is not None)
        self.hands.sit_down()
        self.assertEqual(self.ui.editorWidget.segmentationNode(), self.ui.segmentationSelector.currentNode())
        self.assert_masks(masks)
        self.assertEqual(self.ribbon(), ribbon)
        points = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        self.assertEqual(sum(node.GetNumberOfControlPoints() for node in points), 1)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")), 1)
        self.hands.exclude(LESION[0] + 8, LESION[1], LESION[2])
        self.assertLess(self.hands.mask(27).sum(), masks[LOOKED_AT.index(27)].sum())
        self.assertTrue(self.ui.undoButton.enabled)
        self.ui.undoButton.click()
        self.hands.settle()
        self.assert_masks(masks)
        self.ui.continueButton.click()
        self.hands.settle()
        self.assertEqual(self.hands.done(), list(range(NUM_SLICES)))

    def assert_masks(self, wanted):
        for found, mask in zip(self.masks(), wanted, strict=True):
            self.assertTrue((found == mask).all())

    def test_a_propagation_is_stopped_and_continued(self):
        self.outline()
        engine = self.hands.engine
        engine.is_patient = True
        self.ui.propagateButton.click()
        engine.work(6)
        self.hands.until(lambda: self.ui.progressBar.value >= 1)
        self.assertTrue(self.ui.stopButton.enabled)
        self.ui.stopButton.click()
        engine.is_patient = False
        self.hands.settle()
        done = self.hands.done()
        self.assertTrue(1 < len(done) < NUM_SLICES, done)
        self.assertFalse(self.ui.stopButton.enabled)
        self.ui.continueButton.click()
        self.hands.settle()
        self.assertEqual(self.hands.done(), list(range(NUM_SLICES)))

    def test_a_scene_that_is_closed_and_opened_again_is_gone_on_with(self):
        masks, ribbon = self.work(), self.ribbon()
        path = self.save()
        slicer.mrmlScene.Clear(0)
        self.hands.until(lambda: self.hands.session is None)
        self.assertFalse(self.ui.boxButton.enabled)
        slicer.util.loadScene(str(path), {})
        self.check_all_is_there(masks, ribbon)

    def test_a_scene_opened_before_the_module_is_shown_is_gone_on_with(self):
        masks, ribbon = self.work(), self.ribbon()
        path = self.save()
        slicer.util.getModuleWidget(SEGMENT).cleanup()  # there is no panel
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path), {})
        self.hands.reload()
        self.check_all_is_there(masks, ribbon)

    def test_a_scene_that_is_added_changes_nothing_that_is_chosen(self):
        self.work()
        path = self.save()
        slicer.mrmlScene.Clear(0)
        self.hands.begin()
        self.outline()
        session, masks = self.hands.session, self.masks()
        chosen = self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()
        slicer.util.loadScene(str(path), {})
        slicer.app.processEvents()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), 2)
        self.assertIs(self.hands.session, session)
        self.assertEqual((self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()), chosen)
        self.assertEqual(self.ui.editorWidget.segmentationNode(), chosen[1])
        self.assert_masks(masks)
        self.hands.sit_down()
        self.hands.exclude(*LESION)
        self.assertLess(self.hands.mask(27).sum(), masks[LOOKED_AT.index(27)].sum())
        self.ui.undoButton.click()
        self.hands.settle()
        self.assert_masks(masks)

    def test_clicks_go_to_the_other_segmentation_of_the_same_name(self):
        first = self.ui.segmentationSelector.currentNode()
        second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", first.GetName())
        self.ui.segmentationSelector.setCurrentNode(second)
        self.hands.until(lambda: self.hands.session.desk.segmentation_node is second)
        self.assertEqual(self.ui.editorWidget.segmentationNode(), second)
        self.outline()
        numbers = [node.GetSegmentation().GetNumberOfSegments() for node in (first, second)]
        self.assertEqual(numbers, [0, 1])
        self.ui.segmentationSelector.setCurrentNode(first)
        self.hands.until(lambda: self.hands.session.desk.segmentation_node is first)

    def test_without_a_main_window_there_are_no_keys_and_all_else_works(self):
        with mock.patch.object(slicer.util, "mainWindow", lambda: None):
            self.hands.reload()
            self.assertEqual(self.hands.panel.shortcuts.active(), ())
            self.outline()
            self.assertTrue(self.hands.mask(27)[LESION[1], LESION[0]])
            self.hands.panel.exit()
            self.hands.panel.enter()
        self.hands.reload()

    def test_after_a_reload_the_new_panel_goes_on_and_the_old_one_does_not(self):
        masks, old = self.work(), self.hands.panel
        chosen = self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()
        self.hands.reload()
        self.assertIsNot(self.hands.panel, old)
        self.assertEqual((self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()), chosen)
        self.assertEqual(bool(self.hands.panel.shortcuts.active()), slicer.util.mainWindow() is not None)
        old.ui.volumeSelector.setCurrentNode(None)
        old.bridge.wake()
        self.assertFalse(old.bridge.timer.isActive())
        self.assertIsNone(old.workplace.session)
        self.check_all_is_there(masks, self.ribbon())

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
        self.hands.engine.is_patient = True
        self.ui.propagateButton.click()
        self.hands.engine.work(6)
        self.hands.until(lambda: self.ui.progressBar.value >= 1)
        note()
        self.hands.engine.kill()
        slicer.app.processEvents()
        note()
        self.hands.settle()
        note()
        slicer.mrmlScene.Clear(0)
        note()
        self.assertEqual(set(asked), {asked[0]})

    def test_show_3d_stays_on_while_the_object_is_carried_through_the_slices(self):
        self.outline()
        segmentation = self.ui.segmentationSelector.currentNode().GetSegmentation()
        segmentation.CreateRepresentation("Closed surface")  # what the button Show 3D does
        self.ui.propagateButton.click()
        self.hands.settle()
        self.assertTrue(segmentation.ContainsRepresentation("Closed surface"))
