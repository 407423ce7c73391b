"""From a DICOM folder to a corrected, named, measured and exported object with a 3D view, and every step back.

`run.py` runs this; needs no torch. What is exported is read with SimpleITK and pydicom, which Slicer brings along.
"""

import importlib.util
import itertools
import sys
import unittest
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
import slicer
from DICOMLib import DICOMUtils

sys.path.append(str(Path(__file__).parent))
from input_simulator import InputSimulator
from NeuroSAM2Lib.scene.files.exporting import ExportFormat

from NeuroSAM2Core import disk
from Testing.Support.dicom_series import write_dicom_series
from Testing.Support.volumes import ball_volume

SHAPE, MIDDLE = (12, 48, 48), 6
LOW, HIGH = (10, 8, MIDDLE), (37, 39, MIDDLE)
"""(i, j, k), around the ball."""
NAME = "left lesion"
SURFACE = "Closed surface"


class DicomScenarios(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.inputs = InputSimulator()
        self.addCleanup(self.inputs.put_down)
        self.folder = Path(slicer.util.tempDirectory())
        self.inputs.begin(self.load())

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    @property
    def ui(self):
        return self.inputs.ui

    @property
    def segmentation(self):
        return self.ui.segmentationSelector.currentNode().GetSegmentation()

    def load(self):
        """One series of a study, through Slicer's DICOM database."""
        study = self.folder / "study"
        uid = write_dicom_series(study, ball_volume(SHAPE)[0].voxels, description="T1")
        write_dicom_series(study, np.full((3, 32, 32), 100), description="localizer")
        database = self.enterContext(DICOMUtils.TemporaryDICOMDatabase())
        DICOMUtils.importDicom(str(study), database)
        (node_id,) = DICOMUtils.loadSeriesByUID([uid])
        return slicer.mrmlScene.GetNodeByID(node_id)

    def voxels(self):
        """Of the first object; the segmentation may have none."""
        if not self.segmentation.GetNumberOfSegments():
            return np.zeros(SHAPE, bool)
        return np.stack([self.inputs.mask(k) for k in range(SHAPE[0])])

    def look(self):
        """Names and prompts of the objects, and the voxels of the first one."""
        document = self.inputs.session.document
        about = [(document.objects.name(number), one.prompts) for number, one in document.records.items()]
        return about, self.voxels()

    def work(self):
        """Does all steps; yields after each of them."""
        ui = self.ui
        self.inputs.outline(LOW, HIGH)
        yield
        ui.propagateButton.click()
        self.inputs.settle()
        yield
        self.inputs.exclude(24, 24, MIDDLE + 2)
        yield
        self.inputs.until(lambda: ui.objectTable.rowCount == 1)
        ui.objectTable.item(0, 1).setText(NAME)
        self.inputs.until(lambda: self.segmentation.GetNthSegment(0).GetName() == NAME)
        yield
        ui.editorWidget.saveStateForUndo()  # as Paint does before it draws
        chosen = self.ui.segmentationSelector.currentNode(), self.segmentation.GetNthSegmentID(0)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(*chosen, ui.volumeSelector.currentNode()).copy()
        voxels[MIDDLE, 2:6, 2:6] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, *chosen, ui.volumeSelector.currentNode())
        yield

    def test_every_step_to_the_results_is_taken_back_and_done_again(self):
        seen = [self.look()]
        for _ in self.work():
            seen.append(self.look())
        for before, after in itertools.pairwise(seen):
            self.assertFalse(before[0] == after[0] and (before[1] == after[1]).all(), "a step that does nothing")
        self.segmentation.CreateRepresentation(SURFACE)  # what the button Show 3D does
        self.check_results(seen[-1][1])
        for button, states in ((self.ui.undoButton, seen[-2::-1]), (self.ui.redoButton, seen[1:])):
            for about, voxels in states:
                button.click()
                self.inputs.settle()
                found = self.look()
                self.assertEqual(found[0], about)
                np.testing.assert_array_equal(found[1], voxels)
        self.inputs.until(lambda: self.num_surface_points() > 0)

    def num_surface_points(self):
        surface = self.segmentation.GetNthSegment(0).GetRepresentation(SURFACE)
        return surface.GetNumberOfPoints() if surface else 0

    def check_results(self, voxels):
        self.assertGreater(self.num_surface_points(), 0)
        ui = self.ui
        ui.measurementsSection.collapsed = False
        self.inputs.until(lambda: ui.measureButton.enabled)
        ui.measureButton.click()
        self.inputs.until(lambda: ui.measurementsTable.rowCount == 1)
        self.assertEqual(ui.measurementsTable.item(0, 0).text(), NAME)
        self.assertEqual(ui.measurementsTable.item(0, 1).text(), str(int(voxels.sum())))
        labels = SimpleITK.ReadImage(disk.as_utf8(self.export(ExportFormat.NIFTI)))
        image = SimpleITK.ReadImage([disk.as_utf8(one) for one in sorted((self.folder / "study").glob("T1_*"))])
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(labels) > 0, voxels)
        corner = [size - 1 for size in image.GetSize()]
        places = [one.TransformIndexToPhysicalPoint(corner) for one in (labels, image)]
        np.testing.assert_allclose(*places, atol=1e-3)
        if importlib.util.find_spec("highdicom"):  # Slicer does not bring it along
            seg = pydicom.dcmread(self.export(ExportFormat.DICOM))
            self.assertEqual(seg.SegmentSequence[0].SegmentLabel, NAME)
            self.assertEqual(seg.pixel_array.astype(bool).sum(), voxels.sum())

    def export(self, kind):
        path = self.folder / f"out{kind.value}"
        self.inputs.panel.files.ask_path = lambda name, kind: str(path)
        self.ui.exportSelector.setCurrentIndex(list(ExportFormat).index(kind))
        self.ui.exportButton.click()
        self.inputs.until(lambda: path.name in self.ui.stateLabel.text)  # the file is there a moment before
        return path
