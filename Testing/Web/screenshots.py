"""Draws the app's pictures of docs/screenshots: `python -m Testing.Web.screenshots docs/screenshots`. Takes a minute or two.

The app is the real one in headless Chromium, the outlines come from the bundled model on the example brain.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from NeuroSAM2Web.app_state import example_file
from PIL import Image

from Testing.Support.pictures import save_picture
from Testing.Web.conftest import browser_is_missing, chromium, what_is_missing
from Testing.Web.test_view_panel import wait_3d, wait_coloured
from Testing.Web.visit import AppProcess, Visit, open_browser

REST = """() => Promise.all(document.getAnimations().filter(one => one.effect.getTiming().iterations !== Infinity)
  .map(one => one.finished.catch(() => 0)))"""
VENTRICLES = (0.355, 0.355), (0.645, 0.61)
FIRST, LAST = 68, 97
SIZES = (390, 844), (1280, 800), (3840, 2160)
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
        AppProcess(make_folder(Path(scratch) / "scans")) as app,
        Visit(browser, app) as visit,
    ):
        visit.wait_ready()
        save(visit, folder / "app-start.png")
        outline(visit, folder)
        measurements(visit, folder)
        repair(visit, folder)
        surfaces(visit, folder)
        files(visit, folder)
        engine(visit, folder)
        widths(browser, app, folder)


def make_folder(home):
    """Where the app is started, with something to open."""
    home.mkdir()
    for name in ("T1.nii.gz", "T2.nii.gz", "FLAIR.nii.gz", "CT.nii.gz"):
        shutil.copy(example_file(), home / name)
    (home / "dicom").mkdir()
    return home


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
    visit.key("a")
    visit.page.locator(".ns-section", has_text="Propagate").evaluate("one => one.scrollIntoView({block: 'start'})")
    visit.wait_object("done > 4")
    visit.page.wait_for_function("trame.state.get('pace').includes('left')")
    save(visit, folder / "app-propagate.png")
    visit.key("q")
    visit.wait_quiet()
    visit.key("Control+z")
    visit.wait_object("done === 1")
    visit.page.get_by_label("All slices").uncheck()
    for label, index in (("From slice", FIRST), ("To slice", LAST)):
        visit.page.get_by_label(label).fill(str(index))
        visit.page.get_by_label(label).press("Tab")
    visit.key("a")
    visit.wait_object("done > 12")
    visit.wait_quiet()
    look(visit, "Yellow", THROUGH_ONE)
    scroll_panel(visit)
    save(visit, folder / "app-segment.png")
    visit.page.get_by_title("Light or dark").click()
    visit.page.wait_for_selector(".v-theme--light")
    save(visit, folder / "app-light.png")
    visit.page.get_by_title("Light or dark").click()


def repair(visit, folder):
    """The section Repair, open."""
    title = visit.page.locator("[data-test=repair] button").first
    title.click()
    visit.page.evaluate(REST)
    title.evaluate("one => one.scrollIntoView({block: 'start'})")
    save(visit, folder / "app-repair.webp")
    title.click()


def surfaces(visit, folder):
    """The tab View, and the 3D view."""
    visit.page.get_by_role("tab", name="View").click()
    visit.key("4")
    wait_3d(visit)
    wait_coloured(visit, "n > 200")
    scroll_panel(visit)
    save(visit, folder / "app-3d.webp")
    visit.key("2")
    visit.page.get_by_role("tab", name="Segment").click()


def files(visit, folder):
    """The dialog that opens files, and the one that saves them."""
    for title, name in (
        ("Open an image, a segmentation or a scene", "open"),
        ("Save the segmentation or everything", "save"),
    ):
        visit.page.get_by_title(title).first.click()
        visit.page.locator(f"[data-test={name}]").wait_for()
        save(visit, folder / f"app-{name}.webp")
        visit.page.keyboard.press("Escape")
        visit.page.locator(".v-overlay__scrim").first.wait_for(state="detached")


def scroll_panel(visit):
    """To the top of the tab."""
    visit.page.locator(".v-navigation-drawer__content").evaluate("one => one.scrollTo(0, 0)")


def measurements(visit, folder):
    """The dialog with its table and a file to download."""
    visit.page.get_by_role("button", name="Measurements").click()
    visit.page.wait_for_selector("[data-measured]")
    visit.page.locator("[data-test=write-page]").click()
    visit.page.wait_for_selector("[data-test=measures-link]")
    save(visit, folder / "app-measurements.webp")
    visit.page.get_by_role("button", name="Close", exact=True).last.click()
    visit.page.locator(".v-overlay__scrim").first.wait_for(state="detached")


def widths(browser, app, folder):
    """What there is on a telephone, a laptop and a large screen, in both themes."""
    for size in SIZES:
        with Visit(browser, app, size) as visit:
            visit.wait_ready()
            visit.page.get_by_role("tab", name="Segment").evaluate("one => one.click()")
            for theme in ("dark", "light"):
                visit.page.evaluate("theme => trame.state.set('theme', theme)", theme)
                visit.page.wait_for_selector(f".v-theme--{theme}")
                save(visit, folder / f"app-{size[0]}-{theme}.webp")
                if size[0] == SIZES[0][0]:
                    visit.page.get_by_title("Panels").click()
                    visit.page.wait_for_selector(".v-navigation-drawer--active")
                    save(visit, folder / f"app-{size[0]}-panels-{theme}.webp")
                    visit.page.mouse.click(size[0] - 8, size[1] / 2)
                    visit.page.wait_for_selector(".v-navigation-drawer--active", state="detached")


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
    save_picture(Image.open(io.BytesIO(visit.page.screenshot())), path)


if __name__ == "__main__":
    if sentence := what_is_missing() or browser_is_missing():
        sys.exit(sentence)
    main(Path(sys.argv[1]))
