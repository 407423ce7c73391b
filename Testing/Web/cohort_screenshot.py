"""Draws the app's pictures of a cohort: `python -m Testing.Web.cohort_screenshot docs/screenshots`. Takes some minutes.

The way of docs/studies.md through the page: two annotated brains, six new ones, the real command, the list by doubt.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from Testing.Web.conftest import browser_is_missing, chromium, what_is_missing
from Testing.Web.screenshots import save
from Testing.Web.visit import ROOT, AppProcess, Visit, open_browser

COUNTS = ("--training", "2", "--validation", "0", "--held-out", "6")
LIMIT_MS = 3_600_000
PROJECT = "NeuroSAM2 training"


def main(folder: Path) -> None:
    """A run under way, and a case of its list."""
    with tempfile.TemporaryDirectory() as scratch, open_browser(chromium()) as browser:
        home = Path(scratch)
        study = home / "study"
        subprocess.run(
            [sys.executable, str(ROOT / "tools" / "make_finetuning_cases.py"), str(study), *COUNTS], check=True
        )
        with AppProcess(home, str(study / "image02.nii.gz")) as app, Visit(browser, app) as visit:
            visit.wait_ready()
            page = visit.page
            page.get_by_role("tab", name="Train").click()
            page.locator("[data-test=train-folder] input").fill(str(study))
            page.locator("[data-test=train-folder] input").press("Enter")
            page.wait_for_function("trame.state.get('train_cases').length === 2")
            page.locator("[data-test=cohort-images] input").fill(str(study))
            page.locator("[data-test=cohort-outline-them]").click()
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


def show_section(visit):
    visit.page.locator(".ns-section", has_text="More cases").evaluate("one => one.scrollIntoView({block: 'start'})")


if __name__ == "__main__":
    if sentence := what_is_missing() or browser_is_missing():
        sys.exit(sentence)
    main(Path(sys.argv[1]))
