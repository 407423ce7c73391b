"""The training road in a real browser with the real engine and the real trainer: cases, a few steps while clicking, use, back."""

from Testing.Support.small_run import AS_TEXT
from Testing.Support.volumes import ball_volume
from Testing.Web.file_helpers import open_file, wait_volume
from Testing.Web.visit import AppProcess, Visit

SHAPE = (12, 32, 32)
ROLES = ("to train on", "to check while training", "to compare models on")
LIMIT_MS = 240_000


def add_case(visit, path, role):
    """Opens a volume, outlines what is in it, and puts it on the list."""
    open_file(visit, path)
    wait_volume(visit, path.name.split(".")[0])
    visit.page.get_by_role("tab", name="Segment").click()
    visit.take("x", "box")
    visit.drag((0.15, 0.18), (0.85, 0.82))
    visit.wait_object("ml > 0")
    visit.wait_quiet()
    visit.page.get_by_role("tab", name="Train").click()
    visit.page.locator(".v-select", has_text="Next case is").click()
    visit.page.get_by_role("option", name=role).click()
    visit.page.get_by_role("button", name="Add current case").click()
    visit.page.locator(f'[data-case="{path.name.split(".")[0]}"]').wait_for()


def scroll(visit, steps):
    """With the wheel, until the view is there."""
    target = visit.index() + steps
    visit.wheel(steps)
    visit.page.wait_for_selector(f"[data-bar=Red][data-index='{target}']")
    visit.wait_drawn()


def wait_train(visit, name):
    visit.page.wait_for_function("name => trame.state.get(name)", arg=f"train_{name}", timeout=LIMIT_MS)


def press(visit, name):
    visit.page.get_by_role("button", name=name, exact=True).click()


def test_training_while_clicking_then_promoting_and_rolling_back_the_model(browser, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    paths = [home / f"case{number}.nii" for number in range(3)]
    for number, path in enumerate(paths):
        ball_volume((SHAPE[0] + number, *SHAPE[1:]))[0].write(path)
    with AppProcess(home) as app, Visit(browser, app) as visit:
        visit.wait_ready()
        for path, role in zip(paths, ROLES, strict=True):
            add_case(visit, path, role)
        assert [row["role"] for row in visit.state("train_cases")] == ["training", "checked while training", "held out"]
        visit.page.locator("[data-test=train-steps] input").fill("2")
        visit.page.get_by_text("For experts").last.click()
        visit.page.locator("[data-test=train-settings] textarea").first.fill(AS_TEXT)
        press(visit, "Start")
        wait_train(visit, "can_stop")

        visit.take("p", "positive")
        scroll(visit, 2)
        visit.click(0.5, 0.5)
        visit.wait_object("prompts === 2")
        visit.wait_quiet()
        assert visit.state("train_is_running")
        visit.wait_object("done === 2")

        wait_train(visit, "can_compare")
        assert visit.page.locator("[data-test=train-line]").inner_text() == "The run is over."
        assert len(visit.page.locator("[data-test=loss]").get_attribute("points").split()) == 2
        press(visit, "Compare on held-out cases")
        wait_train(visit, "can_promote")
        assert visit.page.locator("[data-test=comparison]").count() > 1
        assert "too few for an interval" in visit.page.locator("[data-test=verdict]").inner_text()
        press(visit, "Use new model")
        press(visit, "Yes")  # one case proves nothing
        wait_train(visit, "can_roll_back")
        scroll(visit, -4)
        visit.click(0.5, 0.5)
        visit.wait_object("prompts === 3")
        visit.wait_quiet()
        visit.wait_object("done === 3")
        press(visit, "Back")
        visit.page.wait_for_function("!trame.state.get('train_can_roll_back')")
        assert not visit.errors, visit.errors
