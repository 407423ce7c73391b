"""The segmentation panel, driven through its widgets, with an engine that answers at once."""

import sys
from pathlib import Path

import pytest
import slicer
from NeuroSAM2MRML.engine.choice import EngineChoice, Place
from NeuroSAM2MRML.engine.installation import Found

from NeuroSAM2Core.protocol import AUTOMATIC, EngineSwitches, OpenVolume
from NeuroSAM2Core.volume import Cleaning
from Testing.Qt.desk import Desk
from Testing.Support.fake_engine import FakeEngine


class Engines:
    """What the panel starts in place of a process."""

    def __init__(self):
        self.made, self.choices, self.is_patient = [], [], False

    def __call__(self, choice, own_python):
        choice.check()
        self.choices.append(choice)
        self.made.append(FakeEngine(is_patient=self.is_patient))
        return self.made[-1]


@pytest.fixture
def engines(monkeypatch):
    made = Engines()
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, own_python: made(choice, own_python))
    return made


@pytest.fixture
def desk(slicer_app, loop, engines):
    sitting = Desk(slicer_app, loop)
    yield sitting
    sitting.close()


def test_the_panel_leads_from_an_empty_scene_to_the_first_click(desk):
    assert desk.ui.stateLabel.text.startswith("Choose a volume.")
    assert desk.ui.stateButton.text == "Load sample"
    assert not desk.ui.boxButton.enabled
    desk.load()
    assert desk.ui.segmentationSelector.currentNode() is not None
    assert desk.ui.stateLabel.text.startswith("Ready.")
    assert not desk.ui.stateButton.isVisible()
    assert desk.ui.boxButton.enabled
    assert not desk.ui.propagateButton.enabled


def test_a_box_dragged_in_a_view_becomes_a_mask_there(desk, loop):
    desk.load()
    desk.ui.boxButton.click()
    assert desk.ui.boxButton.checked
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    assert desk.mask(6).any()
    assert not desk.ui.boxButton.checked
    assert desk.ui.propagateButton.enabled
    assert desk.ui.volumeInMlLabel.text.endswith("mL")


def test_points_of_both_signs_are_placed_by_keys_and_clicks(desk, loop):
    desk.load()
    desk.key("P")
    assert desk.ui.positiveButton.checked
    desk.click(28, 24, 6)
    loop.until(desk.settled)
    first = desk.mask(6).sum()
    desk.key("N")
    assert desk.ui.negativeButton.checked
    assert not desk.ui.positiveButton.checked
    desk.click(30, 24, 6)
    loop.until(desk.settled)
    assert 0 < desk.mask(6).sum() < first
    desk.key("N")
    assert not desk.ui.negativeButton.checked


def test_propagation_shows_its_progress_stops_and_goes_on(desk, loop, engines):
    engines.is_patient = True
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    engines.made[0].work()
    loop.until(desk.settled)
    desk.key("A")
    engines.made[0].work(3)
    loop.until(lambda: "of" in desk.ui.paceLabel.text)
    assert desk.ui.stopButton.enabled
    assert desk.ui.progressBar.isVisible()
    desk.key("Q")
    engines.made[0].work()
    loop.until(desk.settled)
    assert desk.ui.continueButton.enabled
    assert "stopped" in desk.ui.stateLabel.text.lower()
    done = sum(desk.mask(k).any() for k in range(12))
    desk.ui.continueButton.click()
    engines.made[0].work()
    loop.until(desk.settled)
    assert sum(desk.mask(k).any() for k in range(12)) > done


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


def test_a_view_that_appears_while_the_box_is_in_hand_is_heard(desk, loop, another_view):
    desk.load()
    desk.ui.boxButton.click()
    name = another_view()
    loop.until(lambda: len(desk.panel.tools._drags) == 4)
    desk.drag((18, 15, 6), (38, 34, 6), name)
    loop.until(desk.settled)
    assert desk.mask(6).any()
    assert not desk.ui.boxButton.checked


def test_a_click_is_previewed_in_a_view_that_has_appeared(desk, loop, another_view):
    desk.load()
    desk.key("P")
    name = another_view()
    loop.until(lambda: len(desk.panel.tools._pointings) == 4)
    desk.hover(28, 24, 6, name)
    loop.until(lambda: desk.session.preview.outline.is_shown)


def test_the_ribbon_shows_each_slice_and_goes_there(desk, loop):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    desk.ui.propagateButton.click()
    loop.until(desk.settled)
    table = desk.ui.ribbonTable
    assert table.columnCount == 12
    assert "confirmed by you" in table.item(0, 6).toolTip()
    table.cellClicked.emit(0, 2)
    assert desk.workplace.looked_at().index == 2
    loop.turn()
    assert table.currentColumn() == 2
    desk.ui.confirmButton.click()
    assert "confirmed by you" in table.item(0, 2).toolTip()


def test_a_click_is_read_in_another_way_by_button_and_by_key(desk, loop, monkeypatch):
    monkeypatch.setattr(FakeEngine, "num_readings", 3)
    desk.load()
    button = desk.ui.readingButton
    assert (button.enabled, button.text) == (False, "Next reading (E)")
    desk.key("P")
    desk.click(28, 24, 6)
    loop.until(lambda: button.enabled)
    assert button.text == "Next reading: 1 of 3 (E)"
    assert "Press E" in desk.ui.stateLabel.text
    sizes = [desk.mask(6).sum()]
    for act in (button.click, lambda: desk.key("E")):
        act()
        loop.until(desk.settled)
        sizes.append(desk.mask(6).sum())
    assert sizes == sorted(set(sizes))
    assert button.text == "Next reading: 3 of 3 (E)"
    desk.view().node.JumpSliceByOffsetting(*desk.ras(28, 24, 3))
    loop.until(lambda: not button.enabled)
    desk.view().node.JumpSliceByOffsetting(*desk.ras(28, 24, 6))
    loop.until(lambda: button.enabled)
    desk.key("Ctrl+Z")
    loop.until(desk.settled)
    assert button.text == "Next reading: 2 of 3 (E)"
    desk.click(30, 24, 6)
    loop.until(desk.settled)
    loop.until(lambda: not button.enabled)
    assert button.text == "Next reading (E)"


def test_an_outline_that_has_ended_says_why_and_goes_on_for_one_more_slice(desk, loop, monkeypatch):
    monkeypatch.setattr(FakeEngine, "reach", 2)
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    assert not desk.ui.extendButton.enabled
    desk.ui.propagateButton.click()
    loop.until(desk.settled)
    loop.until(lambda: desk.ui.extendButton.enabled)
    assert "The object ends on slice 3 (its area fell" in desk.ui.stateLabel.text
    assert "ends here: its area fell below 20 % of the largest slice" in desk.ui.ribbonTable.item(0, 9).toolTip()
    desk.ui.directionSelector.setCurrentIndex(1)
    desk.ui.directionSelector.activated.emit(1)
    desk.ui.extendButton.click()
    loop.until(desk.settled)
    assert [k for k in range(12) if desk.mask(k).any()] == [4, 5, 6, 7, 8, 9]
    loop.until(lambda: "rated" in desk.ui.ribbonTable.item(0, 9).toolTip())


def test_undo_and_redo_share_one_stack_with_manual_edits(desk, loop):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    outlined = desk.mask(6).copy()
    desk.ui.editorWidget.saveStateForUndo()
    desk.paint(3)
    assert desk.mask(3).any()
    loop.until(lambda: desk.ui.undoButton.toolTip == "Take back: Manual edit")
    desk.key("Ctrl+Z")
    assert not desk.mask(3).any()
    assert (desk.mask(6) == outlined).all()
    desk.ui.clearButton.click()
    assert not desk.mask(6).any()
    desk.key("Ctrl+Z")
    assert (desk.mask(6) == outlined).all()
    assert desk.ui.undoButton.toolTip == "Take back: Box"
    desk.ui.undoButton.click()
    assert desk.nodes("vtkMRMLMarkupsROINode") == 0
    desk.ui.redoButton.click()
    loop.until(desk.settled)
    assert (desk.mask(6) == outlined).all()


def test_the_next_object_gets_its_own_segment_and_the_list_chooses(desk, loop):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    desk.key("O")
    desk.key("P")
    desk.click(10, 10, 3)
    loop.until(desk.settled)
    assert desk.ui.objectSelector.count == 2
    assert desk.ui.objectSelector.currentIndex == 1
    desk.ui.objectSelector.activated.emit(0)
    assert desk.session.desk.active == 1
    assert desk.ui.editorWidget.currentSegmentID() == desk.session.desk.objects.segment_id(1)


def test_a_segment_chosen_in_the_editor_stays_chosen_until_another_object_is_active(desk, loop):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    editor, segmentation = desk.ui.editorWidget, desk.ui.segmentationSelector.currentNode()
    own = segmentation.GetSegmentation().AddEmptySegment("", "own")
    editor.setCurrentSegmentID(own)
    desk.ui.propagateButton.click()
    loop.until(desk.settled)
    assert editor.currentSegmentID() == own
    desk.key("O")
    second = desk.session.desk.objects.segment_id(2)
    assert editor.currentSegmentID() == second
    editor.setCurrentSegmentID(own)
    desk.ui.segmentationSelector.setCurrentNode(None)
    desk.ui.segmentationSelector.setCurrentNode(segmentation)
    loop.until(lambda: editor.currentSegmentID() == second)


def test_a_painted_segment_becomes_the_prompt(desk, loop):
    desk.load()
    segmentation = desk.ui.segmentationSelector.currentNode()
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "painted")
    painted = desk.paint(6, segment_id)
    desk.ui.editorWidget.setCurrentSegmentID(segment_id)
    desk.view().node.JumpSliceByOffsetting(*desk.ras(0, 0, 6))
    desk.key("M")
    loop.until(desk.settled)
    desk.key("A")
    loop.until(desk.settled)
    assert (desk.mask(6) == painted).all()
    assert desk.mask(5).any()


def test_the_range_and_direction_are_used_and_remembered_in_the_scene(desk, loop):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    desk.ui.wholeCheckBox.setChecked(False)
    desk.ui.firstSpinBox.setValue(5)
    desk.ui.lastSpinBox.setValue(8)
    desk.ui.directionSelector.setCurrentIndex(1)
    desk.ui.directionSelector.activated.emit(1)
    desk.ui.propagateButton.click()
    loop.until(desk.settled)
    assert [k for k in range(12) if desk.mask(k).any()] == [6, 7, 8]
    desk.panel.exit()
    desk.ui.wholeCheckBox.blockSignals(True)
    desk.ui.wholeCheckBox.setChecked(True)
    desk.ui.wholeCheckBox.blockSignals(False)
    desk.ui.firstSpinBox.blockSignals(True)
    desk.ui.firstSpinBox.setMaximum(1)
    desk.ui.firstSpinBox.blockSignals(False)
    desk.panel.enter()
    assert not desk.ui.wholeCheckBox.isChecked()
    assert (desk.ui.firstSpinBox.value, desk.ui.lastSpinBox.value) == (5, 8)


def test_holes_and_islands_are_seen_to_as_the_person_wants_and_remembered_in_the_scene(desk, loop, engines):
    desk.load()
    ui = desk.ui
    assert ui.holesSpinBox.text == "automatic"
    ui.holesSpinBox.setValue(4.5)
    assert ui.holesSpinBox.text == "4.5 mm across"
    ui.islandsCheckBox.click()
    assert not ui.islandsSpinBox.enabled
    ui.cleanWholeCheckBox.click()
    ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    wanted = Cleaning(hole_mm=4.5, island_mm=0.0, is_whole=True)
    assert engines.made[0].requests[-1].cleaning == wanted
    ui.propagateButton.click()
    loop.until(desk.settled)
    assert ui.undoButton.toolTip == "Take back: Clean up"
    desk.panel.exit()
    for box in (ui.islandsCheckBox, ui.cleanWholeCheckBox):
        box.blockSignals(True)
        box.setChecked(not box.isChecked())
        box.blockSignals(False)
    desk.panel.enter()
    assert (ui.holesSpinBox.value, ui.islandsCheckBox.isChecked(), ui.cleanWholeCheckBox.isChecked()) == (
        4.5,
        False,
        True,
    )
    ui.holesSpinBox.setValue(0)
    ui.islandsCheckBox.click()
    assert desk.session.talk.cleaning == Cleaning(is_whole=True)


def test_what_the_engine_does_is_switched_and_remembered_in_the_scene(desk, loop, engines):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    before = desk.mask(6)
    desk.ui.endingSelector.setCurrentIndex(2)
    desk.ui.endingSelector.activated.emit(2)
    loop.until(desk.settled)
    assert [r.switches for r in engines.made[0].requests if isinstance(r, OpenVolume)] == [
        AUTOMATIC,
        EngineSwitches(ends_by_shape=False),
    ]
    assert (desk.mask(6) == before).all()
    desk.ui.propagateButton.click()
    loop.until(desk.settled)
    assert desk.mask(7).any()
    desk.ui.endingSelector.setCurrentIndex(0)
    desk.panel.restore()
    assert desk.ui.endingSelector.currentIndex == 2
    assert desk.ui.cropsSelector.currentIndex == 0


def test_keys_work_only_while_the_module_is_shown_and_only_with_their_button(desk):
    desk.load()
    desk.key("A")
    assert desk.session.talk.journey is None
    assert len(desk.panel.shortcuts.active()) == 13
    for button, key in ((desk.ui.positiveButton, "(P)"), (desk.ui.stopButton, "(Q)"), (desk.ui.undoButton, "(Ctrl+Z)")):
        assert button.text.endswith(key)
    desk.panel.exit()
    assert desk.panel.shortcuts.active() == ()


def test_closing_the_scene_ends_the_session_and_a_new_one_can_begin(desk, slicer_app, loop):
    desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    slicer_app.mrmlScene().Clear(0)
    loop.turn()
    assert desk.ui.stateLabel.text.startswith("Choose a volume.")
    desk.load(name="T2")
    desk.key("P")
    desk.click(28, 24, 6)
    loop.until(desk.settled)
    assert desk.mask(6).any()


def test_a_deleted_volume_is_said_and_nothing_can_be_pressed(desk, slicer_app, loop):
    node = desk.load()
    slicer_app.mrmlScene().RemoveNode(node)
    loop.turn()
    assert not desk.ui.boxButton.enabled
    assert desk.ui.stateLabel.text.startswith("Choose a volume.")


def test_another_engine_is_used_and_remembered_without_its_token(desk, engines, slicer_app, loop):
    desk.load()
    desk.ui.placeSelector.setCurrentIndex(2)
    desk.ui.useEngineButton.click()
    assert "port" in desk.ui.testLabel.text
    desk.ui.portSpinBox.setValue(4242)
    desk.ui.tokenEdit.setText("secret")
    desk.ui.deviceSelector.setCurrentIndex(1)
    desk.ui.useEngineButton.click()
    desk.key("P")
    desk.click(28, 24, 6)
    loop.until(desk.settled)
    assert engines.choices[-1].place is Place.REMOTE
    assert engines.choices[-1].device == "cuda"
    remembered = slicer_app.userSettings().value("NeuroSAM2/Engine")
    assert "4242" in remembered
    assert "secret" not in remembered


def test_the_test_button_says_what_works(desk, loop):
    desk.ui.testButton.click()
    assert desk.ui.testButton.text == "Cancel test"
    loop.until(lambda: desk.ui.testButton.text == "Test")
    assert desk.ui.testLabel.text.startswith("It works: nano on ")


def test_an_engine_that_dies_again_and_again_is_given_up_on_until_asked(desk, engines, loop):
    desk.load()
    desk.ui.boxButton.click()
    engines.is_patient = True
    desk.drag((18, 15, 6), (38, 34, 6))
    for _ in range(3):
        engines.made[-1].kill()
        loop.turn()
        desk.panel.bridge.wake()
    assert desk.ui.stateButton.text == "Try again"
    engines.is_patient = False
    desk.ui.stateButton.click()
    loop.until(desk.settled)
    assert desk.mask(6).any()


def test_every_widget_that_can_be_reached_says_what_it_does(desk, qt):
    silent = []
    for widget in desk.module.parent.findChildren(qt.QWidget):
        takes_input = isinstance(widget, qt.QPushButton | qt.QComboBox | qt.QSpinBox | qt.QLineEdit | qt.QCheckBox)
        if takes_input and widget.objectName in vars(desk.ui) and not widget.toolTip:
            silent.append(widget.objectName)
    assert [name for name in silent if name not in ("helpLabel", "ComboBox", "qt_spinbox_lineedit")] == []


@pytest.fixture
def questions(monkeypatch, tmp_path):
    """What the person is asked; the answer is `questions.answer`. Downloads go into a folder of their own, from a pretended server."""
    asked = Questions()
    trainer = Path(__file__).parents[1] / "Support" / "fake_trainer.py"
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", asked)
    monkeypatch.setattr(EngineChoice, "command", lambda choice, own_python: (sys.executable, str(trainer)))
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    return asked


class Questions:
    def __init__(self):
        self.texts, self.answer = [], True

    def __call__(self, text, windowTitle=""):  # noqa: N803  (Slicer's name)
        self.texts.append(text)
        return self.answer


def test_a_model_is_downloaded_only_after_consent_and_then_used(questions, desk, loop, engines, qt):
    desk.load()
    desk.key("P")
    desk.click(28, 24, 6)
    loop.until(desk.settled)
    number = desk.ui.modelSelector.findText("sam2.1_hiera_tiny", qt.Qt.MatchStartsWith)
    assert "to be downloaded" in desk.ui.modelSelector.itemText(number)
    desk.ui.modelSelector.setCurrentIndex(number)
    questions.answer = False
    desk.ui.useEngineButton.click()
    assert "Apache-2.0" in questions.texts[0]
    assert desk.ui.testLabel.text == "Sam2.1_hiera_tiny was not downloaded"
    assert desk.workplace.choice.model == "nano"
    questions.answer = True
    desk.ui.useEngineButton.click()
    assert desk.ui.cancelDownloadButton.isVisibleTo(desk.ui.engineSection)
    loop.until(lambda: "used from now on" in desk.ui.testLabel.text)
    assert "sam2.1_hiera_tiny" in desk.workplace.choice.model
    assert any(getattr(one, "model", "").find("sam2.1_hiera_tiny") >= 0 for one in engines.made[-1].requests)
    assert not desk.ui.cancelDownloadButton.isVisibleTo(desk.ui.engineSection)


def test_a_missing_package_is_installed_only_after_consent(questions, desk, loop, monkeypatch):
    monkeypatch.setattr(desk.panel.installer, "found", lambda place: Found(modules=frozenset({"torch", "numpy"})))
    installed = []
    monkeypatch.setattr(slicer.util, "pip_install", installed.append, raising=False)
    desk.panel.enter()
    loop.turn()
    assert "needed: scipy, safetensors, jaxtyping" in desk.ui.stateLabel.text
    questions.answer = False
    desk.ui.stateButton.click()
    assert installed == []
    questions.answer = True
    desk.ui.stateButton.click()
    assert len(installed) == 1
    assert "safetensors" in installed[0]


def test_torch_comes_by_the_pytorch_extension_and_a_restart(questions, desk, loop, monkeypatch, slicer_app):
    installer = desk.panel.installer
    monkeypatch.setattr(installer, "found", lambda place: Found(is_restart_due=installer.is_restart_due))
    desk.panel.enter()
    loop.turn()
    assert desk.ui.stateButton.text == "Install PyTorch extension"
    desk.ui.stateButton.click()
    assert slicer_app.extensions.installed == {"PyTorch"}
    assert desk.ui.stateButton.text == "Restart Slicer"
    desk.ui.stateButton.click()
    assert slicer_app.num_restarts == 1


def test_without_a_network_it_is_said_what_to_do(questions, desk, loop, monkeypatch, slicer_app):
    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    monkeypatch.setattr(desk.panel.installer, "found", lambda place: Found())
    monkeypatch.setattr(slicer_app.extensions, "can_install", False)
    desk.panel.enter()
    loop.turn()
    desk.ui.stateButton.click()
    assert "choose another Python" in shown[0]
    assert desk.ui.stateButton.text == "Install PyTorch extension"


def test_work_that_was_not_saved_is_offered_and_comes_back(desk, loop, monkeypatch):
    node = desk.load()
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)
    outlined = desk.mask(6).copy()
    journal = desk.session.desk.journal.path
    text = journal.read_text(encoding="utf-8")
    desk.ui.segmentationSelector.setCurrentNode(None)
    journal.write_text(text, encoding="utf-8")
    monkeypatch.setattr("NeuroSAM2MRML.session.journal._is_running", lambda lock_file: False)
    slicer.mrmlScene.RemoveNode(desk.nodes_of("vtkMRMLSegmentationNode")[0])
    desk.ui.volumeSelector.setCurrentNode(node)
    desk.ui.stateButton.click()
    assert desk.ui.stateButton.text == "Bring it back"
    desk.ui.stateButton.click()
    loop.until(desk.settled)
    assert (desk.mask(6) == outlined).all()
    assert not desk.ui.stateButton.isVisible()
