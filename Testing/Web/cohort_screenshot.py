"""Draws the app's pictures of a cohort: `python -m Testing.Web.cohort_screenshot docs/screenshots`. Takes some minutes.

The way of docs/studies.md through the page: two annotated brains, six new ones, the real command, the list by doubt.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from Testing.Web.conftest import browser_is_missing, chromium, what_is_missing
from Testing.Web.screenshots import save
from Testing.Web.visit import ROOT, AppProcess, Visit, open_browser

ANNOTATED = 2
COUNTS = ("--training", str(ANNOTATED), "--validation", "0", "--held-out", "6")
LIMIT_MS = 3_600_000


def main(folder: Path) -> None:
    """A run under way, and a case of its list."""
    with tempfile.TemporaryDirectory() as scratch, open_browser(chromium()) as browser:
        home = Path(scratch)
        make_study(home)
        with AppProcess(home, "image02.nii.gz") as app, Visit(browser, app) as visit:
            visit.wait_ready()
            page = visit.page
            page.get_by_role("tab", name="Train").click()
            page.get_by_text("Cases from a folder").click()
            page.locator("[data-test=train-source] input").fill("annotated")
            page.get_by_role("button", name="Add them").click()
            page.wait_for_function("trame.state.get('train_cases').length === 2")
            page.get_by_text("Cases from a folder").click()
            page.locator("[data-test=cohort-images] input").fill("new")
            page.locator("[data-test=cohort-outline-them]").click()
            page.wait_for_function("trame.state.get('cohort_is_running')")
            page.wait_for_function(
                "trame.state.get('cohort_percent') > 40 || !trame.state.get('cohort_is_running')", timeout=LIMIT_MS
            )
            assert visit.state("cohort_is_running"), visit.state("cohort_sentence")
            show_section(visit)
            save(visit, folder / "app-cohort-run.webp")
            page.wait_for_function("!trame.state.get('cohort_is_running')", timeout=LIMIT_MS)
            page.locator("[data-test=cohort-next-doubtful-case]").click()
            page.wait_for_function("trame.state.get('cohort_current') && trame.state.get('objects').length > 0")
            visit.wait_quiet()
            show_section(visit)
            save(visit, folder / "app-cohort.webp")


def make_study(home):
    """Two annotated brains and six new ones in a folder each, and one of these beside them."""
    made = home / ".made"
    subprocess.run([sys.executable, str(ROOT / "tools" / "make_finetuning_cases.py"), str(made), *COUNTS], check=True)
    images, labels = sorted(made.glob("image*.nii.gz")), sorted(made.glob("label*.nii.gz"))
    for paths, folder in (
        (images[:ANNOTATED], "annotated/images"),
        (labels[:ANNOTATED], "annotated/labels"),
        (images[ANNOTATED:], "new"),
    ):
        (home / folder).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, home / folder / path.name.replace("label", "image"))
    shutil.copy(images[ANNOTATED], home)


def show_section(visit):
    visit.page.locator(".ns-section", has_text="More cases").evaluate("one => one.scrollIntoView({block: 'start'})")


if __name__ == "__main__":
    if sentence := what_is_missing() or browser_is_missing():
        sys.exit(sentence)
    main(Path(sys.argv[1]))
