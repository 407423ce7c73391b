"""The page for everybody: contrast of its colours, names for screen readers, the keyboard, and any width of the window."""

import re

import pytest

from Testing.Web.test_click_to_mask import draw_box
from Testing.Web.visit import LIMIT_S, AppProcess, Visit

CONTRAST, CONTRAST_LARGE = 4.5, 3.0
"""WCAG 2.1, level AA; large is from 24 px on, or 18.66 px in bold."""
LOW_CONTRAST = """([least, leastLarge]) => {
  const parse = (text) => {
    const m = text.match(/rgba?\\(([^)]+)\\)/);
    if (!m) return [0, 0, 0, 0];
    const [r, g, b, a = 1] = m[1].split(/[ ,/]+/).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((one) => one / 255).map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const style = getComputedStyle(one);
      layers.push(parse(style.backgroundColor));
      for (const inner of one.querySelectorAll(":scope > .v-btn__underlay, :scope > .v-alert__underlay, :scope > .v-list-item__overlay")) {
        const paint = getComputedStyle(inner), colour = parse(paint.backgroundColor);
        colour[3] *= Number(paint.opacity);
        layers.push(colour);
      }
      if (layers.at(-1)[3] === 1 || parse(style.backgroundColor)[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const opacity = (element) => {
    let product = 1;
    for (let one = element; one; one = one.parentElement) product *= Number(getComputedStyle(one).opacity);
    return product;
  };
  const found = [], skipped = "[disabled], .v-btn--disabled, .v-input--disabled, .ns-view, svg";
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data).join("").trim();
    if (!words || !element.checkVisibility({ checkOpacity: true }) || element.closest(skipped)) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const style = getComputedStyle(element), below = ground(element), colour = parse(style.color);
    colour[3] *= opacity(element);
    const lights = [light(over(colour, below)), light(below)].sort((a, b) => b - a);
    const ratio = (lights[0] + 0.05) / (lights[1] + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? leastLarge : least)) found.push(`${words.slice(0, 30)}: ${ratio.toFixed(2)} (${element.className})`);
  }
  return found;
}"""
NAMELESS = re.compile(
    r"- (button|textbox|combobox|slider|tab|checkbox|switch|spinbutton|link|img|radio)(?= \[|:|$)(?!.*\")"
)
FOCUSABLE = """() => [...document.querySelectorAll(
  "button, input, select, textarea, a[href], [tabindex='0'], [role=button], [role=combobox]")].filter((one) =>
    one.checkVisibility({ checkOpacity: true }) && !one.disabled && one.tabIndex >= 0 && one.type !== "file"
    && one.getBoundingClientRect().width > 0 && !one.closest("[inert], [aria-hidden=true]"))"""
MARK = "(all => { all.forEach((one, n) => one.dataset.reach = n); return all.length; })"
SETTLED = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  for (let quiet = 0; quiet < 4; ) {
    await frame();
    const moving = document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity && one.playState === "running");
    quiet = moving.length ? 0 : quiet + 1;
  }
}"""
OVERLAPS = """() => {
  const all = [...document.querySelectorAll("button, input, .ns-view, .ns-bar, [role=combobox]")].filter((one) =>
    one.checkVisibility({ checkOpacity: true }) && one.type !== "file" && !one.closest(".v-overlay"));
  const boxes = all.map((one) => [one, one.getBoundingClientRect()]).filter(([one, box]) =>
    box.width && box.height && box.bottom > 0 && box.top < innerHeight);
  const found = [];
  for (const [one, a] of boxes)
    for (const [other, b] of boxes) {
      if (one === other || one.contains(other) || other.contains(one) || one.compareDocumentPosition(other) & 2) continue;
      if (one.closest("[role=combobox], .v-input") && one.closest(".v-input") === other.closest(".v-input")) continue;
      const inDrawer = (element) => Boolean(element.closest(".v-navigation-drawer"));
      if (inDrawer(one) !== inDrawer(other) && document.querySelector(".v-navigation-drawer--temporary")) continue;
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width <= 1 || height <= 1) continue;
      found.push([one, other].map((e) => e.innerText || e.title || e.ariaLabel || e.className).join(" / "));
    }
  return found;
}"""


@pytest.fixture(scope="module")
def page_user(browser, tmp_path_factory):
    """A page with an object; several tests share it."""
    with AppProcess(tmp_path_factory.mktemp("app")) as app, Visit(browser, app) as visit:
        visit.wait_ready()
        draw_box(visit)
        visit.page.set_default_timeout(LIMIT_S * 1000 / 2)
        yield visit
        assert not visit.errors, visit.errors


def states(visit):
    """The tabs and the dialogs, one after the other."""
    page = visit.page
    for tab in ("Segment", "Train", "Engine"):
        page.get_by_role("tab", name=tab).click()
        settle(page)
        yield tab
        titles = page.locator(".v-expansion-panel-title:visible")
        for number in range(titles.count()):
            titles.nth(number).evaluate("one => one.click()")
            settle(page)
            yield f"{tab}, {titles.nth(number).inner_text()}"
    page.get_by_role("tab", name="Segment").click()
    for title, name in (
        ("Mouse and keys", "Help"),
        ("Open an image, a segmentation or a scene", "Open"),
        ("Save the segmentation or everything", "Save"),
    ):
        page.get_by_title(title).first.click()
        settle(page)
        yield name
        page.keyboard.press("Escape")
        page.locator(".v-overlay__scrim").first.wait_for(state="detached")
    page.get_by_role("button", name="Measurements").click()
    page.wait_for_selector("[data-measured]")
    settle(page)
    yield "Measurements"
    page.keyboard.press("Escape")
    page.locator(".v-overlay__scrim").first.wait_for(state="detached")


def settle(page):
    """Until nothing moves or fades any more, nor begins to."""
    page.evaluate(SETTLED)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_words_stand_out_from_their_ground(page_user, theme):
    page = page_user.page
    page.evaluate("theme => trame.state.set('theme', theme)", theme)
    page.wait_for_selector(f".v-theme--{theme}")
    found = {name: page.evaluate(LOW_CONTRAST, [CONTRAST, CONTRAST_LARGE]) for name in states(page_user)}
    assert {name: low for name, low in found.items() if low} == {}


def test_a_screen_reader_has_a_name_for_everything(page_user):
    found = {}
    for name in states(page_user):
        lines = page_user.page.locator("body").aria_snapshot().splitlines()
        found[name] = [line.strip() for line in lines if NAMELESS.search(line)]
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_tab_key_reaches_everything_that_can_be_pressed(page_user):
    page = page_user.page
    for tab in ("Segment", "Train", "Engine"):
        page.get_by_role("tab", name=tab).click()
        settle(page)
        count = page.evaluate(f"() => {MARK}(({FOCUSABLE})())")
        page.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(2 * count + 20):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.reach"))
        missed = page.evaluate(
            """([reached, all]) => all.map((n) => document.querySelector(`[data-reach="${n}"]`))
              .filter((one) => one && ![one, ...one.querySelectorAll("[data-reach]")].some((part) => reached.includes(part.dataset.reach)))
              .map((one) => one.outerHTML.slice(0, 160))""",
            [[one for one in reached if one], list(range(count))],
        )
        assert [one for one in missed if one and 'role="tab"' not in one] == [], tab


@pytest.mark.parametrize("size", [(390, 844), (1280, 800), (3840, 2160)])
def test_nothing_scrolls_sideways_or_overlaps_at_any_width(browser, page_user, size):
    with Visit(browser, page_user.app, size) as visit:
        visit.wait_ready()
        page = visit.page
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate(OVERLAPS) == []
        for name in ("Red", "Green", "Yellow"):
            box = page.locator(f"[data-view={name}]").bounding_box()
            assert box["width"] > 100
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0]
            assert box["y"] + box["height"] <= size[1]
        outside = page.evaluate(
            """() => [...document.querySelectorAll("header button, header [role=combobox]")].filter((one) => one.checkVisibility())
              .filter((one) => { const box = one.getBoundingClientRect(); return box.right > innerWidth || box.left < 0; })
              .map((one) => one.title)"""
        )
        assert outside == []
        visit.page.set_default_timeout(LIMIT_S * 1000 / 2)
        if size[0] < 720:
            page.get_by_title("Panels").click()
        page.get_by_role("tab", name="Segment").click()
        page.get_by_role("button", name="Propagate").first.wait_for()
        visit.take("x", "box")
        visit.take("x", "look")  # a page that closes at once may take its last message along, and the app is shared
        assert not visit.errors
