"""What people expect of any Slicer module: keys, logic, self tests, sample data, help, progress, and errors that are seen."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.scene.practice_volume import practice_voxels
from PIL import Image

from Testing.Qt.host.log import ERROR, entries
from Testing.Qt.host.signals import failures
from Testing.Qt.host.slicer_keys import SLICER_KEYS

ROOT = Path(__file__).parents[2]
BOX = (18, 15, 6), (38, 34, 6)


@pytest.fixture
def shown_errors(slicer_app, monkeypatch):
    """What a person has to click away; outside of self tests."""
    shown = []
    monkeypatch.setattr(type(slicer_app), "testingEnabled", lambda application: False)
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    yield shown
    failures.clear()


def status():
    return slicer.util.mainWindow().statusBar().currentMessage()


def raise_defect(*_, **__):
    raise ZeroDivisionError("a defect")


def test_no_key_is_one_that_slicer_listens_for_itself(user):
    keys = {shortcut.key.toString() for shortcut in user.panel.shortcuts.active()}
    assert len(keys) == 23
    assert not keys & SLICER_KEYS


def test_the_logic_has_what_is_no_widget(train_user):
    logic = slicer.util.getModuleLogic("NeuroSAM2Segment")
    assert logic.segment_presenter is train_user.user.panel.segment_presenter
    project = slicer.util.getModuleLogic("NeuroSAM2Train").project
    assert project.presenter is train_user.panel.presenter
    assert project.segment_presenter is logic.segment_presenter
    train_user.user.module.widget.cleanup()
    assert logic.segment_presenter.session is None


def test_what_the_scene_remembers_is_in_the_modules_parameter_node(user, slicer_app):
    node = slicer.util.getModuleLogic("NeuroSAM2Segment").getParameterNode()
    assert node is PanelSettings(slicer_app.mrmlScene()).node
    slicer_app.mrmlScene().Clear(0)
    assert PanelSettings(slicer_app.mrmlScene()).node.GetAttribute("ModuleName") == "NeuroSAM2Segment"
    assert (
        slicer.util.getModuleLogic("NeuroSAM2Segment").getParameterNode() is PanelSettings(slicer_app.mrmlScene()).node
    )


@pytest.mark.parametrize("button", ["undoButton", "propagateButton", "boxButton"])
def test_an_unexpected_error_of_a_button_is_shown_and_logged(user, loop, shown_errors, monkeypatch, button):
    user.load()
    user.ui.boxButton.click()
    user.drag(*BOX)
    loop.until(user.settled)
    monkeypatch.setattr(type(user.session), "undo", raise_defect)
    monkeypatch.setattr(type(user.session), "propagate", raise_defect)
    monkeypatch.setattr(user.panel.tools, "activate", raise_defect)
    getattr(user.ui, button).click()
    (shown,) = shown_errors
    assert shown.endswith("\n\na defect")
    assert entries[-1][0] == ERROR
    assert "ZeroDivisionError: a defect" in entries[-1][1]


def test_an_unexpected_error_of_a_timer_is_shown_once_and_the_panel_goes_on(
    train_user, loop, shown_errors, monkeypatch
):
    monkeypatch.setattr(type(train_user.user.segment_presenter), "poll", raise_defect)
    train_user.user.panel.bridge.start()
    loop.until(lambda: shown_errors)
    num_logged = len(entries)
    monkeypatch.setattr(type(train_user.panel.presenter), "poll", raise_defect)
    train_user.panel.timer.start(1)
    loop.until(lambda: len(shown_errors) == 2)
    for _ in range(10):
        loop.turn()
    assert len(shown_errors) == 2
    assert len(entries) == num_logged + 1
    monkeypatch.undo()
    train_user.outline("first")
    assert train_user.user.mask(6).any()


def test_a_propagation_is_seen_in_the_status_bar_until_it_ends(user, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag(*BOX)
    loop.until(user.settled)
    slicer.util.showStatusMessage("of another module")
    loop.turn()
    assert status() == "of another module"
    engine = user.segment_presenter.link.engine
    engine.is_patient = True
    user.ui.propagateButton.click()
    engine.work(2)
    loop.until(lambda: user.ui.progressBar.value >= 1)
    assert status().startswith("NeuroSAM2: ")
    assert user.ui.paceLabel.text in status()
    engine.is_patient = False
    loop.until(user.settled)
    loop.until(lambda: not status())


def test_training_is_seen_in_the_status_bar_until_it_ends(train_user, loop):
    train_user.add("first")
    train_user.add("second", role=2)
    train_user.ui.startButton.click()
    train_user.allow(2)
    loop.until(lambda: train_user.ui.progressBar.value == 2)
    assert status() == f"NeuroSAM2 training: {train_user.ui.paceLabel.text}"
    train_user.finish()
    loop.until(lambda: not status())


def test_the_sample_is_listed_with_a_picture_of_it(user, monkeypatch):
    listed = {}
    source = types.SimpleNamespace(registerCustomSampleDataSource=lambda **said: listed.update(said))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=source))
    user.module.module.register_sample()
    picture = np.asarray(Image.open(listed["thumbnailFileName"]).convert("L").crop((11, 0, 117, 128)), float)
    head = Image.fromarray(practice_voxels()[27, ::-1, ::-1].clip(0, 255).astype(np.uint8)).resize((106, 128))
    assert np.corrcoef(picture.ravel(), np.asarray(head, float).ravel())[0, 1] > 0.95
    node = listed["customDownloader"](None)
    assert node.GetName() == listed["sampleName"]


@pytest.mark.parametrize("name", ["NeuroSAM2Segment", "NeuroSAM2Train"])
def test_the_help_shows_a_picture_and_leads_to_pages_that_are_there(train_user, qt, name):
    module = {"NeuroSAM2Segment": train_user.user.module, "NeuroSAM2Train": train_user.module}[name]
    help_text = module.module.parent.helpText
    browser = qt.QTextBrowser()
    browser.setHtml(help_text)
    (picture,) = re.findall(r'<img src="(.+?)"', help_text)
    assert picture.startswith("file:///")
    assert not qt.QPixmap(qt.QUrl(picture).toLocalFile()).isNull()
    links = re.findall(r'href="(.+?)"', help_text)
    assert len(links) == 3
    for link in links:
        page = link.removeprefix("https://github.com/neurosam2/SlicerNeuroSAM2/blob/main/")
        assert (ROOT / page).is_file(), link


def test_a_self_test_leaves_the_training_folder_as_the_person_chose_it(train_user):
    train_user.module.module.runTest()
    assert train_user.ui.folderEdit.currentPath == str(train_user.folder)
    assert slicer.util.getModuleLogic("NeuroSAM2Train").project.folder == str(train_user.folder)
