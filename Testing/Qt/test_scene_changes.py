"""The segmentation panel while scenes are saved, closed, opened and added, and while selectors say what nobody chose."""

import pytest
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings

from NeuroSAM2Core.volume import Direction, MaskCleanup
from Testing.Qt.panel_user import PanelUser, blob
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_volume


@pytest.fixture
def open_desk(slicer_app, loop, monkeypatch):
    """Brings the module up for the first time."""
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
    desks = []

    def open_one():
        assert not desks, "Slicer has one panel of a module"
        desks.append(PanelUser(slicer_app, loop))
        return desks[-1]

    open_one.close = lambda: desks.pop().close()
    yield open_one
    for one in desks:
        one.close()


@pytest.fixture
def user(open_desk):
    return open_desk()


def outline(user, loop):
    user.ui.boxButton.click()
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)


@pytest.fixture
def saved(slicer_app, open_desk, loop, tmp_path):
    """A scene with a head, a segmentation and a box, saved by a panel that is gone; and the mask."""
    before = open_desk()
    before.load(name="saved")
    outline(before, loop)
    path, mask = tmp_path / "scene.mrb", before.mask(6).copy()
    slicer_app.mrml.save(path)
    open_desk.close()
    slicer_app.mrmlScene().Clear(0)
    return path, mask


def check_all_works(user, loop, mask):
    """What the scene remembers is there, and the next step goes into it and can be taken back."""
    volume, segmentation = user.ui.volumeSelector.currentNode(), user.ui.segmentationSelector.currentNode()
    assert (volume.GetName(), user.ui.boxButton.enabled) == ("saved", True)
    assert user.ui.editorWidget.segmentationNode() is segmentation
    assert user.ui.editorWidget.sourceVolumeNode() is volume
    assert (user.mask(6) == mask).all()
    user.show(volume)
    user.key("N")
    user.click(30, 24, 6)
    loop.until(user.settled)
    assert user.mask(6).sum() < mask.sum()
    assert user.ui.undoButton.enabled
    user.ui.undoButton.click()
    loop.until(user.settled)
    assert (user.mask(6) == mask).all()


def test_a_scene_that_is_opened_again_can_be_gone_on_with_and_taken_back(saved, user, slicer_app, loop):
    path, mask = saved
    slicer_app.mrml.load(path)
    loop.turn()
    check_all_works(user, loop, mask)


def test_a_scene_that_takes_the_place_of_another_in_one_batch_is_taken_up(saved, user, slicer_app, loop):
    path, mask = saved
    user.load(name="before")
    outline(user, loop)
    scene = slicer_app.mrmlScene()
    scene.StartState(scene.BatchProcessState)
    scene.Clear(0)
    slicer_app.mrml.load(path)
    scene.EndState(scene.BatchProcessState)
    loop.turn()
    check_all_works(user, loop, mask)


def test_a_scene_opened_before_the_module_is_shown_is_taken_up(saved, slicer_app, open_desk, loop):
    path, mask = saved
    slicer_app.mrml.load(path)
    user = open_desk()
    memory = PanelSettings(slicer_app.mrmlScene())
    assert memory.volume_node.GetName() == "saved"
    assert memory.segmentation_node is not None
    loop.turn()
    check_all_works(user, loop, mask)


def test_setting_the_panel_up_takes_the_scene_up_before_it_is_shown(saved, slicer_app, loop, monkeypatch):
    from Testing.Qt.host.modules import load_module
    from Testing.Qt.panel_user import SLICER

    slicer_app.mrml.load(saved[0])
    module = load_module(SLICER / "NeuroSAM2Segment" / "NeuroSAM2Segment.py", is_shown=False)
    assert module.widget.panel.segment_presenter.session is not None
    module.close()


def test_a_script_that_closes_the_scene_and_goes_on_at_once_is_not_overtaken(user, slicer_app, loop):
    user.load(name="first")
    outline(user, loop)
    slicer_app.mrmlScene().Clear(0)
    node = add_volume(slicer_app.mrml, blob(), GEOMETRIES["anisotropic"], name="second")
    user.ui.volumeSelector.setCurrentNode(node)
    segmentation = user.segment_presenter.new_segmentation()
    user.ui.segmentationSelector.setCurrentNode(segmentation)
    loop.turn()
    assert user.session.document.volume_node is node
    assert user.ui.editorWidget.segmentationNode() is segmentation


def test_a_scene_that_is_added_changes_nothing_that_is_chosen(saved, user, slicer_app, loop):
    memory = PanelSettings(slicer_app.mrmlScene())
    node = user.load(name="mine")
    outline(user, loop)
    user.ui.holesSpinBox.setValue(4.5)
    memory.direction, memory.slice_range = Direction.UP, (2, 7)
    session, mask = user.session, user.mask(6).copy()
    slicer_app.mrml.load(saved[0])
    loop.turn()
    assert user.session is session
    assert not session.ended
    assert (user.ui.volumeSelector.currentNode(), memory.volume_node) == (node, node)
    assert memory.segmentation_node is session.document.segmentation_node
    assert user.ui.editorWidget.segmentationNode() is session.document.segmentation_node
    assert (memory.cleanup, memory.direction, memory.slice_range) == (MaskCleanup(hole_mm=4.5), Direction.UP, (2, 7))
    user.key("N")
    user.click(30, 24, 6)
    loop.until(user.settled)
    user.ui.undoButton.click()
    loop.until(user.settled)
    assert (user.mask(6) == mask).all()
    assert user.nodes("vtkMRMLScalarVolumeNode") == 2


def test_another_segmentation_of_the_same_name_is_worked_on_once_it_is_chosen(user, loop, qt):
    user.load()
    first = user.ui.segmentationSelector.currentNode()
    second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", first.GetName())
    combo = user.ui.segmentationSelector.findChild(qt.QComboBox, "ComboBox")
    combo.setCurrentIndex(2)
    combo.activated.emit(2)
    assert user.session.document.segmentation_node is second
    assert user.ui.editorWidget.segmentationNode() is second
    user.ui.segmentationSelector.setCurrentNode(first)
    user.panel.bridge.wake()
    assert user.session.document.segmentation_node is first


def test_another_volume_of_the_same_name_is_worked_on_once_it_is_chosen(user, slicer_app, loop):
    user.load(name="T1")
    second = add_volume(slicer_app.mrml, blob(seed=1), GEOMETRIES["anisotropic"], name="T1")
    user.ui.volumeSelector.setCurrentNode(second)
    user.panel.bridge.wake()
    assert user.session.document.volume_node is second
    assert user.ui.editorWidget.sourceVolumeNode() is second


def test_a_new_name_of_what_is_chosen_leaves_session_and_tool_alone(user, loop):
    node = user.load()
    session = user.session
    user.key("P")
    node.SetName("renamed")
    loop.turn()
    assert user.ui.positiveButton.checked
    assert user.session is session


def test_a_deleted_volume_is_not_replaced_by_its_neighbour_in_the_list(user, slicer_app, loop):
    node = user.load()
    add_volume(slicer_app.mrml, blob(seed=1), GEOMETRIES["anisotropic"], name="other")
    slicer_app.mrmlScene().RemoveNode(node)
    loop.turn()
    assert user.ui.volumeSelector.currentNode() is None
    assert user.session is None
    assert user.ui.stateLabel.text.startswith("Choose a volume.")


def test_a_batch_of_someone_else_leaves_session_and_editor_alone(user, slicer_app, loop):
    user.load()
    outline(user, loop)
    session, scene = user.session, slicer_app.mrmlScene()
    scene.StartState(scene.BatchProcessState)
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    scene.EndState(scene.BatchProcessState)
    loop.turn()
    assert user.session is session
    assert user.ui.editorWidget.segmentationNode() is session.document.segmentation_node
    assert user.ui.undoButton.enabled


def test_what_is_chosen_in_a_batch_is_handed_to_the_editor(user, slicer_app, loop):
    user.load()
    scene = slicer_app.mrmlScene()
    scene.StartState(scene.BatchProcessState)
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    user.ui.segmentationSelector.setCurrentNode(other)
    scene.EndState(scene.BatchProcessState)
    loop.turn()
    assert user.session.document.segmentation_node is other
    assert user.ui.editorWidget.segmentationNode() is other


def test_showing_a_range_does_not_write_another_into_the_scene(user, slicer_app, loop):
    memory = PanelSettings(slicer_app.mrmlScene())
    user.load()
    memory.slice_range = (2, 7)
    user.panel.restore()
    user.ui.segmentationSelector.setCurrentNode(None)
    loop.turn()
    assert memory.slice_range == (2, 7)
    assert (user.ui.firstSpinBox.value, user.ui.lastSpinBox.value) == (2, 7)


def test_undo_does_not_go_back_beyond_another_engine(user, loop):
    user.load()
    outline(user, loop)
    user.panel._use_engine(EngineChoice(device="cpu"))
    assert user.ui.editorWidget.segmentationNode() is user.session.document.segmentation_node
    assert not user.ui.undoButton.enabled
    user.key("N")
    user.click(30, 24, 6)
    loop.until(user.settled)
    user.ui.undoButton.click()
    loop.until(user.settled)
    assert user.session.document.active_record.prompts.boxes
    assert not user.session.document.active_record.prompts.points


def test_a_sample_on_a_fresh_start_logs_no_error(user, loop):
    from Testing.Qt.host.log import errors

    user.ui.stateButton.click()
    user.ui.stateButton.click()
    loop.turn()
    assert user.session is not None
    assert errors == []
