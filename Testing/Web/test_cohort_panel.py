"""The review of a cohort behind the page: list, next doubtful case, accept and go on, folders that the app may not use."""

import asyncio
import sys
import time

import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.ui.cohort_panel import CohortPanel
from NeuroSAM2Web.ui.train_panel import TrainPanel

from Testing.Support.apart import run_apart
from Testing.Support.cohorts import annotate, write_cohort
from Testing.Web.app_user import AppUser


class Reviewer:
    """A person in front of the panel."""

    def __init__(self, folder, root):
        self.user = AppUser(folder / "home")
        folders = AllowedFolders([root])
        self.train = TrainPanel(self.user.app_state, folders)
        self.panel = CohortPanel(self.user.app_state, folders, self.train)

    @property
    def state(self):
        return self.user.state

    def open(self, folder):
        self.state.cohort_folder = str(folder)
        self.panel.open_folder()
        self.panel.poll()

    def press(self, button):
        async def pressed():
            button()
            while self.panel.poll():
                await asyncio.sleep(0.01)

        run_apart(pressed())
        self.panel.poll()


@pytest.fixture
def study(tmp_path):
    return write_cohort(tmp_path / "study").path


def test_the_next_doubtful_case_opens_is_accepted_and_the_one_after_opens(tmp_path, study):
    person = Reviewer(tmp_path, tmp_path)
    person.open(study)
    assert [row["name"] for row in person.state.cohort_rows] == ["sub-scan2", "sub-scan0", "sub-scan1"]
    person.state.cohort_chosen = "sub-scan0"
    person.press(person.panel.open_chosen)
    assert (person.state.cohort_current, person.state.cohort_can_accept) == ("sub-scan0", True)
    person.press(person.panel.accept)
    assert person.state.cohort_current == "sub-scan2"
    assert (study / "sub-scan0/anat/sub-scan0_desc-reviewed_dseg.nii.gz").is_file()
    person.press(person.panel.open_next)
    assert person.state.cohort_current == "sub-scan1"
    person.panel.join_training()
    person.panel.poll()
    assert "1 accepted cases" in person.state.cohort_sentence
    assert not person.state.cohort_busy


def test_only_folders_of_the_app_are_read(tmp_path, study):
    (tmp_path / "other").mkdir()
    outside = Reviewer(tmp_path / "a", tmp_path / "other")
    outside.open(study)
    assert "outside the folders" in outside.state.cohort_sentence
    inside = Reviewer(tmp_path / "b", study)
    inside.open(study)
    inside.press(inside.panel.open_next)
    assert "outside the folders" in inside.state.cohort_sentence
    assert inside.state.cohort_current == ""


def test_a_run_is_begun_on_the_page_and_stopped(tmp_path, monkeypatch):
    sleeper = sys.executable, "-c", "import time; time.sleep(600)"
    monkeypatch.setattr(EngineChoice, "command", lambda choice, slicer_python: sleeper)
    person = Reviewer(tmp_path, tmp_path)
    (tmp_path / "scans").mkdir()
    annotate(person.train.presenter.controller.folder, 0)
    person.state.cohort_images = str(tmp_path / "scans")
    person.panel.begin()
    person.panel.poll()
    assert person.state.cohort_is_running
    assert person.state.cohort_sentence == "The run begins: model and annotated cases are read."
    person.panel.stop()
    deadline = time.monotonic() + 60
    while person.state.cohort_is_running:
        person.panel.poll()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert person.state.cohort_sentence == "The run was stopped."
    person.state.cohort_images = "/"
    person.panel.begin()
    person.panel.poll()
    assert "outside the folders" in person.state.cohort_sentence
