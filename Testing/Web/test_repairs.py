"""Repairs in a page."""


def test_a_repair_by_button_and_one_by_key_are_undone_by_key(visit):
    page = visit.page
    visit.take("x", "box")
    visit.drag((0.4, 0.4), (0.55, 0.55))
    visit.wait_object("ml > 0")
    visit.wait_quiet()
    before, index = float(visit.object()["ml"]), visit.index()
    page.locator("[data-test=repair] button").first.click()
    length = page.get_by_label("Length")
    length.fill("3")
    length.press("Tab")
    page.get_by_role("button", name="Grow", exact=True).click()
    visit.wait_object(f"ml > {before}")
    grown = float(visit.object()["ml"])
    page.locator("[data-view=Red]").click(position={"x": 5, "y": 5})
    visit.key("u")
    visit.wait_object(f"ml > {grown} && confirmed > 1")
    page.wait_for_selector(f"[data-bar=Red][data-index='{index + 1}']")
    visit.key("Shift+N")
    page.wait_for_function("trame.state.get('undo_tip') === 'Take back: Not on this slice'")
    for _ in range(3):
        visit.key("Control+z")
        visit.wait_quiet()
    visit.wait_object(f"ml === {before}")
    visit.key("Control+y")
    visit.wait_object(f"ml === {grown}")
