"""The segmentation panel in a running Slicer, through its buttons and the mouse in a slice view. `run.py` runs this; needs no torch."""

import sys
import unittest
from pathlib import Path

import slicer

sys.path.append(str(Path(__file__).parent))
from input_simulator import InputSimulator

LESION = (79, 86, 27)
"""(i, j, k) of the practice volume's lesion."""
LOW, HIGH = (66, 75, 27), (92, 97, 27)


class SegmentScenarios(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.inputs = InputSimulator()
        self.addCleanup(self.inputs.put_down)
        self.ui = self.inputs.ui
        self.inputs.begin()

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    def outline(self):
        self.inputs.outline(LOW, HIGH)

    def test_a_box_becomes_an_outline_and_is_carried_through_the_slices(self):
        self.outline()
        self.assertTrue(self.inputs.mask(27)[LESION[1], LESION[0]])
        self.assertFalse(self.ui.boxButton.checked)
        self.ui.propagateButton.click()
        self.inputs.settle()
        self.assertTrue(self.inputs.mask(20).any())
        self.assertEqual(self.ui.qualityStripTable.columnCount, 48)
        self.assertIn("has your prompts", self.ui.qualityStripTable.item(0, 27).toolTip())

    def test_points_are_previewed_placed_and_taken_back(self):
        self.outline()
        before = self.inputs.mask(27).sum()
        self.ui.negativeButton.click()
        self.inputs.hover(*LESION)
        self.inputs.until(lambda: self.inputs.session.preview.outline.is_shown)
        self.assertEqual(self.inputs.mask(27).sum(), before)
        self.inputs.click(*LESION)
        self.inputs.settle()
        self.assertLess(self.inputs.mask(27).sum(), before)
        self.ui.negativeButton.click()
        self.assertFalse(self.inputs.session.preview.outline.is_shown)
        self.ui.undoButton.click()
        self.inputs.settle()
        self.assertEqual(self.inputs.mask(27).sum(), before)

    def test_manual_edits_and_clicks_share_one_undo_stack(self):
        self.outline()
        outlined = self.inputs.mask(27)
        editor, document = self.ui.editorWidget, self.inputs.session.document
        editor.saveStateForUndo()
        name = document.objects.segment_id(document.active)
        volume, segmentation = self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, volume).copy()
        voxels[10, 40:60, 40:60] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, name, volume)
        self.assertTrue(self.inputs.mask(10).any())
        self.ui.undoButton.click()
        self.assertFalse(self.inputs.mask(10).any())
        self.assertTrue((self.inputs.mask(27) == outlined).all())
        self.ui.undoButton.click()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 0)

    def test_the_box_is_drawn_whatever_else_the_mouse_would_do(self):
        editor, display = self.ui.editorWidget, self.ui.volumeSelector.currentNode().GetDisplayNode()
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        self.outline()
        interaction.SetCurrentInteractionMode(interaction.AdjustWindowLevel)
        before = display.GetWindow(), display.GetLevel()
        self.outline()
        self.assertEqual((display.GetWindow(), display.GetLevel()), before)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self.inputs.until(lambda: not self.ui.boxButton.checked)
        editor.setActiveEffectByName("Paint")
        self.ui.boxButton.click()
        self.assertIsNone(editor.activeEffect())
        editor.setActiveEffectByName("Paint")
        self.inputs.until(lambda: not self.ui.boxButton.checked)
        editor.setActiveEffectByName("")

    def test_show_3d_stays_on_through_answers_and_undo(self):
        self.outline()
        segmentation = self.ui.segmentationSelector.currentNode().GetSegmentation()
        self.ui.negativeButton.click()
        self.inputs.click(*LESION)
        self.inputs.settle()
        self.ui.negativeButton.click()
        segmentation.CreateRepresentation("Closed surface")  # what the button Show 3D does
        for act in (self.ui.undoButton.click, self.ui.redoButton.click, self.outline, self.ui.nextObjectButton.click):
            act()
            self.inputs.settle()
            self.assertTrue(segmentation.ContainsRepresentation("Closed surface"))

    def test_a_confirmed_slice_stays_as_it_is(self):
        self.outline()
        self.ui.propagateButton.click()
        self.inputs.settle()
        self.inputs.set_visible_plane(79, 86, 20)
        self.ui.confirmButton.click()
        kept = self.inputs.mask(20)
        self.inputs.set_visible_plane(*LESION)
        self.outline()
        self.ui.continueButton.click()
        self.inputs.settle()
        self.assertTrue((self.inputs.mask(20) == kept).all())

    def test_leaving_the_module_puts_tools_and_keys_down(self):
        self.ui.positiveButton.click()
        self.assertTrue(self.inputs.panel.shortcuts.active())
        self.inputs.panel.exit()
        self.assertFalse(self.inputs.panel.shortcuts.active())
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        self.assertEqual(interaction.GetCurrentInteractionMode(), interaction.ViewTransform)
