"""Scribbles, lassos and the brush in a page, with the mouse in the views."""

import numpy as np


def draw(visit, places, name="Red"):
    """Press, move through places as parts of a view, release."""
    mouse = visit.page.mouse
    mouse.move(*visit.at(name, *places[0]))
    mouse.down()
    for place in places[1:]:
        mouse.move(*visit.at(name, *place), steps=4)
    mouse.up()


def test_a_scribble_and_a_lasso_are_drawn_answered_and_undone(visit):
    page = visit.page
    visit.take("w", "scribble")
    mouse = page.mouse
    mouse.move(*visit.at("Red", 0.42, 0.5))
    mouse.down()
    mouse.move(*visit.at("Red", 0.5, 0.5), steps=4)
    page.wait_for_selector("[data-view=Red] .ns-stroke polyline", state="attached")
    mouse.move(*visit.at("Red", 0.55, 0.5), steps=4)
    mouse.up()
    visit.wait_object("prompts === 1 && ml > 0")
    visit.wait_quiet()
    (placed,) = visit.app.prompts().scribbles
    assert placed.scribble.positive
    assert len(placed.scribble.clicks) == 3
    visit.take("Shift+W", "scribble-out")
    draw(visit, [(0.3, 0.3), (0.35, 0.3)])
    visit.wait_object("prompts === 2")
    visit.wait_quiet()
    visit.key("Control+z")
    visit.wait_object("prompts === 1")
    visit.wait_quiet()
    visit.key("o")
    page.wait_for_selector('[data-object="object 2"]')
    visit.take("l", "lasso")
    draw(visit, [(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)])
    visit.wait_object("prompts === 1 && ml > 0", name="object 2")
    visit.wait_quiet()
    (placed,) = visit.app.prompts(2).lassos
    (mask,) = visit.app.masks(2).values()
    assert np.array_equal(mask, placed.lasso.mask(mask.shape))
    assert mask.sum() > 100
    visit.key("Control+z")
    visit.wait_object("prompts === 0", name="object 2")
    visit.key("Control+y")
    visit.wait_object("prompts === 1 && ml > 0", name="object 2")


def test_held_answers_come_together_and_the_brush_and_the_eraser_are_confirmed(visit):
    page = visit.page
    page.get_by_label("Hold answers").check()
    visit.take("w", "scribble")
    for row in (0.45, 0.55):
        draw(visit, [(0.42, row), (0.55, row)])
    visit.wait_object("prompts === 2 && done === 0")
    page.get_by_label("Hold answers").uncheck()
    visit.wait_object("done === 1 && ml > 0")
    visit.wait_quiet()
    before = float(visit.object()["ml"])
    visit.take("Shift+P", "brush")
    draw(visit, [(0.16, 0.15), (0.22, 0.15)])  # beside the head
    visit.wait_object(f"ml > {before}")
    page.wait_for_function("trame.state.get('undo_tip') === 'Take back: Brush'")
    visit.take("Shift+E", "eraser")
    draw(visit, [(0.4, 0.5), (0.6, 0.5)])
    page.wait_for_function("trame.state.get('undo_tip') === 'Take back: Eraser'")
    for _ in range(2):
        visit.key("Control+z")
        visit.wait_quiet()
    visit.wait_object(f"ml === {before}")
