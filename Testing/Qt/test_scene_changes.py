"""The segmentation panel while scenes are saved, closed, opened and added, and while selectors say what nobody chose."""

import pytest
import slicer
from NeuroSAM2MRML.engine.choice import EngineChoice
from NeuroSAM2MRML.workplace.panel_memory import PanelMemory

from NeuroSAM2Core.volume import Cleaning, Direction
from Testing.Qt.desk import Desk, blob
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_volume


@pytest.fixture
def open_desk(slicer_app, loop, monkeypatch):
    """Brings the module up for the first time."""
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, own_python: FakeEngine())
    desks = []

    def open_one():
        desks.append(Desk(slicer_app, loop))
        return desks[-1]

    yield open_one
    for one in desks:
        one.close()


@pytest.fixture
def desk(open_desk):
    return open_desk()


def outline(desk, loop):
    desk.ui.boxButton.click()
    desk.drag((18, 15, 6), (38, 34, 6))
    loop.until(desk.settled)


@pytest.fixture
def saved(slicer_app, open_desk, loop, tmp_path):
    """A scene with a head, a segmentation and a box, saved by a panel that is gone; and the mask."""
    before = open_desk()
    before.load(name="saved")
    outline(before, loop)
    path, mask = tmp_path / "scene.mrb", before.mask(6).copy()
    slicer_app.mrml.save(path)
    slicer_app.mrmlScene().Clear(0)
    return path, mask


def check_all_works(desk, loop, mask):
    """What the scene remembers is there, and the next step goes into it and can be taken back."""
    volume, segmentation = desk.ui.volumeSelector.currentNode(), desk.ui.segmentationSelector.currentNode()
    assert (volume.GetName(), desk.ui.boxButton.enabled) == ("saved", True)
    assert desk.ui.editorWidget.segmentationNode() is segmentation
    assert desk.ui.editorWidget.sourceVolumeNode() is volume
    assert (desk.mask(6) == mask).all()
    desk.show(volume)
    desk.key("N")
    desk.click(30, 24, 6)
    loop.until(desk.settled)
    assert desk.mask(6).sum() < mask.sum()
    assert desk.ui.undoButton.enabled
    desk.ui.undoButton.click()
    loop.until(desk.settled)
    assert (desk.mask(6) == mask).all()


def test_a_scene_that_is_opened_again_can_be_gone_on_with_and_taken_back(desk, saved, slicer_app, loop):
    path, mask = saved
    slicer_app.mrml.load(path)
    loop.turn()
    check_all_works(desk, loop, mask)


def test_a_scene_opened_before_the_module_is_shown_is_taken_up(saved, slicer_app, open_desk, loop):
    path, mask = saved
    slicer_app.mrml.load(path)
    desk = open_desk()
    memory = PanelMemory(slicer_app.mrmlScene())
    assert memory.volume_node.GetName() == "saved"
    assert memory.segmentation_node is not None
    loop.turn()
    check_all_works(desk, loop, mask)


def test_setting_the_panel_up_takes_the_scene_up_before_it_is_shown(saved, slicer_app, loop, monkeypatch):
    from Testing.Qt.desk import SLICER
    from Testing.Qt.host.modules import load_module

    slicer_app.mrml.load(saved[0])
    module = load_module(SLICER / "NeuroSAM2Segment" / "NeuroSAM2Segment.py", is_shown=False)
    assert module.widget.panel.workplace.session is not None
    module.close()


def test_a_script_that_closes_the_scene_and_goes_on_at_once_is_not_overtaken(desk, slicer_app, loop):
    desk.load(name="first")
    outline(desk, loop)
    slicer_app.mrmlScene().Clear(0)
    node = add_volume(slicer_app.mrml, blob(), GEOMETRIES["anisotropic"], name="second")
    desk.ui.volumeSelector.setCurrentNode(node)
    segmentation = desk.workplace.new_segmentation()
    desk.ui.segmentationSelector.setCurrentNode(segmentation)
    loop.turn()
    assert desk.session.desk.volume_node is node
    assert desk.ui.editorWidget.segmentationNode() is segmentation


def test_a_scene_that_is_added_changes_nothing_that_is_chosen(desk, saved, slicer_app, loop):
    memory = PanelMemory(slicer_app.mrmlScene())
    node = desk.load(name="mine")
    outline(desk, loop)
    desk.ui.holesSpinBox.setValue(4.5)
    memory.direction, memory.slice_range = Direction.UP, (2, 7)
    session, mask = desk.session, desk.mask(6).copy()
    slicer_app.mrml.load(saved[0])
    loop.turn()
    assert desk.session is session
    assert not session.ended
    assert (desk.ui.volumeSelector.currentNode(), memory.volume_node) == (node, node)
    assert memory.segmentation_node is session.desk.segmentation_node
    assert desk.ui.editorWidget.segmentationNode() is session.desk.segmentation_node
    assert (memory.cleaning, memory.direction, memory.slice_range) == (Cleaning(hole_mm=4.5), Direction.UP, (2, 7))
    desk.key("N")
    desk.click(30, 24, 6)
    loop.until(desk.settled)
    desk.ui.undoButton.click()
    loop.until(desk.settled)
    assert (desk.mask(6) == mask).all()
    assert desk.nodes("vtkMRMLScalarVolumeNode") == 2


def test_another_segmentation_of_the_same_name_is_worked_on_once_it_is_chosen(desk, loop, qt):
    desk.load()
    first = desk.ui.segmentationSelector.currentNode()
    second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", first.GetName())
    combo = desk.ui.segmentationSelector.findChild(qt.QComboBox, "ComboBox")
    combo.setCurrentIndex(2)
    combo.activated.emit(2)
    assert desk.session.desk.segmentation_node is second
    assert desk.ui.editorWidget.segmentationNode() is second
    desk.ui.segmentationSelector.setCurrentNode(first)
    desk.panel.bridge.wake()
    assert desk.session.desk.segmentation_node is first


def test_another_volume_of_the_same_name_is_worked_on_once_it_is_chosen(desk, slicer_app, loop):
    desk.load(name="T1")
    second = add_volume(slicer_app.mrml, blob(seed=1), GEOMETRIES["anisotropic"], name="T1")
    desk.ui.volumeSelector.setCurrentNode(second)
    desk.panel.bridge.wake()
    assert desk.session.desk.volume_node is second
    assert desk.ui.editorWidget.sourceVolumeNode() is second


def test_a_new_name_of_what_is_chosen_leaves_session_and_tool_alone(desk, loop):
    node = desk.load()
    session = desk.session
    desk.key("P")
    node.SetName("renamed")
    loop.turn()
    assert desk.ui.positiveButton.checked
    assert desk.session is session


def test_a_deleted_volume_is_not_replaced_by_its_neighbour_in_the_list(desk, slicer_app, loop):
    node = desk.load()
    add_volume(slicer_app.mrml, blob(seed=1), GEOMETRIES["anisotropic"], name="other")
    slicer_app.mrmlScene().RemoveNode(node)
    loop.turn()
    assert desk.ui.volumeSelector.currentNode() is None
    assert desk.session is None
    assert desk.ui.stateLabel.text.startswith("Choose a volume.")


def test_a_batch_of_someone_else_leaves_session_and_editor_alone(desk, slicer_app, loop):
    desk.load()
    outline(desk, loop)
    session, scene = desk.session, slicer_app.mrmlScene()
    scene.StartState(scene.BatchProcessState)
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    scene.EndState(scene.BatchProcessState)
    loop.turn()
    assert desk.session is session
    assert desk.ui.editorWidget.segmentationNode() is session.desk.segmentation_node
    assert desk.ui.undoButton.enabled


def test_what_is_chosen_in_a_batch_is_handed_to_the_editor(desk, slicer_app, loop):
    desk.load()
    scene = slicer_app.mrmlScene()
    scene.StartState(scene.BatchProcessState)
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    desk.ui.segmentationSelector.setCurrentNode(other)
    scene.EndState(scene.BatchProcessState)
    loop.turn()
    assert desk.session.desk.segmentation_node is other
    assert desk.ui.editorWidget.segmentationNode() is other


def test_showing_a_range_does_not_write_another_into_the_scene(desk, slicer_app, loop):
    memory = PanelMemory(slicer_app.mrmlScene())
    desk.load()
    memory.slice_range = (2, 7)
    desk.panel.restore()
    desk.ui.segmentationSelector.setCurrentNode(None)
    loop.turn()
    assert memory.slice_range == (2, 7)
    assert (desk.ui.firstSpinBox.value, desk.ui.lastSpinBox.value) == (2, 7)


def test_a_sample_on_a_fresh_start_logs_no_error(desk, loop):
    from Testing.Qt.host.log import errors

    desk.ui.stateButton.click()
    desk.ui.stateButton.click()
    loop.turn()
    assert desk.session is not None
    assert errors == []
