"""Scribbles, lassos, parts and Slicer's own brush from the panel, with the mouse in Slicer's views."""

import numpy as np
import pytest
from NeuroSAM2Lib.presenters.tools import DRAWN_PROMPTS, PART_TOOLS, Tool

from NeuroSAM2Core.prompts import LassoPrompt

SQUARE = [(20, 16), (20, 30), (36, 30), (36, 16)]


@pytest.fixture
def loaded(user):
    user.load()
    return user


def draw(user, places, k=6, name="Red"):
    """Press, move through places (i, j), release."""
    view = user.view(name)
    view.node.JumpSliceByOffsetting(*user.ras(*places[0], k))
    at = [view.to_xy(user.ras(*place, k)) for place in places]
    for event, place in (
        ("EnterEvent", at[0]),
        ("MouseMoveEvent", at[0]),
        ("LeftButtonPressEvent", at[0]),
        *(("MouseMoveEvent", one) for one in at),
        ("LeftButtonReleaseEvent", at[-1]),
    ):
        view.mouse(event, *place)


def test_every_tool_that_is_drawn_with_has_a_button_that_the_tab_key_reaches_in_order(loaded):
    buttons = loaded.panel.tool_buttons
    for after, tools in ((loaded.ui.maskButton, DRAWN_PROMPTS), (loaded.ui.scissorsButton, PART_TOOLS)):
        for one in tools:
            button = buttons[one.tool]
            assert (button.text, button.toolTip, button.checkable) == (f"{one.title} ({one.key})", one.tip, True)
            assert after.nextInFocusChain() is button
            after = button
    assert buttons[DRAWN_PROMPTS[-1].tool].nextInFocusChain() is loaded.ui.holdCheckBox


def test_a_scribble_is_a_chain_of_clicks_and_the_tool_stays_in_hand(loaded, loop):
    loaded.key("W")
    draw(loaded, [(18, 20), (30, 20), (38, 20)])
    loop.until(loaded.settled)
    (placed,) = loaded.session.document.active_record.prompts.scribbles
    assert (placed.index, placed.scribble.positive, len(placed.scribble.clicks)) == (6, True, 3)
    assert loaded.mask(6).any()
    assert loaded.panel.tool_buttons[Tool.SCRIBBLE].checked
    loaded.key("Shift+W")
    draw(loaded, [(18, 40), (38, 40)])
    loop.until(loaded.settled)
    assert [one.scribble.positive for one in loaded.session.document.active_record.prompts.scribbles] == [True, False]
    loaded.key("Ctrl+Z")
    assert len(loaded.session.document.active_record.prompts.scribbles) == 1
    assert loaded.nodes("vtkMRMLMarkupsCurveNode") - loaded.nodes("vtkMRMLMarkupsClosedCurveNode") == 1


def test_a_lasso_is_a_mask_and_its_curve_goes_with_undo(loaded, loop):
    loaded.key("L")
    draw(loaded, SQUARE)
    loop.until(loaded.settled)
    (placed,) = loaded.session.document.active_record.prompts.lassos
    wanted = LassoPrompt(tuple((float(j), float(i)) for i, j in SQUARE)).mask(loaded.mask(6).shape)
    assert (loaded.mask(6) ^ wanted).sum() <= 0.1 * wanted.sum()
    assert (loaded.mask(6) == placed.lasso.mask(wanted.shape)).all()
    assert loaded.nodes("vtkMRMLMarkupsClosedCurveNode") == 1
    loaded.key("Ctrl+Z")
    assert not loaded.mask(6).any() if loaded.session.document.active else True
    assert loaded.nodes("vtkMRMLMarkupsClosedCurveNode") == 0


def test_nothing_is_answered_while_answers_are_held(loaded, loop):
    loaded.ui.holdCheckBox.click()
    loaded.key("W")
    draw(loaded, [(18, 20), (38, 20)])
    draw(loaded, [(18, 26), (38, 26)])
    loop.turn()
    assert not loaded.mask(6).any()
    loaded.ui.holdCheckBox.click()
    loop.until(lambda: loaded.settled() and loaded.mask(6).any())
    assert len(loaded.session.document.active_record.prompts.scribbles) == 2


def test_the_part_that_is_clicked_on_is_removed(loaded, loop):
    loaded.key("L")
    draw(loaded, SQUARE)
    draw(loaded, [(42, 40), (42, 44), (47, 44), (47, 40)])
    loop.until(loaded.settled)
    both = loaded.mask(6)
    assert both[42, 44]
    loaded.key("Shift+K")
    loop.until(lambda: loaded.panel.tool_buttons[Tool.REMOVE_PART].checked)
    draw(loaded, [(44, 42)])
    assert not loaded.mask(6)[42, 44]
    assert loaded.mask(6)[23, 28]
    loaded.key("Ctrl+Z")
    assert (loaded.mask(6) == both).all()


def test_the_brush_is_slicers_paint_on_the_active_object_and_is_kept_by_propagation(loaded, loop):
    loaded.key("X")
    loaded.drag((18, 15, 6), (38, 34, 6))
    loop.until(loaded.settled)
    loop.until(lambda: loaded.ui.brushButton.enabled)
    loaded.ui.brushButton.click()
    assert loaded.ui.editorWidget.activeEffect() is not None
    loaded.drag((10, 40, 8), (12, 40, 8))
    painted = loaded.mask(8)
    assert painted.any()
    loaded.ui.propagateButton.click()
    loop.until(loaded.settled)
    assert (loaded.mask(8) == painted).all()
    assert np.isin([6, 8], loaded.session.document.active_record.prompts.indices).all()
