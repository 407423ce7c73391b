"""Draws the app's picture of fine-tuning: `python -m Testing.Web.train_screenshot docs/screenshots`. Takes a few minutes.

Brains made from the example, the real trainer, a short run; what is in the table is what was measured.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from Testing.Web.conftest import browser_is_missing, chromium, what_is_missing
from Testing.Web.file_helpers import open_file, wait_volume
from Testing.Web.screenshots import save
from Testing.Web.visit import ROOT, AppProcess, Visit, open_browser

NUM_CASES = {"to train on": 4, "to check while training": 1, "to compare models on": 3}
SETTINGS = """sampling.slices = 3
sampling.max_objects = 1
prompts.num_corrections = 2
run.validate_every = 20
run.report_every = 1
evaluation.num_clicks = 0
evaluation.has_surfaces = false"""
STEPS = "120"
HEAD = (0.13, 0.1), (0.87, 0.88)
"""As parts of the axial view."""
LIMIT_MS = 900_000


def main(folder: Path) -> None:
    """A run that has ended, and what it has brought."""
    with tempfile.TemporaryDirectory() as scratch, open_browser(chromium()) as browser:
        home = Path(scratch)
        names = make_cases(home)
        with AppProcess(home, str(home / f"{names[0]}.nii.gz")) as app, Visit(browser, app) as visit:
            visit.wait_ready()
            wait_volume(visit, names[0])
            visit.page.get_by_role("tab", name="Train").click()
            add_cases(visit)
            train(visit)
            open_file(visit, home / f"{names[-1]}.nii.gz")
            wait_volume(visit, names[-1])
            visit.take("x", "box")
            visit.drag(*HEAD)
            visit.wait_object("ml > 0")
            visit.wait_quiet()
            visit.page.locator("[data-test=loss]").evaluate(
                "one => one.closest('svg').scrollIntoView({block: 'start'})"
            )
            save(visit, folder / "app-train.png")


def make_cases(home):
    """A folder for each role; the images lie beside them, to be opened. Returns the names."""
    made = home / ".made"
    counts = [
        f"--{what}={count}"
        for what, count in zip(("training", "validation", "held-out"), NUM_CASES.values(), strict=True)
    ]
    subprocess.run([sys.executable, str(ROOT / "tools" / "make_finetuning_cases.py"), str(made), *counts], check=True)
    names = []
    for role, count in NUM_CASES.items():
        for _ in range(count):
            name, number = f"brain {len(names) + 1}", len(names)
            for what, folder in (("image", "images"), ("label", "labels")):
                target = home / role / folder / f"{name}.nii.gz"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(made / f"{what}{number:02d}.nii.gz", target)
            shutil.copy(made / f"image{number:02d}.nii.gz", home / f"{name}.nii.gz")
            names.append(name)
    return names


def add_cases(visit):
    visit.page.get_by_text("Cases from a folder").click()
    for role in NUM_CASES:
        visit.page.locator(".v-select", has_text="Next case is").click()
        visit.page.get_by_role("option", name=role).click()
        visit.page.locator("[data-test=train-source] input").fill(role)
        visit.page.get_by_role("button", name="Add them").click()
        visit.page.wait_for_function(
            "count => trame.state.get('train_sentence').startsWith(count + ' cases')", arg=str(NUM_CASES[role])
        )
    visit.page.get_by_text("Cases from a folder").click()


def train(visit):
    visit.page.locator("[data-test=train-steps] input").fill(STEPS)
    visit.page.get_by_text("For experts").last.click()
    visit.page.locator("[data-test=train-settings] textarea").first.fill(SETTINGS)
    visit.page.get_by_text("For experts").last.click()
    visit.page.get_by_role("button", name="Start", exact=True).click()
    for state, button in (("can_compare", "Compare on held-out cases"), ("can_promote", "Use new model")):
        visit.page.wait_for_function("name => trame.state.get(name)", arg=f"train_{state}", timeout=LIMIT_MS)
        visit.page.get_by_role("button", name=button).click()
    visit.page.wait_for_function("trame.state.get('train_can_roll_back') || trame.state.get('question')")
    if visit.state("question"):
        visit.page.get_by_role("button", name="Yes", exact=True).click()
    visit.page.wait_for_function("trame.state.get('train_can_roll_back')")


if __name__ == "__main__":
    if sentence := what_is_missing() or browser_is_missing():
        sys.exit(sentence)
    main(Path(sys.argv[1]))
