"""Our tools beside those of the application: effects of the Segment Editor, modes of the mouse, points under the pointer."""

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import BOX, COLOURS, NEGATIVE

LOW, HIGH = (18, 15, 6), (38, 34, 6)
TOOL_BUTTONS = {"P": "positiveButton", "N": "negativeButton", "X": "boxButton"}


@pytest.fixture
def mouse(slicer_app):
    node = slicer_app.applicationLogic().GetInteractionNode()
    yield node
    node.SetCurrentInteractionMode(node.ViewTransform)


def choose_paint(user):
    """The person presses Paint under Manual tools, with a segment to paint in."""
    segmentation = user.ui.segmentationSelector.currentNode()
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "painted")
    user.ui.editorWidget.setCurrentSegmentID(segment_id)
    user.ui.editorWidget.setActiveEffectByName("Paint")
    return segment_id


def painted(user, segment_id):
    segmentation, node = user.ui.segmentationSelector.currentNode(), user.ui.volumeSelector.currentNode()
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, node).any()


def is_down(user, key):
    return getattr(user.ui, TOOL_BUTTONS[key]).checked


def amber(picture):
    """Pixels in the colour of boxes."""
    return (np.abs(picture - 255.0 * np.array(COLOURS[BOX])) < 30).all(axis=2)


def begin_drag(user, low=LOW, high=HIGH, **keys):
    """Press, and move half of the way."""
    view = user.view()
    view.node.JumpSliceByOffsetting(*user.ras(*low))
    start, end = (np.array(view.to_xy(user.ras(*place))) for place in (low, high))
    for event, place in (
        ("EnterEvent", start),
        ("MouseMoveEvent", start),
        ("LeftButtonPressEvent", start),
        ("MouseMoveEvent", (start + end) // 2),
    ):
        view.mouse(event, *place, **keys)
    return view, start, (start + end) // 2


@pytest.mark.parametrize("key", TOOL_BUTTONS)
def test_a_tool_of_ours_puts_the_effect_down_and_the_mouse_is_ours(user, loop, key):
    user.load()
    segment_id = choose_paint(user)
    user.drag(LOW, HIGH)
    assert painted(user, segment_id)
    user.ui.editorWidget.undo()
    user.key(key)
    assert user.ui.editorWidget.activeEffect() is None
    if key == "X":
        user.drag(LOW, HIGH)
    else:
        user.click(28, 24, 6)
    loop.until(user.settled)
    assert not painted(user, segment_id)
    assert user.session.document.active_record.prompts.planes


@pytest.mark.parametrize("key", TOOL_BUTTONS)
def test_an_effect_puts_our_tool_down_and_the_mouse_is_its_own(user, loop, key):
    user.load()
    user.key(key)
    assert is_down(user, key)
    segment_id = choose_paint(user)
    loop.until(lambda: not is_down(user, key))
    user.drag(LOW, HIGH)
    loop.until(user.settled)
    assert painted(user, segment_id)
    assert not user.session.document.active_record.prompts.planes
    assert user.nodes("vtkMRMLMarkupsROINode") == 0


def test_a_box_is_drawn_and_window_and_level_stay_in_that_mode_of_the_mouse(user, loop, mouse):
    node = user.load()
    display = node.GetDisplayNode()
    mouse.SetCurrentInteractionMode(mouse.AdjustWindowLevel)
    before = display.GetWindow(), display.GetLevel()
    user.drag(LOW, HIGH)
    assert (display.GetWindow(), display.GetLevel()) != before
    before = display.GetWindow(), display.GetLevel()
    user.key("X")
    user.drag(LOW, HIGH)
    loop.until(user.settled)
    assert user.mask(6).any()
    assert (display.GetWindow(), display.GetLevel()) == before


def test_another_mode_of_the_mouse_puts_the_box_down(user, loop, mouse):
    user.load()
    for mode in (mouse.AdjustWindowLevel, mouse.Place):
        mouse.SetCurrentInteractionMode(mouse.ViewTransform)
        user.key("X")
        mouse.SetCurrentInteractionMode(mode)
        loop.until(lambda: not is_down(user, "X"))


def test_a_box_that_begins_on_a_point_leaves_the_point_where_it_is(user, loop):
    user.load()
    user.key("P")
    user.click(18, 15, 6)
    user.key("P")
    loop.until(user.settled)
    before = user.session.document.active_record.prompts.points
    user.key("X")
    user.drag(LOW, HIGH)
    loop.until(user.settled)
    assert user.session.document.active_record.prompts.points == before
    assert len(user.session.document.active_record.prompts.boxes) == 1
    user.drag(LOW, (24, 20, 6))  # without a tool a drag moves the point
    loop.until(user.settled)
    assert user.session.document.active_record.prompts.points != before


def test_a_drag_that_begins_with_a_second_press_is_a_box_too(user, loop):
    user.load()
    user.key("X")
    heard = []
    user.view().interactor.AddObserver("LeftButtonDoubleClickEvent", lambda *_: heard.append(True))
    view, start, end = begin_drag(user)
    view.mouse("LeftButtonReleaseEvent", *start)
    view.mouse("LeftButtonDoubleClickEvent", *start)
    view.mouse("MouseMoveEvent", *end)
    view.mouse("LeftButtonReleaseEvent", *end)
    loop.until(user.settled)
    assert user.mask(6).any()
    assert not heard


def test_with_shift_held_the_mouse_pans_and_no_box_is_drawn(user):
    user.load()
    user.key("X")
    view, _, _ = begin_drag(user, has_shift=True)
    view.mouse("LeftButtonReleaseEvent", *view.to_xy(user.ras(*HIGH)), has_shift=True)
    assert is_down(user, "X")
    assert user.nodes("vtkMRMLMarkupsROINode") == 0
    assert not amber(view.draw()).any()


def test_the_box_grows_under_the_pointer_and_is_gone_with_escape(user, loop):
    user.load()
    user.key("X")
    rendered = []
    user.view().window.AddObserver("EndEvent", lambda *_: rendered.append(True))
    view, start, end = begin_drag(user)
    assert rendered
    row, col = np.nonzero(amber(view.draw()))
    left, right = sorted((start[0], end[0]))
    low, high = sorted((start[1], end[1]))
    np.testing.assert_allclose([col.min(), col.max(), row.min(), row.max()], [left, right, low, high], atol=2)
    user.key("Esc")
    loop.turn()
    assert not is_down(user, "X")
    assert not amber(view.draw()).any()
    view.mouse("LeftButtonReleaseEvent", *end)
    assert user.nodes("vtkMRMLMarkupsROINode") == 0


@pytest.mark.parametrize("key", TOOL_BUTTONS)
def test_escape_puts_down_whatever_tool_is_in_hand(user, loop, mouse, key):
    user.load()
    user.key(key)
    user.key("Esc")
    assert not is_down(user, key)
    assert mouse.GetCurrentInteractionMode() == mouse.ViewTransform
    choose_paint(user)
    user.key("Esc")
    assert user.ui.editorWidget.activeEffect() is None


def test_points_placed_into_another_list_are_not_ours(user, loop, slicer_app, mouse):
    user.load()
    user.key("P")
    slicer.modules.markups.logic().SetActiveList(slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))
    loop.until(lambda: not is_down(user, "P"))
    assert mouse.GetCurrentInteractionMode() == mouse.Place


def test_a_box_that_is_refused_says_why(user, loop):
    user.load()
    user.key("P")
    user.click(28, 24, 6)
    loop.until(user.settled)
    user.key("X")
    user.drag((10, 24, 3), (40, 24, 9), "Green")
    loop.until(lambda: "drawn in another view" in user.ui.stateLabel.text)
    assert not is_down(user, "X")


def test_a_point_under_the_pointer_keeps_the_colour_of_its_sign(user, loop):
    user.load()
    user.key("N")
    user.click(28, 24, 6)
    user.key("N")
    loop.until(user.settled)
    user.ui.segmentationSelector.currentNode().GetDisplayNode().SetVisibility(False)
    user.hover(28, 24, 6)
    red = (np.abs(user.view().draw() - 255.0 * np.array(COLOURS[NEGATIVE])) < 60).all(axis=2)
    x, y = user.view().to_xy(user.ras(28, 24, 6))
    assert red[y - 5 : y + 6, x - 5 : x + 6].any()
    for node in user.session.document.nodes.all_nodes():
        assert node.GetDisplayNode().GetActiveColor() == node.GetDisplayNode().GetSelectedColor()
