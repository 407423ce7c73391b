"""DICOM series in the app: of a folder, or of an archive; of several the person chooses one."""

import asyncio
import sys
import zipfile

import highdicom
import numpy as np
import pytest
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.object_actions import read_objects
from NeuroSAM2Web.file_io import FileIO, Target
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.ui.file_panel import FilePanel

from NeuroSAM2Core.errors import ConfigError, DataError
from Testing.Core.test_dicom import VOXELS, write_series
from Testing.Support.apart import run_apart
from Testing.Web.app_user import AppUser


@pytest.fixture
def panel(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "home").mkdir()
    user = AppUser(tmp_path / "home")
    return FilePanel(FileIO(user.app_state), AllowedFolders([tmp_path]), tmp_path / "scratch", lambda: None)


@pytest.fixture
def two(tmp_path):
    """A folder with two series."""
    return write_series(write_series(tmp_path / "dicom"), uid="1.2.3.9", description="FLAIR", heights=range(4))


def opened(panel):
    return read_volume(panel.files.app_state.volume_node)


async def act(panel, begin, answer=None):
    """What the page does: begins, answers the question when it comes, and waits for the end."""
    begin()
    while panel._tasks:
        if panel.state.files_series and answer is not None:
            (key,) = [one["key"] for one in panel.state.files_series if answer in one["title"]] or [""]
            panel.choose_series(key)
        await asyncio.sleep(0)


def test_a_folder_with_one_series_is_opened_at_once(panel, tmp_path):
    folder = write_series(tmp_path / "dicom")
    run_apart(act(panel, lambda: panel.open_folder(str(folder))))
    assert panel.state.files_problem == ""
    assert (opened(panel).voxels == VOXELS).all()
    assert panel.files.app_state.volume_node.GetName() == "dicom"


def test_the_list_says_what_each_series_is(panel, two):
    shown = []

    async def look():
        panel.open_folder(str(two))
        while not panel.state.files_series:
            await asyncio.sleep(0)
        shown.extend(panel.state.files_series)
        panel.choose_series("")
        while panel._tasks:
            await asyncio.sleep(0)

    run_apart(look())
    about = {one["title"]: (one["modality"], one["slices"], one["size"]) for one in shown}
    assert about == {"T1": ("MR", 6, "8 x 7"), "FLAIR": ("MR", 4, "8 x 7")}


@pytest.mark.parametrize(("answer", "slices"), [("FLAIR", 4), ("T1", 6)])
def test_of_several_series_the_person_chooses_one(panel, two, answer, slices):
    run_apart(act(panel, lambda: panel.open_folder(str(two)), answer))
    assert len(opened(panel).voxels) == slices
    assert panel.state.files_series == []


def test_whoever_chooses_no_series_keeps_what_is_open(panel, two):
    before = panel.files.app_state.volume_node
    run_apart(act(panel, lambda: panel.open_folder(str(two)), "none of them"))
    assert panel.files.app_state.volume_node is before
    assert panel.state.files_problem == ""


def test_an_archive_is_opened_whatever_its_folders_and_names_are(panel, two, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number, one in enumerate(two.iterdir()):
            file.write(one, f"study/part {number % 2}/IM{number}")
    run_apart(act(panel, lambda: panel.open(str(path)), "FLAIR"))
    assert (opened(panel).voxels == VOXELS[:4]).all()


def test_an_archive_that_reaches_outside_or_holds_no_dicom_is_a_sentence(panel, tmp_path):
    for name, words in (("../../evil", "reaches outside"), ("readme.txt", "without DICOM files")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr(name, b"hello")
        with pytest.raises(DataError, match=words):
            run_apart(panel.receive(tmp_path / "a.zip", "a.zip"))
    assert not list(tmp_path.rglob("evil"))


def test_without_the_package_the_sentence_says_how_to_install_it(panel, two, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    run_apart(act(panel, lambda: panel.open_folder(str(two))))
    assert "pip install SimpleITK" in panel.state.files_problem


def test_what_is_outlined_on_a_series_is_saved_for_dicom_systems(panel, two, tmp_path):
    files = panel.files
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number, one in enumerate(two.iterdir()):
            file.write(one, f"IM{number}")
    run_apart(act(panel, lambda: panel.open(str(path)), "T1"))
    image = opened(panel)
    labels = (np.arange(6)[:, None, None] > 2) * np.ones(image.shape, np.uint8)
    files.app_state.presenter.add_labels(read_objects(image, image.with_voxels(labels)))
    seg, methods = run_apart(files.save(Target.DICOM, tmp_path / "a.dcm"))
    assert (highdicom.seg.segread(seg).number_of_segments, methods.name) == (1, "a.dcm.json")


def test_without_highdicom_a_series_opens_and_saving_says_what_to_install(panel, tmp_path, monkeypatch):
    folder = write_series(tmp_path / "dicom")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    run_apart(act(panel, lambda: panel.open_folder(str(folder))))
    assert panel.state.files_problem == ""
    image = opened(panel)
    panel.files.app_state.presenter.add_labels(read_objects(image, image.with_voxels(np.ones(image.shape, np.uint8))))
    with pytest.raises(ConfigError, match="need highdicom"):
        run_apart(panel.files.save(Target.DICOM, tmp_path / "a.dcm"))
