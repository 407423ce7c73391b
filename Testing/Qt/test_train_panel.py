"""The training panel, driven through its widgets, with a program that pretends to train."""

import json
import tomllib
from pathlib import Path

import numpy as np
import slicer

from NeuroSAM2Core import Volume
from Testing.Qt.desk import blob


def texts(table):
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def test_an_empty_project_leads_to_its_first_case(school):
    assert school.ui.stateLabel.text.startswith("Add the cases")
    assert not school.ui.startButton.enabled
    school.ui.addButton.click()
    assert school.ui.stateLabel.text.startswith("Nothing is outlined now")
    school.add("first")
    assert texts(school.ui.casesTable) == [["first", "training", "there"]]
    assert school.ui.startButton.enabled


def test_what_is_adapted_is_chosen_in_words_or_by_experts(school):
    parts = (school.ui.decoderCheckBox, school.ui.memoryCheckBox, school.ui.neckCheckBox, school.ui.trunkCheckBox)
    assert [box.isChecked() for box in parts] == [True, True, False, False]
    school.ui.adaptSelector.setCurrentIndex(3)
    school.ui.adaptSelector.activated.emit(3)
    assert all(box.isChecked() for box in parts)
    school.ui.trunkCheckBox.click()
    assert school.ui.adaptSelector.currentText == "As chosen below, for experts"
    school.ui.neckCheckBox.click()
    assert school.ui.adaptSelector.currentIndex == 0


def test_a_run_is_started_watched_stopped_and_continued(school, loop):
    school.add("first")
    school.ui.stepsSpinBox.setValue(5)
    school.ui.settingsEdit.setPlainText("losses.focal = 10\n# a remark")
    school.ui.startButton.click()
    config = tomllib.loads(school.controller.run.folder.with_suffix(".toml").read_text(encoding="utf-8"))
    assert config["losses"]["focal"] == 10
    assert config["optim"]["steps"] == 5
    assert config["groups"]["trunk"]["frozen"] is True
    loop.turn()
    assert (school.ui.progressBar.minimum, school.ui.progressBar.maximum) == (0, 0)
    assert school.ui.paceLabel.text == "Reading model and cases; the first step takes longest."
    school.allow(2)
    loop.until(lambda: school.ui.progressBar.value == 2)
    assert school.ui.progressBar.maximum == 5
    assert school.ui.paceLabel.text.startswith("Step 2 of 5")
    table = slicer.mrmlScene.GetFirstNode("NeuroSAM2 training loss", "vtkMRMLTableNode")
    assert [table.GetTable().GetValue(row, 1).ToDouble() for row in range(2)] == [1.0, 0.5]
    school.ui.plotButton.click()
    school.ui.stopButton.click()
    loop.until(lambda: school.ui.continueButton.enabled)
    assert school.ui.stateLabel.text == "The run was stopped."
    school.ui.continueButton.click()
    school.finish()
    assert school.ui.stateLabel.text == "The run is over."
    assert table.GetTable().GetNumberOfRows() == 5
    assert "s per step" in school.ui.estimateLabel.text


def test_a_stopped_run_that_is_found_again_says_how_to_go_on(school, loop):
    school.add("first")
    school.ui.startButton.click()
    school.allow(2)
    loop.until(lambda: school.ui.progressBar.value == 2)
    school.ui.stopButton.click()
    loop.until(lambda: school.ui.continueButton.enabled)
    school.panel.close()
    school.panel.open_folder()
    assert school.ui.stateLabel.text.startswith("The last run has stopped at step 2 of ")


def test_samples_are_drawn_by_the_trainer_and_leafed_through(school, loop):
    ui = school.ui
    assert not ui.lookButton.enabled
    school.add("first")
    assert not ui.nextSampleButton.isVisibleTo(ui.samplesSection)
    ui.settingsEdit.setPlainText("sampling.slices = 4")
    ui.lookButton.click()
    assert school.ui.stateLabel.text == "Looking at the cases."
    assert not ui.lookButton.enabled
    loop.until(lambda: ui.lookButton.enabled)
    assert ui.stateLabel.text == "3 clips are drawn."
    assert ui.sampleReportLabel.text.endswith("nothing is wrong")
    assert (
        tomllib.loads((school.folder / "samples" / "samples.toml").read_text(encoding="utf-8"))["sampling"]["slices"]
        == 4
    )
    captions = []
    for button in (ui.nextSampleButton, ui.nextSampleButton, ui.nextSampleButton, ui.previousSampleButton):
        captions.append(ui.sampleCaptionLabel.text)
        button.click()
    assert captions == ["Clip 1 of 3", "Clip 2 of 3", "Clip 3 of 3", "Clip 1 of 3"]
    assert ui.sampleCaptionLabel.text == "Clip 3 of 3"
    assert ui.sampleLabel.pixmap.width() == ui.sampleLabel.pixmap.height()
    assert not school.controller.is_running


def test_the_new_model_is_compared_used_and_taken_back(school, loop):
    school.add("first")
    school.add("second", role=2)
    school.ui.startButton.click()
    school.finish()
    assert not school.ui.useButton.enabled
    school.ui.compareButton.click()
    loop.until(lambda: school.ui.useButton.enabled)
    assert texts(school.ui.proofTable) == [["Dice after the first prompt (box)", "0.5", "0.75"]]
    assert json.loads((school.folder / "proofs" / "001" / "asked.json").read_text(encoding="utf-8"))[0] == "nano"
    school.ui.useButton.click()
    assert school.desk.workplace.choice.model.endswith("model.safetensors")
    school.ui.backButton.click()
    assert school.desk.workplace.choice.model == "nano"


def test_a_run_outlives_the_panel_and_is_found_again(school, loop):
    school.add("first")
    school.ui.startButton.click()
    loop.until(lambda: school.ui.stopButton.enabled)
    before = school.controller
    school.panel.close()
    school.panel.open_folder()
    school.panel.enter()
    assert before.is_running
    assert school.ui.stopButton.enabled
    assert school.ui.stateLabel.text == "Training goes on (started before)."
    school.finish()
    assert school.controller.run.is_over
    loop.until(lambda: before.poll() or not before.is_running)


def test_a_failed_run_says_why(school, loop):
    school.add("first")
    school.ui.startButton.click()
    school.controller.run.folder.with_suffix(".go").write_bytes(b"!")
    loop.until(lambda: not school.ui.stopButton.enabled)
    assert school.ui.stateLabel.text == "The run failed: loss is not a number."
    school.ui.logCheckBox.setChecked(True)
    assert "loss is not a number" in school.ui.logEdit.toPlainText()


def test_a_mistake_in_the_settings_names_its_line(school):
    school.add("first")
    school.ui.settingsEdit.setPlainText("losses.focal = 10\nfaster please")
    school.ui.startButton.click()
    assert school.ui.stateLabel.text.startswith("Line 2 of the settings is 'faster please'")


def write_pair(image, label):
    voxels = np.zeros((3, 4, 5), np.int16)
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
        Volume(voxels, np.eye(4)).write(path)


def test_a_folder_is_added_however_it_is_kept(school, tmp_path, monkeypatch, qt):
    bids, twins, listed = tmp_path / "bids", tmp_path / "twins", tmp_path / "listed"
    write_pair(bids / "sub-1/anat/sub-1_T1w.nii.gz", bids / "derivatives/hand/sub-1/anat/sub-1_dseg.nii.gz")
    write_pair(twins / "imagesTr/a_0000.nii.gz", twins / "labelsTr/a.nii.gz")
    write_pair(listed / "x.nii.gz", listed / "y.nii.gz")
    (listed / "dataset.json").write_text(
        json.dumps({"training": [{"image": "x.nii.gz", "label": "y.nii.gz"}]}), encoding="utf-8"
    )
    chosen = []
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: chosen[-1])
    for folder in (bids, twins, listed):
        chosen.append(str(folder))
        school.ui.addFolderButton.click()
    assert [row[0] for row in texts(school.ui.casesTable)] == ["sub-1_T1w", "a_0000", "x"]
    chosen.append(str(tmp_path))
    school.ui.addFolderButton.click()
    assert "no annotated volumes" in school.ui.stateLabel.text
    school.ui.casesTable.setCurrentCell(1, 0)
    school.ui.removeButton.click()
    assert [row[0] for row in texts(school.ui.casesTable)] == ["sub-1_T1w", "x"]


def test_a_large_case_is_added_without_blocking_the_window(school, loop):
    school.outline("large", blob((160, 160, 160), (80, 80, 80)))
    loop.longest_s = 0.0
    school.add_current()
    assert texts(school.ui.casesTable) == [["large", "training", "there"]]
    assert loop.longest_s < 0.1
    there = Volume.read(school.folder / "images" / "large.nii")
    desk = school.desk.session.desk
    assert (there.voxels == desk.volume.voxels).all()
    np.testing.assert_allclose(there.ijk_to_ras, desk.volume.ijk_to_ras, atol=1e-5)


def test_a_case_has_the_name_that_its_volume_has_now_and_replaces_no_other(school):
    school.outline("T1")
    school.desk.ui.volumeSelector.currentNode().SetName("head")
    school.add_current()
    school.outline("head", blob(seed=1))
    school.add_current()
    assert [row[0] for row in texts(school.ui.casesTable)] == ["head", "head 2"]
    school.add_current()
    assert school.ui.stateLabel.text == "Head 2 is on the list, in place of how it was."


def test_a_case_that_cannot_be_written_is_said_and_leaves_nothing(school, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device")

    school.outline("first")
    monkeypatch.setattr(Path, "replace", full)
    school.add_current()
    assert "No space left" in school.ui.stateLabel.text
    assert list((school.folder / "images").iterdir()) == []
