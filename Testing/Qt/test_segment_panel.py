"""The segmentation panel, driven through its widgets, with an engine that answers at once."""

import sys
from pathlib import Path

import pytest
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice, Found, Place

from NeuroSAM2Core.remote import AUTOMATIC, EngineSwitches, OpenVolume
from NeuroSAM2Core.volume import MaskCleanup
from Testing.Qt.panel_user import PanelUser
from Testing.Support.fake_engine import FakeEngine


class Engines:
    """What the panel starts in place of a process."""

    def __init__(self):
        self.made, self.choices, self.is_patient = [], [], False

    def __call__(self, choice, slicer_python):
        choice.check()
        self.choices.append(choice)
        self.made.append(FakeEngine(is_patient=self.is_patient))
        return self.made[-1]


@pytest.fixture
def engines(monkeypatch):
    made = Engines()
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: made(choice, slicer_python))
    return made


@pytest.fixture
def user(slicer_app, loop, engines):
    user = PanelUser(slicer_app, loop)
    yield user
    user.close()


def test_the_panel_leads_from_an_empty_scene_to_the_first_click(user):
    assert user.ui.stateLabel.text.startswith("Choose a volume.")
    assert user.ui.stateButton.text == "Load sample"
    assert not user.ui.boxButton.enabled
    user.load()
    assert user.ui.segmentationSelector.currentNode() is not None
    assert user.ui.stateLabel.text.startswith("Ready.")
    assert not user.ui.stateButton.isVisible()
    assert user.ui.boxButton.enabled
    assert not user.ui.propagateButton.enabled


def test_a_box_dragged_in_a_view_becomes_a_mask_there(user, loop):
    user.load()
    user.ui.boxButton.click()
    assert user.ui.boxButton.checked
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    assert user.mask(6).any()
    assert not user.ui.boxButton.checked
    assert user.ui.propagateButton.enabled
    loop.until(lambda: float(user.object_text(0, "mL") or 0) > 0)


def test_points_of_both_signs_are_placed_by_keys_and_clicks(user, loop):
    user.load()
    user.key("P")
    assert user.ui.positiveButton.checked
    user.click(28, 24, 6)
    loop.until(user.settled)
    first = user.mask(6).sum()
    user.key("N")
    assert user.ui.negativeButton.checked
    assert not user.ui.positiveButton.checked
    user.click(30, 24, 6)
    loop.until(user.settled)
    assert 0 < user.mask(6).sum() < first
    user.key("N")
    assert not user.ui.negativeButton.checked


def test_propagation_shows_its_progress_stops_and_goes_on(user, loop, engines):
    engines.is_patient = True
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    engines.made[0].work()
    loop.until(user.settled)
    user.key("A")
    engines.made[0].work(3)
    loop.until(lambda: "of" in user.ui.paceLabel.text)
    assert user.ui.stopButton.enabled
    assert user.ui.progressBar.isVisible()
    user.key("Q")
    engines.made[0].work()
    loop.until(user.settled)
    assert user.ui.continueButton.enabled
    assert "stopped" in user.ui.stateLabel.text.lower()
    done = sum(user.mask(k).any() for k in range(12))
    user.ui.continueButton.click()
    engines.made[0].work()
    loop.until(user.settled)
    assert sum(user.mask(k).any() for k in range(12)) > done


@pytest.fixture
def another_view(slicer_app):
    """Brings a second axial view into the layout, as another layout does."""
    layout = slicer_app.layoutManager()

    def show():
        view = layout.add("Slice4", "Axial")
        view.show(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"), (0.0, 0.0, 0.0))
        return "Slice4"

    yield show
    layout.remove("Slice4")


def test_a_view_that_appears_while_the_box_is_in_hand_is_enforced(user, loop, another_view):
    user.load()
    user.ui.boxButton.click()
    name = another_view()
    loop.until(lambda: len(user.panel.tools._drags) == 4)
    user.drag((18, 15, 6), (38, 34, 6), name)
    loop.until(user.settled)
    assert user.mask(6).any()
    assert not user.ui.boxButton.checked


def test_a_click_is_previewed_in_a_view_that_has_appeared(user, loop, another_view):
    user.load()
    user.key("P")
    name = another_view()
    loop.until(lambda: len(user.panel.tools._hover_trackers) == 4)
    user.hover(28, 24, 6, name)
    loop.until(lambda: user.session.preview.outline.is_shown)


def test_the_quality_strip_shows_each_slice_and_goes_there(user, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    user.ui.propagateButton.click()
    loop.until(user.settled)
    table = user.ui.qualityStripTable
    assert table.columnCount == 12
    assert "has your prompts" in table.item(0, 6).toolTip()
    table.cellClicked.emit(0, 2)
    assert user.segment_presenter.visible_plane().index == 2
    loop.turn()
    assert table.currentColumn() == 2
    user.ui.confirmButton.click()
    assert "confirmed by you" in table.item(0, 2).toolTip()


def test_a_click_is_read_in_another_way_by_button_and_by_key(user, loop, monkeypatch):
    monkeypatch.setattr(FakeEngine, "num_readings", 3)
    user.load()
    button = user.ui.readingButton
    assert (button.enabled, button.text) == (False, "Next reading (E)")
    user.key("P")
    user.click(28, 24, 6)
    loop.until(lambda: button.enabled)
    assert button.text == "Next reading: 1 of 3 (E)"
    assert "Press E" in user.ui.stateLabel.text
    sizes = [user.mask(6).sum()]
    for act in (button.click, lambda: user.key("E")):
        act()
        loop.until(user.settled)
        sizes.append(user.mask(6).sum())
    assert sizes == sorted(set(sizes))
    assert button.text == "Next reading: 3 of 3 (E)"
    user.view().node.JumpSliceByOffsetting(*user.ras(28, 24, 3))
    loop.until(lambda: not button.enabled)
    user.view().node.JumpSliceByOffsetting(*user.ras(28, 24, 6))
    loop.until(lambda: button.enabled)
    user.key("Ctrl+Z")
    loop.until(user.settled)
    assert button.text == "Next reading: 2 of 3 (E)"
    user.click(30, 24, 6)
    loop.until(user.settled)
    loop.until(lambda: not button.enabled)
    assert button.text == "Next reading (E)"


def test_an_outline_that_has_ended_says_why_and_goes_on_for_one_more_slice(user, loop, monkeypatch):
    monkeypatch.setattr(FakeEngine, "reach", 2)
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    assert not user.ui.extendButton.enabled
    user.ui.propagateButton.click()
    loop.until(user.settled)
    loop.until(lambda: user.ui.extendButton.enabled)
    assert "The object ends on slice 3 (its area became too small" in user.ui.stateLabel.text
    assert (
        "ends here: its area became too small beside the largest slice"
        in user.ui.qualityStripTable.item(0, 9).toolTip()
    )
    user.ui.directionSelector.setCurrentIndex(1)
    user.ui.directionSelector.activated.emit(1)
    user.ui.extendButton.click()
    loop.until(user.settled)
    assert [k for k in range(12) if user.mask(k).any()] == [4, 5, 6, 7, 8, 9]
    loop.until(lambda: "rated" in user.ui.qualityStripTable.item(0, 9).toolTip())


def test_undo_and_redo_share_one_stack_with_manual_edits(user, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    outlined = user.mask(6).copy()
    user.ui.editorWidget.saveStateForUndo()
    user.paint(3)
    assert user.mask(3).any()
    loop.until(lambda: user.ui.undoButton.toolTip == "Take back: Manual edit")
    user.key("Ctrl+Z")
    assert not user.mask(3).any()
    assert (user.mask(6) == outlined).all()
    user.ui.clearButton.click()
    assert not user.mask(6).any()
    user.key("Ctrl+Z")
    assert (user.mask(6) == outlined).all()
    assert user.ui.undoButton.toolTip == "Take back: Box"
    user.ui.undoButton.click()
    assert user.nodes("vtkMRMLMarkupsROINode") == 0
    user.ui.redoButton.click()
    loop.until(user.settled)
    assert (user.mask(6) == outlined).all()


def test_the_next_object_gets_its_own_segment_and_the_list_chooses(user, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    user.key("O")
    user.key("P")
    user.click(10, 10, 3)
    loop.until(user.settled)
    assert user.ui.objectTable.rowCount == 2
    assert user.ui.objectTable.currentRow() == 1
    user.ui.objectTable.setCurrentCell(0, 1)
    assert user.session.document.active == 1
    assert user.ui.editorWidget.currentSegmentID() == user.session.document.objects.segment_id(1)


def test_a_segment_chosen_in_the_editor_stays_chosen_until_another_object_is_active(user, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    editor, segmentation = user.ui.editorWidget, user.ui.segmentationSelector.currentNode()
    own = segmentation.GetSegmentation().AddEmptySegment("", "own")
    editor.setCurrentSegmentID(own)
    user.ui.propagateButton.click()
    loop.until(user.settled)
    assert editor.currentSegmentID() == own
    user.key("O")
    second = user.session.document.objects.segment_id(2)
    assert editor.currentSegmentID() == second
    editor.setCurrentSegmentID(own)
    user.ui.segmentationSelector.setCurrentNode(None)
    user.ui.segmentationSelector.setCurrentNode(segmentation)
    loop.until(lambda: editor.currentSegmentID() == second)


def test_a_painted_segment_becomes_the_prompt(user, loop):
    user.load()
    segmentation = user.ui.segmentationSelector.currentNode()
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "painted")
    painted = user.paint(6, segment_id)
    user.ui.editorWidget.setCurrentSegmentID(segment_id)
    user.view().node.JumpSliceByOffsetting(*user.ras(0, 0, 6))
    user.key("M")
    loop.until(user.settled)
    user.key("A")
    loop.until(user.settled)
    assert (user.mask(6) == painted).all()
    assert user.mask(5).any()


def test_the_range_and_direction_are_used_and_remembered_in_the_scene(user, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    user.ui.wholeCheckBox.setChecked(False)
    user.ui.firstSpinBox.setValue(5)
    user.ui.lastSpinBox.setValue(8)
    user.ui.directionSelector.setCurrentIndex(1)
    user.ui.directionSelector.activated.emit(1)
    user.ui.propagateButton.click()
    loop.until(user.settled)
    assert [k for k in range(12) if user.mask(k).any()] == [6, 7, 8]
    user.panel.exit()
    user.ui.wholeCheckBox.blockSignals(True)
    user.ui.wholeCheckBox.setChecked(True)
    user.ui.wholeCheckBox.blockSignals(False)
    user.ui.firstSpinBox.blockSignals(True)
    user.ui.firstSpinBox.setMaximum(1)
    user.ui.firstSpinBox.blockSignals(False)
    user.panel.enter()
    assert not user.ui.wholeCheckBox.isChecked()
    assert (user.ui.firstSpinBox.value, user.ui.lastSpinBox.value) == (5, 8)


def test_hole_and_island_settings_are_applied_and_saved_in_the_scene(user, loop, engines):
    user.load()
    ui = user.ui
    assert ui.holesSpinBox.text == "automatic"
    ui.holesSpinBox.setValue(4.5)
    assert ui.holesSpinBox.text == "4.5 mm across"
    ui.islandsCheckBox.click()
    assert not ui.islandsSpinBox.enabled
    ui.cleanWholeCheckBox.click()
    ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    wanted = MaskCleanup(hole_mm=4.5, island_mm=0.0, is_whole=True)
    assert engines.made[0].requests[-1].cleanup == wanted
    ui.propagateButton.click()
    loop.until(user.settled)
    assert ui.undoButton.toolTip == "Take back: Clean up"
    user.panel.exit()
    for box in (ui.islandsCheckBox, ui.cleanWholeCheckBox):
        box.blockSignals(True)
        box.setChecked(not box.isChecked())
        box.blockSignals(False)
    user.panel.enter()
    assert (ui.holesSpinBox.value, ui.islandsCheckBox.isChecked(), ui.cleanWholeCheckBox.isChecked()) == (
        4.5,
        False,
        True,
    )
    ui.holesSpinBox.setValue(0)
    ui.islandsCheckBox.click()
    assert user.session.engine_sync.cleanup == MaskCleanup(is_whole=True)


def test_what_the_engine_does_is_switched_and_remembered_in_the_scene(user, loop, engines):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    before = user.mask(6)
    user.ui.endingSelector.setCurrentIndex(2)
    user.ui.endingSelector.activated.emit(2)
    loop.until(user.settled)
    assert [r.switches for r in engines.made[0].requests if isinstance(r, OpenVolume)] == [
        AUTOMATIC,
        EngineSwitches(ends_by_shape=False),
    ]
    assert (user.mask(6) == before).all()
    user.ui.propagateButton.click()
    loop.until(user.settled)
    assert user.mask(7).any()
    user.ui.endingSelector.setCurrentIndex(0)
    user.panel.restore()
    assert user.ui.endingSelector.currentIndex == 2
    assert user.ui.cropsSelector.currentIndex == 0


def test_keys_work_only_while_the_module_is_shown_and_only_with_their_button(user):
    user.load()
    user.key("A")
    assert user.session.engine_sync.propagation.request is None
    assert len(user.panel.shortcuts.active()) == 23
    for button, key in ((user.ui.positiveButton, "(P)"), (user.ui.stopButton, "(Q)"), (user.ui.undoButton, "(Ctrl+Z)")):
        assert button.text.endswith(key)
    user.panel.exit()
    assert user.panel.shortcuts.active() == ()


def test_closing_the_scene_ends_the_session_and_a_new_one_can_begin(user, slicer_app, loop):
    user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    slicer_app.mrmlScene().Clear(0)
    loop.turn()
    assert user.ui.stateLabel.text.startswith("Choose a volume.")
    user.load(name="T2")
    user.key("P")
    user.click(28, 24, 6)
    loop.until(user.settled)
    assert user.mask(6).any()


def test_a_deleted_volume_is_reported_and_nothing_can_be_pressed(user, slicer_app, loop):
    node = user.load()
    slicer_app.mrmlScene().RemoveNode(node)
    loop.turn()
    assert not user.ui.boxButton.enabled
    assert user.ui.stateLabel.text.startswith("Choose a volume.")


def test_another_engine_is_used_and_remembered_without_its_token(user, engines, slicer_app, loop):
    user.load()
    user.ui.placeSelector.setCurrentIndex(2)
    user.ui.useEngineButton.click()
    assert "port" in user.ui.testLabel.text
    user.ui.portSpinBox.setValue(4242)
    user.ui.tokenEdit.setText("secret")
    user.ui.deviceSelector.setCurrentIndex(1)
    user.ui.useEngineButton.click()
    user.key("P")
    user.click(28, 24, 6)
    loop.until(user.settled)
    assert engines.choices[-1].place is Place.REMOTE
    assert engines.choices[-1].device == "cuda"
    remembered = slicer_app.userSettings().value("NeuroSAM2/Engine")
    assert "4242" in remembered
    assert "secret" not in remembered


def test_the_test_button_says_what_works(user, loop):
    user.ui.testButton.click()
    assert user.ui.testButton.text == "Cancel test"
    loop.until(lambda: user.ui.testButton.text == "Test")
    assert user.ui.testLabel.text.startswith("It works: nano on ")


def test_an_engine_that_dies_again_and_again_is_given_up_on_until_asked(user, engines, loop):
    user.load()
    user.ui.boxButton.click()
    engines.is_patient = True
    user.drag((18, 15, 6), (38, 34, 6))
    for _ in range(3):
        engines.made[-1].kill()
        loop.turn()
        user.panel.bridge.wake()
    assert user.ui.stateButton.text == "Try again"
    engines.is_patient = False
    user.ui.stateButton.click()
    loop.until(user.settled)
    assert user.mask(6).any()


def test_every_widget_that_can_be_reached_says_what_it_does(user, qt):
    silent = []
    for widget in user.module.parent.findChildren(qt.QWidget):
        takes_input = isinstance(widget, qt.QPushButton | qt.QComboBox | qt.QSpinBox | qt.QLineEdit | qt.QCheckBox)
        if takes_input and widget.objectName in vars(user.ui) and not widget.toolTip:
            silent.append(widget.objectName)
    assert [name for name in silent if name not in ("helpLabel", "ComboBox", "qt_spinbox_lineedit")] == []


@pytest.fixture
def questions(monkeypatch, tmp_path):
    """What the person is asked; the answer is `questions.answer`. Downloads go into a folder of their own, from a pretended server."""
    asked = Questions()
    trainer = Path(__file__).parents[1] / "Support" / "fake_trainer.py"
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", asked)
    monkeypatch.setattr(EngineChoice, "command", lambda choice, slicer_python: (sys.executable, str(trainer)))
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    return asked


class Questions:
    def __init__(self):
        self.texts, self.answer = [], True

    def __call__(self, text, windowTitle=""):  # noqa: N803  (Slicer's name)
        self.texts.append(text)
        return self.answer


def test_a_model_is_downloaded_only_after_consent_and_then_used(questions, user, loop, engines, qt):
    user.load()
    user.key("P")
    user.click(28, 24, 6)
    loop.until(user.settled)
    number = user.ui.modelSelector.findText("sam2.1_hiera_tiny", qt.Qt.MatchStartsWith)
    assert "to be downloaded" in user.ui.modelSelector.itemText(number)
    user.ui.modelSelector.setCurrentIndex(number)
    questions.answer = False
    user.ui.useEngineButton.click()
    assert "Apache-2.0" in questions.texts[0]
    assert user.ui.testLabel.text == "Sam2.1_hiera_tiny was not downloaded"
    assert user.segment_presenter.choice.model == "nano"
    questions.answer = True
    user.ui.useEngineButton.click()
    assert user.ui.cancelDownloadButton.isVisibleTo(user.ui.engineSection)
    loop.until(lambda: "used from now on" in user.ui.testLabel.text)
    assert "sam2.1_hiera_tiny" in user.segment_presenter.choice.model
    assert any(getattr(one, "model", "").find("sam2.1_hiera_tiny") >= 0 for one in engines.made[-1].requests)
    assert not user.ui.cancelDownloadButton.isVisibleTo(user.ui.engineSection)


def test_a_missing_package_is_installed_only_after_consent(questions, user, loop, monkeypatch):
    monkeypatch.setattr(user.panel.installer, "found", lambda place: Found(modules=frozenset({"torch", "numpy"})))
    installed = []
    monkeypatch.setattr(slicer.util, "pip_install", installed.append, raising=False)
    user.panel.enter()
    loop.turn()
    assert "needed: scipy, safetensors, jaxtyping" in user.ui.stateLabel.text
    questions.answer = False
    user.ui.stateButton.click()
    assert installed == []
    questions.answer = True
    user.ui.stateButton.click()
    assert len(installed) == 1
    assert "safetensors" in installed[0]


def test_torch_comes_by_the_pytorch_extension_and_a_restart(questions, user, loop, monkeypatch, slicer_app):
    installer = user.panel.installer
    monkeypatch.setattr(installer, "found", lambda place: Found(is_restart_due=installer.is_restart_due))
    user.panel.enter()
    loop.turn()
    assert user.ui.stateButton.text == "Install PyTorch extension"
    user.ui.stateButton.click()
    assert slicer_app.extensions.installed == {"PyTorch"}
    assert user.ui.stateButton.text == "Restart Slicer"
    user.ui.stateButton.click()
    assert slicer_app.num_restarts == 1


def test_without_a_network_it_is_reported_what_to_do(questions, user, loop, monkeypatch, slicer_app):
    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    monkeypatch.setattr(user.panel.installer, "found", lambda place: Found())
    monkeypatch.setattr(slicer_app.extensions, "can_install", False)
    user.panel.enter()
    loop.turn()
    user.ui.stateButton.click()
    assert "choose another Python" in shown[0]
    assert user.ui.stateButton.text == "Install PyTorch extension"


def test_work_that_was_not_saved_is_offered_and_comes_back(user, loop, monkeypatch):
    node = user.load()
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    outlined = user.mask(6).copy()
    journal = user.session.document.journal.path
    text = journal.read_text(encoding="utf-8")
    user.ui.segmentationSelector.setCurrentNode(None)
    journal.write_text(text, encoding="utf-8")
    monkeypatch.setattr("NeuroSAM2Lib.segmentation.journal._is_running", lambda lock_file: False)
    slicer.mrmlScene.RemoveNode(user.nodes_of("vtkMRMLSegmentationNode")[0])
    user.ui.volumeSelector.setCurrentNode(node)
    user.ui.stateButton.click()
    assert user.ui.stateButton.text == "Bring it back"
    user.ui.stateButton.click()
    loop.until(user.settled)
    assert (user.mask(6) == outlined).all()
    assert not user.ui.stateButton.isVisible()
