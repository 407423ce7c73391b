"""The table of objects in Slicer's panel."""

import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice

from Testing.Qt.panel_user import PanelUser, qt
from Testing.Support.fake_engine import FakeEngine


@pytest.fixture
def user(slicer_app, loop, monkeypatch):
    """A person with two objects."""
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
    user = PanelUser(slicer_app, loop)
    user.load()
    for low, high in (((10, 10, 6), (30, 30, 6)), ((20, 20, 6), (40, 40, 6))):
        if user.session.document.active is not None:
            user.ui.nextObjectButton.click()
        user.ui.boxButton.click()
        user.drag(low, high)
        loop.until(user.settled)
    loop.until(lambda: user.ui.objectTable.rowCount == 2)
    yield user
    user.close()


def segment(user, number=1):
    objects = user.session.document.objects
    return objects.node.GetSegmentation().GetSegment(objects.segment_id(number))


def test_a_name_is_edited_in_place_and_a_refused_one_gives_way(user, loop):
    user.object_cell(0, "Object").setText("  tumour ")
    loop.until(lambda: user.object_text(0, "Object") == "tumour")
    assert segment(user).GetName() == "tumour"
    user.object_cell(0, "Object").setText(" ")
    assert user.object_text(0, "Object") == "tumour"
    loop.until(lambda: "needs a name" in user.ui.stateLabel.text)
    segment(user).SetName("renamed in another module")
    loop.until(lambda: user.object_text(0, "Object") == "renamed in another module")


def test_a_double_click_on_the_colour_asks_for_another_one(user, loop):
    answers = [None, (1.0, 0.0, 0.0)]
    user.panel.objects.ask_colour = lambda colour: answers.pop(0)
    before = segment(user, 2).GetColor()
    user.ui.objectTable.cellDoubleClicked.emit(1, 0)
    assert segment(user, 2).GetColor() == before
    user.ui.objectTable.cellDoubleClicked.emit(1, 0)
    assert segment(user, 2).GetColor() == (1.0, 0.0, 0.0)


def test_objects_are_hidden_by_their_box_alone_and_all_by_the_key(user, loop):
    display = user.session.document.segmentation_node.GetDisplayNode()
    first = user.session.document.objects.segment_id(1)
    user.ui.objectTable.setCurrentCell(0, 3)
    user.object_cell(0, "Shown").setCheckState(qt.Qt.Unchecked)
    assert user.session.document.active == 2
    assert not display.GetSegmentVisibility(first)
    display.SetSegmentVisibility(first, True)
    loop.until(lambda: user.object_cell(0, "Shown").checkState() == qt.Qt.Checked)
    user.ui.showOnlyButton.click()
    assert not display.GetSegmentVisibility(first)
    user.key("H")
    assert not display.GetVisibility()
    loop.until(lambda: user.ui.hideButton.checked)
    user.key("H")
    assert display.GetVisibility()


def test_opacity_and_fill_are_set_for_all_objects(user, loop):
    display = user.session.document.segmentation_node.GetDisplayNode()
    user.ui.opacitySlider.setValue(30)
    user.ui.fillSelector.setCurrentIndex(2)
    user.ui.fillSelector.activated.emit(2)
    assert display.GetOpacity() == 0.3
    assert (display.GetVisibility2DFill(), display.GetVisibility2DOutline()) == (False, True)
    display.SetOpacity(0.8)
    loop.until(lambda: user.ui.opacitySlider.value == 80)


def test_window_presets_and_the_values_of_an_object(user, loop):
    display = user.session.document.volume_node.GetDisplayNode()
    user.ui.windowSelector.activated.emit(2)
    assert (display.GetWindow(), display.GetLevel()) == (80, 40)
    user.ui.windowSelector.activated.emit(1)
    assert (display.GetWindow(), display.GetLevel()) != (80, 40)
    user.ui.windowSelector.activated.emit(5)
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"
    user.ui.valuesButton.click()
    loop.until(lambda: "Object 2 on slice" in user.ui.stateLabel.text)


def choose(menu, title):
    """An entry of a menu."""
    menu.aboutToShow.emit()
    next(one for one in menu.actions() if one.text == title).trigger()


def test_a_locked_object_takes_no_click_and_no_paint(user, loop):
    user.object_cell(1, "Lock").setCheckState(qt.Qt.Checked)
    loop.until(lambda: user.object_cell(1, "Lock").checkState() == qt.Qt.Checked)
    before = user.mask(6, 2)
    user.key("P")
    user.click(5, 5, 6)
    loop.until(lambda: "object 2 is locked" in user.ui.stateLabel.text.lower())
    loop.until(user.settled)
    assert (user.mask(6, 2) == before).all()


def test_the_menu_deletes_duplicates_merges_and_subtracts(user, loop):
    menu, wanted = user.panel.menu, user.mask(6, 1) | user.mask(6, 2)
    user.key("P")
    choose(menu.menu, "Duplicate")
    choose(menu.menu, "Move up")
    loop.until(
        lambda: [user.object_text(row, "Object") for row in range(3)] == ["object 1", "object 2 copy", "object 2"]
    )
    choose(menu.menu, "Delete")
    loop.until(lambda: user.ui.objectTable.rowCount == 2)
    loop.until(lambda: user.session.document.active == 2)
    choose(menu.subtract_menu, "object 1")
    assert not (user.mask(6, 1) & user.mask(6, 2)).any()
    choose(menu.merge_menu, "object 1")
    assert (user.mask(6, 1) == wanted).all()
    loop.until(lambda: user.ui.objectTable.rowCount == 1)
    for _ in range(5):
        user.key("Ctrl+Z")
    loop.until(lambda: user.ui.objectTable.rowCount == 2)
    assert (user.mask(6, 1) | user.mask(6, 2) == wanted).all()
