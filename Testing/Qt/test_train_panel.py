"""The training panel, driven through its widgets, with a program that pretends to train."""

import json
import tomllib
from pathlib import Path

import numpy as np
import slicer
from NeuroSAM2Lib.training.verdict_view import Tone

from NeuroSAM2Core import Volume
from Testing.Qt.panel_user import blob
from Testing.Support.pace import slowness


def texts(table):
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def test_an_empty_project_leads_to_its_first_case(train_user):
    assert train_user.ui.stateLabel.text.startswith("Add the cases")
    assert not train_user.ui.startButton.enabled
    train_user.ui.addButton.click()
    assert train_user.ui.stateLabel.text.startswith("Nothing is segmented now")
    train_user.add("first")
    assert texts(train_user.ui.casesTable) == [["first", "training", "there"]]
    assert train_user.ui.startButton.enabled


def test_what_is_adapted_is_chosen_in_words_or_by_experts(train_user):
    parts = (
        train_user.ui.decoderCheckBox,
        train_user.ui.memoryCheckBox,
        train_user.ui.neckCheckBox,
        train_user.ui.trunkCheckBox,
    )
    assert [box.isChecked() for box in parts] == [True, True, False, False]
    train_user.ui.adaptSelector.setCurrentIndex(3)
    train_user.ui.adaptSelector.activated.emit(3)
    assert all(box.isChecked() for box in parts)
    train_user.ui.trunkCheckBox.click()
    assert train_user.ui.adaptSelector.currentText == "As chosen below, for experts"
    train_user.ui.neckCheckBox.click()
    assert train_user.ui.adaptSelector.currentIndex == 0


def test_a_run_is_started_watched_stopped_and_continued(train_user, loop):
    train_user.add("first")
    train_user.ui.stepsSpinBox.setValue(5)
    train_user.ui.settingsEdit.setPlainText("losses.focal = 10\n# a remark")
    train_user.ui.startButton.click()
    config = tomllib.loads(train_user.controller.run.folder.with_suffix(".toml").read_text(encoding="utf-8"))
    assert config["losses"]["focal"] == 10
    assert config["optim"]["steps"] == 5
    assert config["groups"]["trunk"]["frozen"] is True
    loop.turn()
    assert (train_user.ui.progressBar.minimum, train_user.ui.progressBar.maximum) == (0, 0)
    assert train_user.ui.estimateLabel.isVisibleTo(train_user.ui.trainSection)
    assert train_user.ui.paceLabel.text == "Reading model and cases; the first step takes longest."
    train_user.allow(2)
    loop.until(lambda: train_user.ui.progressBar.value == 2)
    assert train_user.ui.progressBar.maximum == 5
    assert train_user.ui.paceLabel.text.startswith("Step 2 of 5")
    table = slicer.mrmlScene.GetFirstNode("NeuroSAM2 training loss", "vtkMRMLTableNode")
    assert [table.GetTable().GetValue(row, 1).ToDouble() for row in range(2)] == [1.0, 0.5]
    train_user.ui.plotButton.click()
    train_user.ui.stopButton.click()
    loop.until(lambda: train_user.ui.continueButton.enabled)
    assert train_user.ui.stateLabel.text == "The run was stopped."
    train_user.ui.continueButton.click()
    train_user.finish()
    assert train_user.ui.stateLabel.text == "The run is over."
    assert table.GetTable().GetNumberOfRows() == 5
    assert "s per step" in train_user.ui.estimateLabel.text


def test_a_stopped_run_that_is_found_again_says_how_to_go_on(train_user, loop):
    train_user.add("first")
    train_user.ui.startButton.click()
    train_user.allow(2)
    loop.until(lambda: train_user.ui.progressBar.value == 2)
    train_user.ui.stopButton.click()
    loop.until(lambda: train_user.ui.continueButton.enabled)
    train_user.panel.close()
    train_user.panel.open_folder()
    assert train_user.ui.stateLabel.text.startswith("The last run has stopped at step 2 of ")


def test_samples_are_drawn_by_the_trainer_and_leafed_through(train_user, loop):
    ui = train_user.ui
    assert not ui.lookButton.enabled
    train_user.add("first")
    assert not ui.nextSampleButton.isVisibleTo(ui.samplesSection)
    ui.settingsEdit.setPlainText("sampling.slices = 4")
    ui.lookButton.click()
    assert train_user.ui.stateLabel.text == "Looking at the cases."
    assert not ui.lookButton.enabled
    loop.until(lambda: ui.lookButton.enabled)
    assert ui.stateLabel.text == "3 clips are drawn."
    assert ui.sampleReportLabel.text.endswith("nothing is wrong")
    assert (
        tomllib.loads((train_user.folder / "samples" / "samples.toml").read_text(encoding="utf-8"))["sampling"][
            "slices"
        ]
        == 4
    )
    captions = []
    for button in (ui.nextSampleButton, ui.nextSampleButton, ui.nextSampleButton, ui.previousSampleButton):
        captions.append(ui.sampleCaptionLabel.text)
        button.click()
    assert captions == ["Clip 1 of 3", "Clip 2 of 3", "Clip 3 of 3", "Clip 1 of 3"]
    assert ui.sampleCaptionLabel.text == "Clip 3 of 3"
    assert ui.sampleLabel.pixmap.width() == ui.sampleLabel.pixmap.height()
    slicer.util.mainWindow().resize(1000, 900)
    ui.largeSampleButton.click()
    large = train_user.panel.viewer.large
    assert large.label.pixmap.width() > ui.sampleLabel.pixmap.width()
    button = next(one for one in large.dialog.findChildren(type(ui.lookButton)) if one.text == "Next")
    button.click()
    assert large.caption.text == ui.sampleCaptionLabel.text == "Clip 1 of 3"
    large.dialog.close()
    assert not train_user.controller.is_running


def test_the_new_model_is_compared_used_and_taken_back(train_user, loop):
    train_user.add("first")
    train_user.add("second", role=2)
    train_user.ui.startButton.click()
    train_user.finish()
    assert not train_user.ui.useButton.enabled
    train_user.ui.compareButton.click()
    loop.until(lambda: train_user.ui.useButton.enabled)
    assert texts(train_user.ui.comparisonTable) == [
        ["Dice after the first prompt (box)", "0.500", "0.750"],
        ["corrections to Dice 0.85 (box)", "> 5", "≥ 3.5"],
    ]
    assert train_user.ui.verdictLabel.text.startswith("Better on 3 of 3 held-out cases, Dice +0.25")
    assert Tone.GOOD.value.ground in train_user.ui.verdictLabel.styleSheet
    assert not train_user.ui.verdictPictureLabel.pixmap.isNull()
    assert json.loads((train_user.folder / "proofs" / "001" / "asked.json").read_text(encoding="utf-8"))[0] == "nano"
    train_user.ui.useButton.click()
    assert train_user.user.segment_presenter.choice.model.endswith("model.safetensors")
    train_user.ui.backButton.click()
    assert train_user.user.segment_presenter.choice.model == "nano"


def test_a_model_that_is_worse_is_used_only_after_a_yes(train_user, loop, monkeypatch):
    train_user.add("first")
    assert "no proof will be possible" in train_user.ui.warningsLabel.text
    train_user.add("second", role=2)
    train_user.ui.startButton.click()
    train_user.finish()
    assert not train_user.ui.verdictLabel.isVisibleTo(train_user.ui.comparisonSection)
    (train_user.folder / "proofs").mkdir()
    (train_user.folder / "proofs" / "afters.json").write_text("[0.4, 0.3, 0.2]", encoding="utf-8")
    train_user.ui.compareButton.click()
    loop.until(lambda: train_user.ui.useButton.enabled)
    assert Tone.BAD.value.ground in train_user.ui.verdictLabel.styleSheet
    questions = []
    for is_yes, model in ((False, "nano"), (True, str(train_user.controller.run.model))):
        monkeypatch.setattr(
            slicer.util, "confirmYesNoDisplay", lambda q, is_yes=is_yes, **_: questions.append(q) or is_yes
        )
        train_user.ui.useButton.click()
        assert train_user.user.segment_presenter.choice.model == model
    assert len(questions) == 2
    assert "0.20 lower" in questions[0]


def test_a_run_outlives_the_panel_and_is_found_again(train_user, loop):
    train_user.add("first")
    train_user.ui.startButton.click()
    loop.until(lambda: train_user.ui.stopButton.enabled)
    before = train_user.controller
    train_user.panel.close()
    train_user.panel.open_folder()
    train_user.panel.enter()
    assert before.is_running
    assert train_user.ui.stopButton.enabled
    assert train_user.ui.stateLabel.text == "Training goes on (started before)."
    train_user.finish()
    assert train_user.controller.run.is_over
    loop.until(lambda: before.poll() or not before.is_running)


def test_a_failed_run_says_why(train_user, loop):
    train_user.add("first")
    train_user.ui.startButton.click()
    train_user.controller.run.folder.with_suffix(".go").write_bytes(b"!")
    loop.until(lambda: not train_user.ui.stopButton.enabled)
    assert train_user.ui.stateLabel.text == "The run failed: loss is not a number."
    train_user.ui.logCheckBox.setChecked(True)
    assert "loss is not a number" in train_user.ui.logEdit.toPlainText()


def test_a_mistake_in_the_settings_names_its_line(train_user):
    train_user.add("first")
    train_user.ui.settingsEdit.setPlainText("losses.focal = 10\nfaster please")
    train_user.ui.startButton.click()
    assert train_user.ui.stateLabel.text.startswith("Line 2 of the settings is 'faster please'")


def write_pair(image, label):
    voxels = np.zeros((3, 4, 5), np.int16)
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
        Volume(voxels, np.eye(4)).write(path)


def test_a_folder_is_added_however_it_is_kept(train_user, tmp_path, monkeypatch, qt):
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
        train_user.ui.addFolderButton.click()
    assert [row[0] for row in texts(train_user.ui.casesTable)] == ["sub-1_T1w", "a_0000", "x"]
    chosen.append(str(tmp_path))
    train_user.ui.addFolderButton.click()
    assert "no annotated volumes" in train_user.ui.stateLabel.text
    train_user.ui.casesTable.setCurrentCell(1, 0)
    train_user.ui.removeButton.click()
    assert [row[0] for row in texts(train_user.ui.casesTable)] == ["sub-1_T1w", "x"]


def test_a_large_case_is_added_without_blocking_the_window(train_user, loop):
    train_user.outline("large", blob((160, 160, 160), (80, 80, 80)))
    loop.longest_s = 0.0
    train_user.add_current()
    assert texts(train_user.ui.casesTable) == [["large", "training", "there"]]
    assert loop.longest_s < 0.1 * slowness()
    there = Volume.read(train_user.folder / "images" / "large.nii")
    user = train_user.user.session.document
    assert (there.voxels == user.volume.voxels).all()
    np.testing.assert_allclose(there.ijk_to_ras, user.volume.ijk_to_ras, atol=1e-5)


def test_a_case_has_the_name_that_its_volume_has_now_and_replaces_no_other(train_user):
    train_user.outline("T1")
    train_user.user.ui.volumeSelector.currentNode().SetName("head")
    train_user.add_current()
    train_user.outline("head", blob(seed=1))
    train_user.add_current()
    assert [row[0] for row in texts(train_user.ui.casesTable)] == ["head", "head 2"]
    train_user.add_current()
    assert train_user.ui.stateLabel.text == "Head 2 is on the list, in place of how it was."


def test_a_case_that_cannot_be_written_is_reported_and_leaves_nothing(train_user, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device")

    train_user.outline("first")
    monkeypatch.setattr(Path, "replace", full)
    train_user.add_current()
    assert "No space left" in train_user.ui.stateLabel.text
    assert list((train_user.folder / "images").iterdir()) == []
