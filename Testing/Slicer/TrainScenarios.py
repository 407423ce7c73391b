"""The training panel in a running Slicer, without training. `run.py` runs this; needs no torch."""

import importlib.util
import sys
import unittest
from pathlib import Path
from unittest import mock

import slicer

sys.path.append(str(Path(__file__).parent))
from input_simulator import TRAIN, InputSimulator, show


class TrainScenarios(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.inputs = InputSimulator()
        self.addCleanup(self.inputs.put_down)
        self.panel = slicer.util.getModuleWidget(TRAIN).panel
        self.ui = self.panel.ui
        self.before = self.ui.folderEdit.currentPath
        self.ui.folderEdit.currentPath = slicer.util.tempDirectory()

    def tearDown(self):
        self.ui.folderEdit.currentPath = self.before
        slicer.mrmlScene.Clear(0)

    def test_an_empty_project_leads_to_its_first_case(self):
        show(TRAIN)
        self.assertFalse(self.ui.startButton.enabled)
        self.assertFalse(self.ui.lookButton.enabled)
        self.assertIn("Add the cases", self.ui.stateLabel.text)
        self.assertFalse(self.ui.nextSampleButton.isVisibleTo(self.ui.samplesSection))

    @unittest.skipUnless(importlib.util.find_spec("nibabel"), "nibabel writes the cases and is not installed")
    def test_the_current_case_comes_on_the_list(self):
        sys.modules["isal"] = None  # a faster way to compress, which Slicer's Python lacks
        self.addCleanup(sys.modules.pop, "isal", None)
        self.inputs.begin()
        self.inputs.outline((66, 75, 27), (92, 97, 27))
        show(TRAIN)
        with mock.patch.object(
            self.panel.installer, "has_training_packages", lambda *_: True
        ):  # torch is not needed here
            self.ui.addButton.click()
        self.inputs.until(lambda: not self.panel.presenter.is_adding)
        self.assertEqual(self.ui.casesTable.rowCount, 1)
        self.assertTrue(self.ui.startButton.enabled)
        self.assertTrue(self.ui.lookButton.enabled)
