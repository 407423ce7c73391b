"""The whole road of a person in a real browser: from a DICOM folder to a corrected, named, measured and exported object, and back."""

import highdicom
import numpy as np
import pytest
import SimpleITK

from NeuroSAM2Core import disk
from Testing.Support.dicom_series import write_dicom_series
from Testing.Support.volumes import ball_volume
from Testing.Web.file_helpers import download, open_file, save, wait_volume
from Testing.Web.test_view_panel import wait_3d, wait_coloured
from Testing.Web.visit import AppProcess, Visit

SHAPE = (24, 48, 48)
ML = 2 * 1 * 1 / 1000
"""Of a voxel."""
MIDDLE = 0.5, 0.5
NAME = "left lesion"


class Steps:
    """What a person has done, and what there was after each step."""

    def __init__(self, visit):
        self.visit = visit
        self.seen = [("", *self._look())]

    def note(self):
        """A step is over."""
        self.visit.wait_quiet()
        tip = self.visit.state("undo_tip")
        assert tip not in [one[0] for one in self.seen], "or waiting for it would wait for nothing"
        self.seen.append((tip, *self._look()))

    def check_undo(self):
        """All is taken back by the keyboard, step by step."""
        for before in self.seen[-2::-1]:
            self._move("Control+z", before)

    def check_redo(self):
        """All is done again."""
        for after in self.seen[1:]:
            self._move("Control+y", after)

    def _move(self, key, wanted):
        tip, objects, voxels = wanted
        self.visit.key(key)
        if tip:
            self.visit.page.wait_for_function("tip => trame.state.get('undo_tip') === tip", arg=tip)
        else:
            self.visit.page.wait_for_function("trame.state.get('objects').length === 0")
        self.visit.wait_quiet()
        found = self._look()
        assert found[0] == objects
        np.testing.assert_array_equal(found[1], voxels, err_msg=f"{key} to {tip}")

    def _look(self):
        """The list of objects, and the voxels of the first."""
        shown = ("name", "ml", "done", "prompted", "confirmed", "prompts")
        objects = [{key: one[key] for key in shown} for one in self.visit.state("objects")]
        return objects, self.visit.app.voxels(SHAPE) if objects else np.zeros(SHAPE, bool)


@pytest.fixture
def visit(browser, tmp_path):
    """A page of the app, started in a folder with the DICOM files of a study."""
    home = tmp_path / "home"
    write_dicom_series(home / "study", ball_volume(SHAPE)[0].voxels, description="T1")
    write_dicom_series(home / "study", np.full((3, 32, 32), 100), description="localizer")
    with AppProcess(home) as app, Visit(browser, app) as visiting:
        visiting.wait_ready()
        yield visiting
        assert not visiting.errors, visiting.errors


def test_from_a_dicom_folder_to_results_and_every_step_back(visit, tmp_path):
    page = visit.page
    open_file(visit, visit.app.home / "study")
    page.get_by_role("button", name="DICOM in this folder").click()
    page.locator("[data-test=series]").get_by_role("button", name="T1").click()
    wait_volume(visit, "study")
    steps = Steps(visit)

    visit.take("x", "box")
    visit.drag((0.15, 0.18), (0.85, 0.82))
    visit.wait_object("ml > 0")
    steps.note()
    visit.key("a")
    visit.wait_object("done >= 12")
    steps.note()
    carried = float(visit.object()["ml"])
    visit.wheel(2)
    visit.take("n", "negative")
    visit.click(*MIDDLE)
    visit.wait_object(f"prompts === 2 && ml < {carried}")
    visit.key("n")
    steps.note()
    page.get_by_text("object 1", exact=True).dblclick()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Name", exact=True).press("Enter")
    page.wait_for_selector(f'[data-object="{NAME}"]')
    steps.note()
    visit.take("Shift+P", "brush")
    visit.click(0.2, 0.2)
    page.wait_for_function("trame.state.get('undo_tip') === 'Take back: Brush'")
    visit.key("Shift+P")
    steps.note()
    there = steps.seen[-1][2]

    page.get_by_role("button", name="Measurements").click()
    page.wait_for_selector(f'[data-measured="{NAME}"]')
    ml = float(page.locator(f'[data-measured="{NAME}"] td').nth(2).inner_text())
    assert ml == pytest.approx(there.sum() * ML, abs=0.006)
    page.get_by_role("button", name="Close", exact=True).last.click()

    check_labels(save(visit, "NIfTI labels", "mask.nii.gz"), visit.app.home / "study", there)
    kept = tmp_path / "kept"
    kept.mkdir()
    check_dicom_seg(download(visit, "DICOM systems", kept)[0], there)

    visit.key("4")
    wait_3d(visit)
    wait_coloured(visit, "n > 200")
    steps.check_undo()
    wait_coloured(visit, "n === 0")
    steps.check_redo()
    wait_coloured(visit, "n > 200")


def check_labels(path, folder, there):
    """In SimpleITK the label map lies on the DICOM series, voxel by voxel."""
    image = SimpleITK.ReadImage([disk.as_utf8(one) for one in sorted(folder.glob("T1_*"))])
    labels = SimpleITK.ReadImage(disk.as_utf8(path))
    for corner in ((0, 0, 0), (47, 47, 23), (47, 0, 23)):
        places = [one.TransformIndexToPhysicalPoint(corner) for one in (image, labels)]
        np.testing.assert_allclose(*places, atol=1e-3)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(labels) > 0, there)


def check_dicom_seg(path, there):
    """In highdicom the segment has its name, and as many voxels."""
    seg = highdicom.seg.segread(path)
    assert seg.get_segment_description(1).segment_label == NAME
    assert (seg.get_volume(combine_segments=True).array == 1).sum() == there.sum()
