"""The page itself: keys, tabs, views, other sizes, another tab, and an app that dies."""

import pytest
from NeuroSAM2Lib.presenters.tools import DRAWN_PROMPTS, PAINT_TOOLS, PART_TOOLS, REPAIRS
from NeuroSAM2Web.ui.view_panel import LAYOUTS

from Testing.Web.test_click_to_mask import BOX, INSIDE, SHAPE, draw_box
from Testing.Web.visit import AppProcess, Visit


@pytest.fixture(scope="module")
def look(browser, tmp_path_factory):
    """A page in which nothing is segmented; several tests share it."""
    with AppProcess(tmp_path_factory.mktemp("app")) as app, Visit(browser, app) as visit:
        visit.wait_ready()
        yield visit
        assert not visit.errors, visit.errors


def test_a_key_presses_its_button_exactly_when_it_can_be_pressed(look):
    look.key("a")
    look.take("p", "positive")
    look.key("p")
    look.page.wait_for_selector("[data-view=Red].ns-tool-look")
    look.take("n", "negative")
    look.key("Escape")
    look.page.wait_for_selector("[data-view=Red].ns-tool-look")
    assert look.state("activity") == "ready"
    keys = look.page.locator("[data-key]").evaluate_all("all => all.map(one => one.dataset.key)")
    assert sorted(keys) == sorted(
        ["P", "N", "X", "Ctrl+Z", "Ctrl+Y", "E", "O", "M", "H", "A", "Q", "C", "D", "Ctrl+O", "Ctrl+S", "I", "F"]
        + [key for _, key, _, _ in LAYOUTS]
        + [one.key for one in (*REPAIRS, *DRAWN_PROMPTS, *PART_TOOLS, *PAINT_TOOLS) if one.key]
    )


def test_typing_presses_no_buttons(look):
    look.page.get_by_label("All slices").uncheck()
    look.page.get_by_label("From slice").press("x")
    look.page.get_by_role("tab", name="Engine").click()
    look.page.get_by_label("Device").last.press("Escape")
    assert look.state("tool") == "look"
    look.page.get_by_role("tab", name="Segment").click()
    look.page.get_by_label("All slices").check()


def test_wheel_keys_and_bar_go_through_the_slices(look):
    start = look.index()
    look.wheel(2)
    look.page.wait_for_selector(f"[data-bar=Red][data-index='{start + 2}']")
    look.page.locator("[data-view=Red]").press("ArrowDown")
    look.page.wait_for_selector(f"[data-bar=Red][data-index='{start + 1}']")
    bar = look.page.locator("[data-bar=Green]")
    box = bar.bounding_box()
    look.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    look.page.wait_for_function(
        "[57, 58, 59].includes(Number(document.querySelector('[data-bar=Green]').dataset.index))"
    )
    look.wait_drawn()


def test_window_and_level_change_under_the_mouse(look):
    look.num_changed(0.3, 0.5)
    before = look.state("picture_Green")
    look.drag((0.2, 0.2), (0.9, 0.8))
    look.page.wait_for_function("before => trame.state.get('picture_Green') > before", arg=before)
    look.wait_drawn()
    assert look.num_changed(0.3, 0.5) > 100


def test_the_quality_strip_tells_of_slices_and_goes_to_them(visit):
    draw_box(visit)
    here = visit.index()
    bar = visit.page.locator("[data-bar=Red]")
    assert bar.get_attribute("aria-valuetext") == f"Slice {here}: has your prompts, stays as it is"
    assert bar.locator("i").count() == SHAPE[0]
    assert visit.page.locator("[data-bar=Green] i").count() == 0


def test_any_view_can_be_the_large_one_and_be_clicked_in(visit):
    large = visit.page.locator("[data-view=Red]").bounding_box()
    visit.page.get_by_title("Make this view the large one").first.click()
    visit.page.wait_for_function(
        "width => document.querySelector('[data-view=Green]').clientWidth > width - 20", arg=large["width"]
    )
    visit.wait_drawn()
    visit.take("p", "positive")
    visit.click(0.5, 0.45, "Green")
    visit.wait_object("ml > 0")
    (placed,) = visit.app.prompts().points
    assert visit.app.prompts().axis == "j"
    assert placed.index == visit.index("Green")


def test_a_second_tab_shows_the_same_and_both_can_be_clicked_in(visit, browser):
    draw_box(visit)
    with Visit(browser, visit.app, (1600, 1000)) as other:
        other.wait_ready()
        other.wait_object("ml > 0")
        other.take("n", "negative")
        other.click(*INSIDE)
        other.wait_object("prompts === 2")
        visit.wait_object("prompts === 2")
        for one in (other, visit):
            one.wait_quiet()
        assert not other.errors


@pytest.mark.parametrize("size", [(1280, 800), (3840, 2160)])
def test_everything_fits_the_screen(browser, tmp_path, size):
    with AppProcess(tmp_path / "home") as app, Visit(browser, app, size) as visit:
        visit.wait_ready()
        page = visit.page
        assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == list(
            size
        )
        hidden = page.evaluate(
            """() => [...document.querySelectorAll(".ns-row button, .ns-tools button")].filter(one => {
              const box = one.getBoundingClientRect();
              return one.checkVisibility() && (one.scrollWidth > one.clientWidth + 1 || box.right > innerWidth);
            }).map(one => one.innerText)"""
        )
        assert not hidden


def test_the_tab_key_reaches_tools_views_and_bars(look):
    reached = set()
    for _ in range(60):
        look.key("Tab")
        reached.add(
            look.page.evaluate(
                "(({dataset, innerText}) => dataset.view ?? dataset.bar ?? dataset.key ?? innerText)(document.activeElement)"
            )
        )
    assert {"P", "O", "Red", "Green", "Yellow"} <= reached


def test_what_an_app_that_was_killed_had_done_comes_back(browser, tmp_path):
    home = tmp_path / "home"
    with AppProcess(home) as app, Visit(browser, app) as visit:
        visit.wait_ready()
        visit.take("x", "box")
        visit.drag(*BOX)
        visit.wait_object("ml > 0")
        visit.wait_quiet()
        before = app.voxels(SHAPE)
        app.process.kill()
    with AppProcess(home) as app, Visit(browser, app) as visit:
        visit.wait_line("not saved")
        visit.page.get_by_role("button", name="Bring it back").click()
        visit.wait_object("ml > 0 && prompts === 1")
        visit.wait_quiet()
        assert (app.voxels(SHAPE) == before).all()


def test_a_page_that_has_lost_its_app_says_what_to_do(browser, tmp_path):
    with AppProcess(tmp_path / "home") as app, Visit(browser, app) as visit:
        visit.wait_ready()
        app.process.terminate()
        visit.page.get_by_text("This page has lost the app").wait_for()
        visit.page.get_by_role("button", name="Reload").wait_for()
