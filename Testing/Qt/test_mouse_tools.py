"""Our tools beside those of the application: effects of the Segment Editor, modes of the mouse, points under the pointer."""

import numpy as np
import pytest
import slicer
from NeuroSAM2MRML.objects.prompt_nodes import BOX, COLOURS, NEGATIVE

LOW, HIGH = (18, 15, 6), (38, 34, 6)
TOOL_BUTTONS = {"P": "positiveButton", "N": "negativeButton", "X": "boxButton"}


@pytest.fixture
def mouse(slicer_app):
    node = slicer_app.applicationLogic().GetInteractionNode()
    yield node
    node.SetCurrentInteractionMode(node.ViewTransform)


def choose_paint(desk):
    """The person presses Paint under Manual tools, with a segment to paint in."""
    segmentation = desk.ui.segmentationSelector.currentNode()
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "painted")
    desk.ui.editorWidget.setCurrentSegmentID(segment_id)
    desk.ui.editorWidget.setActiveEffectByName("Paint")
    return segment_id


def painted(desk, segment_id):
    segmentation, node = desk.ui.segmentationSelector.currentNode(), desk.ui.volumeSelector.currentNode()
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, node).any()


def is_down(desk, key):
    return getattr(desk.ui, TOOL_BUTTONS[key]).checked


def amber(picture):
    """Pixels in the colour of boxes."""
    return (np.abs(picture - 255.0 * np.array(COLOURS[BOX])) < 30).all(axis=2)


def begin_drag(desk, low=LOW, high=HIGH, **keys):
    """Press, and move half of the way."""
    view = desk.view()
    view.node.JumpSliceByOffsetting(*desk.ras(*low))
    start, end = (np.array(view.to_xy(desk.ras(*place))) for place in (low, high))
    for event, place in (
        ("EnterEvent", start),
        ("MouseMoveEvent", start),
        ("LeftButtonPressEvent", start),
        ("MouseMoveEvent", (start + end) // 2),
    ):
        view.mouse(event, *place, **keys)
    return view, start, (start + end) // 2


@pytest.mark.parametrize("key", TOOL_BUTTONS)
def test_a_tool_of_ours_puts_the_effect_down_and_the_mouse_is_ours(desk, loop, key):
    desk.load()
    segment_id = choose_paint(desk)
    desk.drag(LOW, HIGH)
    assert painted(desk, segment_id)
    desk.ui.editorWidget.undo()
    desk.key(key)
    assert desk.ui.editorWidget.activeEffect() is None
    if key == "X":
        desk.drag(LOW, HIGH)
    else:
        desk.click(28, 24, 6)
    loop.until(desk.settled)
    assert not painted(desk, segment_id)
    assert desk.session.desk.active_record.prompts.planes


@pytest.mark.parametrize("key", TOOL_BUTTONS)
def test_an_effect_puts_our_tool_down_and_the_mouse_is_its_own(desk, loop, key):
    desk.load()
    desk.key(key)
    assert is_down(desk, key)
    segment_id = choose_paint(desk)
    loop.until(lambda: not is_down(desk, key))
    desk.drag(LOW, HIGH)
    loop.until(desk.settled)
    assert painted(desk, segment_id)
    assert not desk.session.desk.active_record.prompts.planes
    assert desk.nodes("vtkMRMLMarkupsROINode") == 0


def test_a_box_is_drawn_and_window_and_level_stay_in_that_mode_of_the_mouse(desk, loop, mouse):
    node = desk.load()
    display = node.GetDisplayNode()
    mouse.SetCurrentInteractionMode(mouse.AdjustWindowLevel)
    before = display.GetWindow(), display.GetLevel()
    desk.drag(LOW, HIGH)
    assert (display.GetWindow(), display.GetLevel()) != before
    before = display.GetWindow(), display.GetLevel()
    desk.key("X")
    desk.drag(LOW, HIGH)
    loop.until(desk.settled)
    assert desk.mask(6).any()
    assert (display.GetWindow(), display.GetLevel()) == before


def test_another_mode_of_the_mouse_puts_the_box_down(desk, loop, mouse):
    desk.load()
    for mode in (mouse.AdjustWindowLevel, mouse.Place):
        mouse.SetCurrentInteractionMode(mouse.ViewTransform)
        desk.key("X")
        mouse.SetCurrentInteractionMode(mode)
        loop.until(lambda: not is_down(desk, "X"))


def test_a_box_that_begins_on_a_point_leaves_the_point_where_it_is(desk, loop):
    desk.load()
    desk.key("P")
    desk.click(18, 15, 6)
    desk.key("P")
    loop.until(desk.settled)
    before = desk.session.desk.active_record.prompts.points
    desk.key("X")
    desk.drag(LOW, HIGH)
    loop.until(desk.settled)
    assert desk.session.desk.active_record.prompts.points == before
    assert len(desk.session.desk.active_record.prompts.boxes) == 1
    desk.drag(LOW, (24, 20, 6))  # without a tool a drag moves the point
    loop.until(desk.settled)
    assert desk.session.desk.active_record.prompts.points != before


def test_a_drag_that_begins_with_a_second_press_is_a_box_too(desk, loop):
    desk.load()
    desk.key("X")
    heard = []
    desk.view().interactor.AddObserver("LeftButtonDoubleClickEvent", lambda *_: heard.append(True))
    view, start, end = begin_drag(desk)
    view.mouse("LeftButtonReleaseEvent", *start)
    view.mouse("LeftButtonDoubleClickEvent", *start)
    view.mouse("MouseMoveEvent", *end)
    view.mouse("LeftButtonReleaseEvent", *end)
    loop.until(desk.settled)
    assert desk.mask(6).any()
    assert not heard


def test_with_shift_held_the_mouse_pans_and_no_box_is_drawn(desk):
    desk.load()
    desk.key("X")
    view, _, _ = begin_drag(desk, has_shift=True)
    view.mouse("LeftButtonReleaseEvent", *view.to_xy(desk.ras(*HIGH)), has_shift=True)
    assert is_down(desk, "X")
    assert desk.nodes("vtkMRMLMarkupsROINode") == 0
    assert not amber(view.draw()).any()


def test_the_box_grows_under_the_pointer_and_is_gone_with_escape(desk, loop):
    desk.load()
    desk.key("X")
    rendered = []
    desk.view().window.AddObserver("EndEvent", lambda *_: rendered.append(True))
    view, start, end = begin_drag(desk)
    assert rendered
    row, col = np.nonzero(amber(view.draw()))
    left, right = sorted((start[0], end[0]))
    low, high = sorted((start[1], end[1]))
    np.testing.assert_allclose([col.min(), col.max(), row.min(), row.max()], [left, right, low, high], atol=2)
    desk.key("Esc")
    loop.turn()
    assert not is_down(desk, "X")
    assert not amber(view.draw()).any()
    view.mouse("LeftButtonReleaseEvent", *end)
    assert desk.nodes("vtkMRMLMarkupsROINode") == 0


@pytest.mark.parametrize("key", TOOL_BUTTONS)
def test_escape_puts_down_whatever_tool_is_in_hand(desk, loop, mouse, key):
    desk.load()
    desk.key(key)
    desk.key("Esc")
    assert not is_down(desk, key)
    assert mouse.GetCurrentInteractionMode() == mouse.ViewTransform
    choose_paint(desk)
    desk.key("Esc")
    assert desk.ui.editorWidget.activeEffect() is None


def test_points_placed_into_another_list_are_not_ours(desk, loop, slicer_app, mouse):
    desk.load()
    desk.key("P")
    slicer.modules.markups.logic().SetActiveList(slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))
    loop.until(lambda: not is_down(desk, "P"))
    assert mouse.GetCurrentInteractionMode() == mouse.Place


def test_a_box_that_is_refused_says_why(desk, loop):
    desk.load()
    desk.key("P")
    desk.click(28, 24, 6)
    loop.until(desk.settled)
    desk.key("X")
    desk.drag((10, 24, 3), (40, 24, 9), "Green")
    loop.until(lambda: "box in another view" in desk.ui.stateLabel.text)
    assert not is_down(desk, "X")


def test_a_point_under_the_pointer_keeps_the_colour_of_its_sign(desk, loop):
    desk.load()
    desk.key("N")
    desk.click(28, 24, 6)
    desk.key("N")
    loop.until(desk.settled)
    desk.ui.segmentationSelector.currentNode().GetDisplayNode().SetVisibility(False)
    desk.hover(28, 24, 6)
    red = (np.abs(desk.view().draw() - 255.0 * np.array(COLOURS[NEGATIVE])) < 60).all(axis=2)
    x, y = desk.view().to_xy(desk.ras(28, 24, 6))
    assert red[y - 5 : y + 6, x - 5 : x + 6].any()
    for node in desk.session.desk.nodes.all_nodes():
        assert node.GetDisplayNode().GetActiveColor() == node.GetDisplayNode().GetSelectedColor()
