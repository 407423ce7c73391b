"""The views in a page: what the pointer reads, the crosshair, window and level, layouts, 3D, a second image, measurements, fast keys."""

import re

ARROWS = 50
COLOURED = """() => {
  const canvas = document.querySelector("[data-surfaces] canvas");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width || 1, canvas.height || 1).data;
  let n = 0;
  for (let at = 0; at < data.length; at += 4)
    if (Math.max(data[at], data[at + 1], data[at + 2]) - Math.min(data[at], data[at + 1], data[at + 2]) > 40) n++;
  return %s ? { n } : null;
}"""


def open_panel(visit):
    visit.page.get_by_role("tab", name="View").click()
    visit.page.locator("[data-test=window] input").wait_for()


def wait_coloured(visit, condition):
    """Until something holds of the number of pixels of the 3D view that have a colour of their own, n; that number."""
    return visit.page.wait_for_function(COLOURED % condition).json_value()["n"]


def wait_3d(visit, condition="true"):
    visit.page.wait_for_function(
        f"""() => {{
          const view = document.querySelector("[data-surfaces]");
          return view && view.dataset.shown3d === view.dataset.number3d && {condition};
        }}"""
    )


def test_fast_arrow_keys_are_never_lost(visit):
    for place in ("[data-view=Red]", "[data-bar=Red]", "body"):
        visit.go(40)
        if place == "body":
            visit.page.evaluate("document.activeElement.blur()")
        else:
            visit.page.locator(place).focus()
        for _ in range(ARROWS):
            visit.page.keyboard.press("ArrowUp")
        visit.page.wait_for_selector(f"[data-bar=Red][data-index='{40 + ARROWS}']")
    visit.wait_drawn()


def test_pointer_crosshair_window_and_measurements(visit):
    page = visit.page
    page.mouse.move(*visit.at("Red", 0.3, 0.4))
    readout = page.locator("[data-view=Red] [data-test=readout]")
    readout.wait_for()
    words = readout.inner_text()
    assert re.match(r"[RL] \d+\.\d\s+[AP] \d+\.\d\s+[SI] \d+\.\d\s+mm\s+\(\d+, \d+, \d+\)\nMNI152 brain: [\d.]+", words)
    others = {name: visit.index(name) for name in ("Green", "Yellow")}
    page.keyboard.down("Shift")
    page.mouse.move(*visit.at("Red", 0.35, 0.3))
    page.keyboard.up("Shift")
    for name, index in others.items():
        page.wait_for_selector(f"[data-bar={name}]:not([data-index='{index}'])")
    assert visit.state("has_crosshair")
    voxel = re.search(r"\((\d+), (\d+), (\d+)\)", page.locator("[data-test=readout]").inner_text())
    assert (visit.index("Yellow"), visit.index("Green"), visit.index("Red")) == tuple(map(int, voxel.groups()))

    open_panel(visit)
    field = page.locator("[data-test=window] input")
    field.fill("55,5")
    field.press("Tab")
    page.wait_for_function("trame.state.get('window') === '55.5'")
    field.fill("none")
    field.press("Tab")
    page.wait_for_function("trame.state.get('line').includes('no numbers')")
    page.wait_for_function("document.querySelector('[data-test=window] input').value === '55.5'")
    visit.wait_drawn()
    visit.num_changed(0.4, 0.4)
    page.evaluate("document.activeElement.blur()")
    visit.key("i")
    page.wait_for_function("trame.state.get('is_inverted')")
    visit.wait_drawn()
    assert visit.num_changed(0.4, 0.4) > 1000
    page.locator("[data-test=preset]").click()
    page.get_by_text("CT brain").click()
    page.wait_for_function("trame.state.get('window') === '80' && trame.state.get('level') === '40'")

    page.locator("[data-test=distance]").click()
    visit.click(0.3, 0.3)
    visit.click(0.3, 0.5)
    page.wait_for_selector("[data-ruler=Distance]")
    assert re.fullmatch(r"\d+\.\d mm", page.locator("[data-ruler=Distance]").get_attribute("data-text"))
    page.locator("[data-test=angle]").click()
    for x, y in ((0.3, 0.3), (0.3, 0.5), (0.5, 0.5)):
        visit.click(x, y)
    page.wait_for_selector("[data-ruler=Angle][data-text='90.0°']")
    page.locator("[data-test=region]").click()
    visit.drag((0.3, 0.3), (0.4, 0.45))
    page.wait_for_selector("[data-ruler=Region]")
    assert "mean" in page.locator("[data-ruler=Region]").get_attribute("data-text")
    page.get_by_label("Remove Angle").click()
    page.locator("[data-ruler=Angle]").wait_for(state="detached")
    assert not visit.state("objects")


def test_layouts_surfaces_and_the_place_of_a_second_image(visit):
    page = visit.page
    visit.take("x", "box")
    visit.drag((0.3, 0.3), (0.6, 0.6))
    visit.wait_object("ml > 0")
    visit.wait_quiet()
    open_panel(visit)
    for key, views in (
        ("1", ["Red"]),
        ("3", ["Red", "Green", "Yellow"]),
        ("5", ["Red", "Second"]),
        ("2", ["Red", "Green", "Yellow"]),
    ):
        visit.key(key)
        page.wait_for_function(
            "views => [...document.querySelectorAll('[data-view]')].map(one => one.dataset.view).join() === views.join()",
            arg=views,
        )
        visit.wait_drawn()
    visit.key("4")
    wait_3d(visit)
    before = wait_coloured(visit, "n > 200")
    visit.key("a")
    visit.wait_object("done >= 6")
    visit.key("q")
    visit.wait_quiet()
    wait_coloured(visit, f"n > {1.2 * before}")
    wait_3d(visit)
    number = page.locator("[data-surfaces]").get_attribute("data-number3d")
    box = page.locator("[data-surfaces]").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 140, steps=4)
    page.mouse.up()
    wait_3d(visit, f"view.dataset.number3d !== '{number}'")
    visit.key("h")
    wait_coloured(visit, "n === 0")
