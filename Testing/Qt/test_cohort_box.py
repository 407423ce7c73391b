"""More cases in Slicer's panel: the list, the next doubtful case with its prompts, accept and go on, the training list."""

import sys

import pytest
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.training.cases import CaseList
from NeuroSAM2Qt.train_project import FOLDER_KEY

from Testing.Qt.panel_user import PanelUser
from Testing.Support.cohorts import annotate, write_cohort
from Testing.Support.fake_engine import FakeEngine


@pytest.fixture
def user(slicer_app, loop, monkeypatch):
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
    user = PanelUser(slicer_app, loop)
    user.load()
    loop.until(lambda: user.ui.labelsButton.enabled)
    yield user
    user.close()


def test_cases_open_with_their_prompts_are_accepted_and_join_the_training(user, loop, tmp_path):
    cohort, ui = write_cohort(tmp_path / "study"), user.ui
    box = user.panel.cohort
    assert not ui.nextCaseButton.enabled
    box.ask_folder = lambda title: str(cohort.path)
    ui.openCohortButton.click()
    loop.until(lambda: ui.cohortTable.rowCount == 3)
    assert [ui.cohortTable.item(row, 0).text() for row in range(3)] == ["sub-scan2", "sub-scan0", "sub-scan1"]
    ui.cohortTable.setCurrentCell(1, 0)
    ui.openCaseButton.click()
    loop.until(lambda: ui.objectTable.rowCount == 2)
    assert ui.volumeSelector.currentNode().GetName() == "sub-scan0"
    assert [user.object_text(row, "Object") for row in (0, 1)] == ["left organ", "right organ"]
    loop.until(lambda: ui.acceptCaseButton.enabled)
    ui.acceptCaseButton.click()
    loop.until(lambda: ui.volumeSelector.currentNode().GetName() == "sub-scan2")
    assert cohort.reviewed_path(box.cohort.case("sub-scan0")).is_file()
    assert slicer.mrmlScene.GetFirstNodeByName("sub-scan0") is None
    box._training_folder = lambda: tmp_path / "training"
    ui.trainAcceptedButton.click()
    loop.until(lambda: "accepted cases are on the list" in ui.cohortLabel.text)
    assert [case.image.name for case in CaseList(tmp_path / "training").read()] == ["scan0.nii.gz"]


def test_a_run_is_begun_in_the_panel_and_stopped(user, loop, tmp_path, monkeypatch):
    sleeper = sys.executable, "-c", "import time; time.sleep(600)"
    monkeypatch.setattr(EngineChoice, "command", lambda choice, slicer_python: sleeper)
    annotate(tmp_path / "training", 0)
    slicer.app.userSettings().setValue(FOLDER_KEY, str(tmp_path / "training"))
    user.ui.cohortSection.collapsed = False
    assert not user.ui.stopCohortButton.enabled
    user.panel.cohort.ask_folder = lambda title: str(tmp_path / "scans")
    user.ui.runCohortButton.click()
    loop.until(lambda: user.ui.stopCohortButton.enabled)
    assert not user.ui.runCohortButton.enabled
    assert user.ui.cohortLabel.text == "The run begins: model and annotated cases are read."
    user.ui.stopCohortButton.click()
    loop.until(lambda: user.ui.runCohortButton.enabled)
    assert user.ui.cohortLabel.text == "The run was stopped."
