"""Draws the app's pictures of docs/screenshots: `python -m Testing.Web.screenshots docs/screenshots`. Takes a minute or two.

The app is the real one in headless Chromium, the outlines come from the bundled model on the example brain.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from Testing.Web.conftest import browser_is_missing, chromium, what_is_missing
from Testing.Web.visit import AppProcess, Visit, open_browser

REST = """() => Promise.all(document.getAnimations().filter(one => one.effect.getTiming().iterations !== Infinity)
  .map(one => one.finished.catch(() => 0)))"""
VENTRICLES = (0.355, 0.355), (0.645, 0.61)
FIRST, LAST = 68, 97
BEHIND = 0.5, 0.6
"""Not a ventricle."""
THROUGH_ONE = 0.44
"""Of the sagittal slices, one through a ventricle."""


def main(folder: Path) -> None:
    """All pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_browser(chromium()) as browser,
        AppProcess(Path(scratch)) as app,
        Visit(browser, app) as visit,
    ):
        visit.wait_ready()
        save(visit, folder / "app-start.png")
        outline(visit, folder)
        engine(visit, folder)


def outline(visit, folder):
    """From a box to reviewed objects."""
    visit.take("x", "box")
    visit.page.mouse.move(*visit.at("Red", *VENTRICLES[0]))
    visit.page.mouse.down()
    visit.page.mouse.move(*visit.at("Red", *VENTRICLES[1]), steps=5)
    visit.page.wait_for_selector(".ns-band")
    save(visit, folder / "app-box.png")
    visit.page.mouse.up()
    visit.wait_object("ml > 0")
    visit.wait_quiet()
    visit.take("n", "negative")
    visit.click(*BEHIND)
    visit.wait_object("prompts === 2")
    visit.wait_quiet()
    visit.key("n")
    visit.page.get_by_label("All slices").uncheck()
    for label, index in (("From slice", FIRST), ("To slice", LAST)):
        visit.page.get_by_label(label).fill(str(index))
        visit.page.get_by_label(label).press("Tab")
    visit.key("a")
    visit.wait_object("done > 12")
    visit.page.wait_for_function("trame.state.get('pace').includes('left')")
    save(visit, folder / "app-propagate.png")
    visit.wait_quiet()
    look(visit, "Yellow", THROUGH_ONE)
    save(visit, folder / "app-segment.png")
    visit.page.get_by_title("Light or dark").click()
    visit.page.wait_for_selector(".v-theme--light")
    save(visit, folder / "app-light.png")
    visit.page.get_by_title("Light or dark").click()


def look(visit, name, part):
    """Moves a view by its bar."""
    bar = visit.page.locator(f"[data-bar={name}]")
    before, box = visit.index(name), bar.bounding_box()
    visit.page.mouse.click(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
    visit.page.wait_for_selector(f"[data-bar={name}]:not([data-index='{before}'])")


def engine(visit, folder):
    """The engine's tab."""
    visit.page.get_by_role("tab", name="Engine").click()
    visit.page.get_by_role("button", name="Test", exact=True).click()
    visit.page.wait_for_function("document.querySelector('[data-test=engine]').innerText.startsWith('It works')")
    save(visit, folder / "app-engine.png")


def save(visit, path):
    """The page as it is, once everything in it has come to rest."""
    visit.wait_drawn()
    if not visit.page.query_selector(".ns-band"):
        visit.page.mouse.move(5, 5)
    visit.page.evaluate(REST)
    visit.page.screenshot(path=path)
    Image.open(path).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    if sentence := what_is_missing() or browser_is_missing():
        sys.exit(sentence)
    main(Path(sys.argv[1]))
