"""Both panels with the real engine and the real trainer, in Slicer's own Python where PyTorch is there, and in another Python.

`run.py` runs this. The other Python is named by the variable NEUROSAM2_TEST_PYTHON: the program `python` of an environment with PyTorch.
"""

import importlib.util
import os
import sys
import unittest
from pathlib import Path

import slicer

sys.path.append(str(Path(__file__).parent))
from input_simulator import SEGMENT, TRAIN, InputSimulator, add_volume, reload, show
from NeuroSAM2Lib.engine.choice import EngineChoice, Place, training_plan

from Testing.Support.small_run import AS_TEXT
from Testing.Support.volumes import ball_volume

START_S = 120.0
"""For an engine, or a run, to start."""
SHAPE, MIDDLE = (10, 64, 64), 5
LOW, HIGH = (15, 13, 5), (48, 50, 5)
"""(i, j, k), around the ball."""
MANY_STEPS = 5000
OWN = importlib.util.find_spec("torch") is not None
OTHER = os.environ.get("NEUROSAM2_TEST_PYTHON", "")


class _WithVolume(unittest.TestCase):
    has_engine = True

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.inputs = InputSimulator(has_engine=self.has_engine)
        self.before = self.inputs.panel.segment_presenter.choice
        self.addCleanup(self.inputs.put_down)
        volume, self.truth = ball_volume(SHAPE)
        self.inputs.begin(add_volume(volume.voxels, "ball"))

    def tearDown(self):
        self.use(self.before)
        slicer.mrmlScene.Clear(0)

    def use(self, choice):
        """A person chooses an engine."""
        self.inputs.panel.engine.show(choice)
        self.inputs.ui.useEngineButton.click()
        self.assertEqual(self.inputs.panel.segment_presenter.choice, choice)

    def outline(self):
        self.inputs.ui.boxButton.click()
        self.inputs.drag(LOW, HIGH)
        self.inputs.settle(START_S)


class EngineScenarios(_WithVolume):
    def test_in_slicers_own_python_a_killed_worker_loses_nothing(self):
        if not OWN:
            self.skipTest("PyTorch is not installed in Slicer's Python")
        self.use(EngineChoice())
        self.check_a_killed_worker_loses_nothing()

    def test_in_another_python_a_killed_worker_loses_nothing(self):
        if not OTHER:
            self.skipTest("NEUROSAM2_TEST_PYTHON names no other Python")
        self.use(EngineChoice(place=Place.INTERPRETER, interpreter=OTHER))
        self.check_a_killed_worker_loses_nothing()

    def check_a_killed_worker_loses_nothing(self):
        inputs, ui = self.inputs, self.inputs.ui
        self.outline()
        mask, truth = inputs.mask(MIDDLE), self.truth[MIDDLE]
        self.assertGreater(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), 0.8)
        ui.propagateButton.click()
        inputs.until(lambda: len(inputs.done()) > 2, START_S)
        kept = {k: inputs.mask(k) for k in inputs.done()}
        inputs.engine.worker.process.kill()
        inputs.until(lambda: inputs.engine is None or inputs.engine.worker.process.poll() is None, START_S)
        self.assert_masks(kept)
        if ui.stateButton.isVisibleTo(ui.stateButton.parent()):
            ui.stateButton.click()
        inputs.settle(START_S)
        self.assert_masks(kept)
        if ui.continueButton.enabled:
            ui.continueButton.click()
            inputs.settle(START_S)
        self.assertEqual(inputs.done(), list(range(SHAPE[0])))
        ui.undoButton.click()
        inputs.settle(START_S)
        self.assertTrue((inputs.mask(MIDDLE) == mask).all())

    def assert_masks(self, wanted):
        for k, mask in wanted.items():
            self.assertTrue((self.inputs.mask(k) == mask).all(), k)


class TrainingScenarios(_WithVolume):
    has_engine = False  # an outline is all that is needed of one

    def setUp(self):
        super().setUp()
        self.folder = self.ui.folderEdit.currentPath
        self.ui.folderEdit.currentPath = slicer.util.tempDirectory()

    def tearDown(self):
        if self.controller.is_running:
            self.controller._training.kill()
            self.inputs.until(lambda: not self.ui.stopButton.enabled)
        self.ui.folderEdit.currentPath = self.folder
        show(SEGMENT)
        super().tearDown()

    @property
    def panel(self):
        return slicer.util.getModuleWidget(TRAIN).panel

    @property
    def ui(self):
        return self.panel.ui

    @property
    def controller(self):
        return self.panel.presenter.controller

    def stop(self):
        """By the button; nothing is left running."""
        program = self.controller._training
        self.assertTrue(program.members())
        self.ui.stopButton.click()
        self.inputs.until(lambda: not self.ui.stopButton.enabled, START_S)
        self.assertEqual(self.ui.stateLabel.text, "The run was stopped.")
        self.assertEqual(program.members(), [])

    @unittest.skipUnless(
        OWN or OTHER, "PyTorch is not in Slicer's Python, and NEUROSAM2_TEST_PYTHON names no other Python"
    )
    def test_a_run_is_stopped_continued_and_found_again(self):
        choice = EngineChoice() if OWN else EngineChoice(place=Place.INTERPRETER, interpreter=OTHER)
        missing = training_plan(self.panel.installer.found(choice.place)).sentence
        if missing:
            self.skipTest(missing)
        self.use(choice)
        self.outline()
        show(TRAIN)
        self.ui.addButton.click()
        self.inputs.until(lambda: not self.panel.presenter.is_adding)
        self.assertEqual(self.ui.casesTable.rowCount, 1, self.ui.stateLabel.text)
        self.ui.stepsSpinBox.value = MANY_STEPS
        self.ui.settingsEdit.setPlainText(AS_TEXT)
        self.ui.startButton.click()
        self.assertTrue(self.ui.stopButton.enabled, self.ui.stateLabel.text)
        self.inputs.until(lambda: self.controller.view.step > 0 or not self.controller.is_running, START_S)
        self.stop()
        step = self.controller.view.step
        self.ui.continueButton.click()
        self.assertTrue(self.ui.stopButton.enabled, self.ui.stateLabel.text)
        before = self.panel
        reload(TRAIN)
        self.assertIsNot(self.panel, before)
        self.assertEqual(self.ui.stateLabel.text, "Training goes on (started before).")
        self.inputs.until(lambda: self.controller.view.step > step or not self.controller.is_running, START_S)
        self.assertTrue(self.controller.is_running, self.controller.log(2000))
        self.assertEqual(self.ui.progressBar.value, self.controller.view.step)
        self.stop()


del _WithVolume  # it has no tests, and is not to be found as if it had
