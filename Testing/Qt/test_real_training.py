"""The training road through the widgets, with the real engine and the real trainer: three cases, a few steps, use, back."""

import pytest
from NeuroSAM2MRML.engine.choice import EngineChoice

from NeuroSAM2Core.client import EngineClient
from Testing.Qt.desk import blob
from Testing.Qt.school import School
from Testing.Support.launcher import make_launcher
from Testing.Support.small_run import AS_TEXT

LIMIT_S = 240.0
SHAPE, CENTRE = (12, 32, 32), (6, 16, 16)
BLOCK_S = 0.1


@pytest.fixture
def school(slicer_app, loop, tmp_path, monkeypatch):
    python = make_launcher(tmp_path / "PythonSlicer")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = EngineChoice.command
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, own_python: EngineClient.launch(python))
    monkeypatch.setattr(EngineChoice, "command", lambda choice, own_python: command(choice, python))
    both = School(slicer_app, loop, tmp_path / "project")
    yield both
    both.module.close()
    both.desk.close()


def test_three_cases_are_trained_on_while_clicking_and_the_new_model_is_used(school, loop):
    for number, role in enumerate((0, 1, 2)):
        school.desk.load(blob(SHAPE, CENTRE, radius=8.0, seed=number), name=f"case {number}")
        school.desk.ui.boxButton.click()
        school.desk.drag((9, 9, 6), (23, 23, 6))
        loop.until(school.desk.settled, limit_s=LIMIT_S)
        school.ui.roleSelector.setCurrentIndex(role)
        school.add_current()
    assert school.ui.casesTable.rowCount == 3
    school.ui.stepsSpinBox.setValue(2)
    school.ui.settingsEdit.setPlainText(AS_TEXT)
    school.ui.lookButton.click()
    loop.until(lambda: school.ui.lookButton.enabled, limit_s=LIMIT_S)
    assert school.controller.samples.pictures, school.ui.sampleReportLabel.text
    assert "nothing is wrong" in school.ui.sampleReportLabel.text
    loop.longest_s = 0.0
    school.ui.startButton.click()
    assert school.ui.stopButton.enabled, school.ui.stateLabel.text
    school.desk.key("P")
    school.desk.click(16, 16, 3)
    loop.until(school.desk.settled, limit_s=LIMIT_S)
    assert school.controller.is_running
    assert 3 in {plane.index for plane in school.desk.session.desk.active_record.quality}, school.desk.session.notice
    loop.until(lambda: not school.ui.stopButton.enabled, limit_s=LIMIT_S)
    assert school.ui.stateLabel.text == "The run is over.", school.controller.log(2000)
    blocked_ms = 1000 * loop.longest_s
    print(f"longest block of the window while training: {blocked_ms:.0f} ms")  # noqa: T201  (a measurement)
    assert loop.longest_s < BLOCK_S

    school.ui.compareButton.click()
    loop.until(lambda: school.ui.useButton.enabled, limit_s=LIMIT_S)
    assert school.ui.proofTable.rowCount > 1
    school.ui.useButton.click()
    assert school.desk.workplace.choice.model.startswith(str(school.folder))
    school.desk.click(16, 16, 9)
    loop.until(school.desk.settled, limit_s=LIMIT_S)
    assert 9 in {plane.index for plane in school.desk.session.desk.active_record.quality}, school.desk.session.notice
    school.ui.backButton.click()
    assert school.desk.workplace.choice.model == "nano"
