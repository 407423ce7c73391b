"""The training road through the widgets, with the real engine and the real trainer: three cases, a few steps, use, back."""

import pytest
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice

from NeuroSAM2Core.remote import EngineClient
from Testing.Qt.panel_user import blob
from Testing.Qt.train_panel_user import TrainPanelUser
from Testing.Support.launcher import make_launcher
from Testing.Support.small_run import AS_TEXT

LIMIT_S = 240.0
SHAPE, CENTRE = (12, 32, 32), (6, 16, 16)
BLOCK_S = 0.1


@pytest.fixture
def train_user(slicer_app, loop, tmp_path, monkeypatch):
    python = make_launcher(tmp_path / "PythonSlicer")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = EngineChoice.command
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: EngineClient.launch(python))
    monkeypatch.setattr(EngineChoice, "command", lambda choice, slicer_python: command(choice, python))
    both = TrainPanelUser(slicer_app, loop, tmp_path / "project")
    yield both
    both.module.close()
    both.user.close()


def test_three_cases_are_trained_on_while_clicking_and_the_new_model_is_used(train_user, loop, monkeypatch):
    for number, role in enumerate((0, 1, 2)):
        train_user.user.load(blob(SHAPE, CENTRE, radius=8.0, seed=number), name=f"case {number}")
        train_user.user.ui.boxButton.click()
        train_user.user.drag((9, 9, 6), (23, 23, 6))
        loop.until(train_user.user.settled, limit_s=LIMIT_S)
        train_user.ui.roleSelector.setCurrentIndex(role)
        train_user.add_current()
    assert train_user.ui.casesTable.rowCount == 3
    train_user.ui.stepsSpinBox.setValue(2)
    train_user.ui.settingsEdit.setPlainText(AS_TEXT)
    train_user.ui.lookButton.click()
    loop.until(lambda: train_user.ui.lookButton.enabled, limit_s=LIMIT_S)
    assert train_user.controller.samples.pictures, train_user.ui.sampleReportLabel.text
    assert "too few for an interval" in train_user.ui.sampleReportLabel.text
    loop.longest_s = 0.0
    train_user.ui.startButton.click()
    assert train_user.ui.stopButton.enabled, train_user.ui.stateLabel.text
    train_user.user.key("P")
    train_user.user.click(16, 16, 3)
    loop.until(train_user.user.settled, limit_s=LIMIT_S)
    assert train_user.controller.is_running
    assert 3 in {plane.index for plane in train_user.user.session.document.active_record.quality}, (
        train_user.user.session.notice
    )
    loop.until(lambda: not train_user.ui.stopButton.enabled, limit_s=LIMIT_S)
    assert train_user.ui.stateLabel.text == "The run is over.", train_user.controller.log(2000)
    blocked_ms = 1000 * loop.longest_s
    print(f"longest block of the window while training: {blocked_ms:.0f} ms")  # noqa: T201  (a measurement)
    assert loop.longest_s < BLOCK_S

    train_user.ui.compareButton.click()
    loop.until(lambda: train_user.ui.useButton.enabled, limit_s=LIMIT_S)
    assert train_user.ui.comparisonTable.rowCount > 1
    questions = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda question, **_: questions.append(question) or True)
    train_user.ui.useButton.click()
    assert questions, "one case proves nothing"
    assert train_user.user.segment_presenter.choice.model.startswith(str(train_user.folder))
    train_user.user.click(16, 16, 9)
    loop.until(train_user.user.settled, limit_s=LIMIT_S)
    assert 9 in {plane.index for plane in train_user.user.session.document.active_record.quality}, (
        train_user.user.session.notice
    )
    train_user.ui.backButton.click()
    assert train_user.user.segment_presenter.choice.model == "nano"
