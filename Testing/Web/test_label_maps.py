"""Label maps in the app: asked about where in doubt, opened as objects on the image that is open, with the table beside them."""

import asyncio

import nibabel
import numpy as np
import pytest
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Web.file_io import FileIO
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.ui.file_panel import FilePanel

from NeuroSAM2Core.labels import LabelEntry, LabelTable, write_table
from Testing.Support.apart import run_apart
from Testing.Support.volumes import ball_volume
from Testing.Web.app_user import AppUser
from Testing.Web.file_helpers import open_file, upload, wait_volume
from Testing.Web.visit import AppProcess, Visit

IMAGE, TRUTH = ball_volume((12, 20, 24))
LABELS = np.where(TRUTH, 1 + (np.arange(24) > 11), 0).astype(np.uint8)
TABLE = LabelTable((LabelEntry(1, "left half", (250, 0, 0)), LabelEntry(2, "right half", (0, 0, 250))))


@pytest.fixture
def panel(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "scratch").mkdir()
    user = AppUser(tmp_path / "home")
    made = FilePanel(FileIO(user.app_state), AllowedFolders([tmp_path]), tmp_path / "scratch", lambda: None)
    IMAGE.write(tmp_path / "case1.nii.gz")
    IMAGE.with_voxels(LABELS).write(tmp_path / "case1_seg.nii.gz")
    IMAGE.with_voxels(LABELS).write(tmp_path / "case1 other.nii.gz")
    run_apart(act(made, tmp_path / "case1.nii.gz"))
    return made


async def act(panel, path, answer=None):
    """Opens a file, and answers the question if it comes."""
    panel.open(str(path))
    while panel._tasks:
        if panel.state.files_unsure:
            assert answer, "nothing should be asked"
            panel.choose_kind(answer)
        await asyncio.sleep(0)
    assert panel.state.files_problem == ""


def names(panel):
    return [row.name for row in session_view(panel.files.app_state.presenter.session).objects]


def test_a_label_map_becomes_objects_with_the_table_beside_it(panel, tmp_path):
    write_table(tmp_path / "case1_seg.tsv", TABLE)
    image = panel.files.app_state.volume_node
    run_apart(act(panel, tmp_path / "case1_seg.nii.gz"))
    assert names(panel) == ["left half", "right half"]
    assert panel.files.app_state.volume_node is image


@pytest.mark.parametrize(("answer", "objects"), [("LABELS", ["label 1", "label 2"]), ("IMAGE", []), ("UNSURE", [])])
def test_where_it_is_in_doubt_the_person_is_asked(panel, tmp_path, answer, objects):
    image = panel.files.app_state.volume_node
    run_apart(act(panel, tmp_path / "case1 other.nii.gz", answer))
    assert names(panel) == objects
    assert (panel.files.app_state.volume_node is image) == (answer != "IMAGE")


def test_a_label_map_of_another_place_is_a_sentence(panel, tmp_path):
    far = IMAGE.ijk_to_ras.copy()
    far[0, 3] = 900
    nibabel.save(nibabel.Nifti1Image(LABELS.transpose(2, 1, 0), far), tmp_path / "far_seg.nii.gz")

    async def go():
        panel.open(str(tmp_path / "far_seg.nii.gz"))
        while panel._tasks:
            await asyncio.sleep(0)

    run_apart(go())
    assert "lies outside" in panel.state.files_problem
    assert names(panel) == []


def test_a_label_map_and_its_table_that_are_sent_together_go_together(panel, tmp_path):
    together = tmp_path / "scratch" / "all"
    together.mkdir()
    IMAGE.with_voxels(LABELS).write(together / "seg.nii.gz")
    write_table(together / "names.label", TABLE)
    run_apart(panel.receive(together, "2 files"))
    assert names(panel) == ["left half", "right half"]


def test_in_the_browser_a_label_map_is_asked_about_and_gone_on_with(browser, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    IMAGE.write(home / "scan.nii.gz")
    IMAGE.with_voxels(LABELS).write(home / "work.nii.gz")
    with AppProcess(home, str(home / "scan.nii.gz")) as app, Visit(browser, app) as visit:
        visit.wait_ready()
        wait_volume(visit, "scan")
        open_file(visit, home / "work.nii.gz")
        card = visit.page.locator("[data-test=unsure]")
        card.get_by_role("button", name="Labels").click()
        visit.wait_object("ml > 0", "label 2")
        visit.key("Control+z")
        visit.page.wait_for_function("trame.state.get('objects').length === 0")
        visit.key("Control+y")
        visit.wait_object("confirmed > 3", "label 2")
        upload(visit, home / "work.nii.gz")
        card.get_by_role("button", name="Cancel").click()
        visit.wait_quiet()
        assert len(visit.state("objects")) == 2
        visit.page.get_by_role("button", name="Open Ctrl+O").click()
        visit.page.get_by_role("button", name="Earlier scan").click()
        visit.page.locator("[data-test=follow]").get_by_text("Nothing is outlined on another image").wait_for()
        visit.page.locator("[data-test=follow]").get_by_role("button", name="Cancel").click()
        assert not visit.errors, visit.errors
