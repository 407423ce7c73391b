"""The training panel behind the page, with a program that pretends to train."""

import base64
import json
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.train_presenter import FIRST_FOLDER
from NeuroSAM2Lib.training.verdict_view import Tone
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.ui.train_panel import TrainPanel

from NeuroSAM2Core import Volume
from Testing.Support.processes import wait_a_little
from Testing.Web.app_user import HEIGHT, WIDTH, AppUser

TRAINER = Path(__file__).parents[1] / "Support" / "fake_trainer.py"
LIMIT_S = 60.0


class TrainPanelUser:
    """A person in front of both panels."""

    def __init__(self, folder):
        self.user = AppUser(folder / "home")
        self.data = folder / "data"
        self.data.mkdir()
        self.folders = AllowedFolders([self.data])
        self.panel = TrainPanel(self.user.app_state, self.folders)

    @property
    def state(self):
        return self.user.state

    @property
    def controller(self):
        return self.panel.presenter.controller

    def add(self, role="training"):
        self.state.train_role = role
        self.panel.add_current()
        self.until(lambda: not self.panel.presenter.is_adding)

    def outline(self):
        self.user.app_state.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)

    def until(self, is_done):
        deadline = time.monotonic() + LIMIT_S
        while not is_done():
            self.panel._looks_at = 0.0
            self.panel.poll()
            assert time.monotonic() < deadline, self.state.train_sentence
            wait_a_little(self.controller)
        self.panel._looks_at = 0.0
        self.panel.poll()

    def allow(self, steps):
        self.controller.run.folder.with_suffix(".go").write_bytes(b"x" * steps)

    def finish(self):
        self.allow(9)
        self.until(lambda: not self.controller.is_running)


@pytest.fixture
def train_user(tmp_path, monkeypatch):
    monkeypatch.setattr(EngineChoice, "command", lambda choice, slicer_python: (sys.executable, str(TRAINER)))
    both = TrainPanelUser(tmp_path)
    yield both
    if both.controller.run is not None:
        both.finish()
    both.panel.close()


def test_an_empty_project_leads_to_its_first_case(train_user):
    assert train_user.state.train_folder == str(train_user.data / FIRST_FOLDER)
    assert train_user.state.train_sentence.startswith("Add the cases")
    assert not train_user.state.train_can_start
    train_user.panel.add_current()
    assert train_user.state.train_sentence.startswith("Nothing is segmented in")
    train_user.outline()
    train_user.add("test")
    train_user.add("training")
    assert [(row["role"], row["files"]) for row in train_user.state.train_cases] == [("training", "")]
    assert train_user.state.train_can_start
    train_user.state.train_chosen = 0
    train_user.panel.remove()
    assert train_user.state.train_cases == []
    assert "off the list" in train_user.state.train_sentence


def test_what_is_adapted_is_chosen_in_words_or_by_experts(train_user):
    assert train_user.state.train_parts == ["decoder", "memory"]
    train_user.panel.adapt(2)
    assert (train_user.state.train_parts, train_user.state.train_rank) == (["decoder", "memory", "neck"], 8)
    train_user.panel.set_rank("16")
    assert train_user.state.train_adapt == 4
    train_user.panel.set_rank("0")
    train_user.panel.set_parts(["memory", "decoder"])
    assert train_user.state.train_adapt == 0


def test_the_cases_are_looked_at_and_their_pictures_turned_over(train_user):
    assert not train_user.state.train_can_validate
    train_user.outline()
    train_user.add()
    assert train_user.state.train_sample is None
    train_user.panel.validate_dataset()
    train_user.until(lambda: train_user.state.train_sample is not None)
    first = train_user.state.train_sample
    count = len(train_user.controller.view.pictures)
    assert count > 1
    assert first["caption"] == f"Clip 1 of {count}"
    assert base64.b64decode(first["src"].partition(",")[2]).startswith(b"\x89PNG")
    assert train_user.state.train_report
    train_user.panel.turn(-1)
    assert train_user.state.train_sample["caption"] == f"Clip {count} of {count}"
    train_user.panel.turn(1)
    assert train_user.state.train_sample == first


def test_a_run_is_started_watched_stopped_and_continued(train_user):
    train_user.outline()
    train_user.add()
    train_user.panel.set_steps("5")
    train_user.state.train_settings = "losses.focal = 10\n# a remark"
    train_user.panel.start()
    config = tomllib.loads(train_user.controller.run.folder.with_suffix(".toml").read_text(encoding="utf-8"))
    assert (config["losses"]["focal"], config["optim"]["steps"]) == (10, 5)
    assert config["groups"]["trunk"]["frozen"] is True
    assert train_user.state.train_is_running
    train_user.allow(2)
    train_user.until(lambda: train_user.state.train_step == 2)
    assert train_user.state.train_pace.startswith("Step 2 of 5")
    assert train_user.state.train_estimate, "it stays while the run goes on"
    assert len(train_user.state.train_curves["loss"].split()) == 2
    assert train_user.state.train_curves["last_loss"] == "0.5"
    train_user.panel.does(lambda controller: controller.stop())()
    train_user.until(lambda: train_user.state.train_can_continue)
    assert train_user.state.train_sentence == "The run was stopped."
    train_user.panel.does(lambda controller: controller.resume())()
    train_user.finish()
    assert train_user.state.train_sentence == "The run is over."
    assert len(train_user.state.train_curves["loss"].split()) == 5
    assert "s per step" in train_user.state.train_estimate


def add_held_out(train_user):
    image, label = (train_user.data / f"held/{what}/held.nii.gz" for what in ("images", "labels"))
    for path in (image, label):
        path.parent.mkdir(parents=True)
        Volume(np.ones((3, 4, 5), np.int16), np.eye(4)).write(path)
    train_user.state.train_role, train_user.state.train_source = "test", "held"
    train_user.panel.add_folder()


def test_the_new_model_is_compared_used_and_taken_back(train_user):
    train_user.outline()
    train_user.add("training")
    add_held_out(train_user)
    assert [row["role"] for row in train_user.state.train_cases] == ["training", "held out"]
    train_user.panel.start()
    train_user.finish()
    assert train_user.state.train_can_compare
    assert not train_user.state.train_can_promote
    train_user.panel.does(lambda controller: controller.compare())()
    train_user.until(lambda: train_user.state.train_can_promote)
    assert train_user.state.train_comparison == [
        {"what": "Dice after the first prompt (box)", "before": "0.500", "after": "0.750"},
        {"what": "corrections to Dice 0.85 (box)", "before": "> 5", "after": "≥ 3.5"},
    ]
    assert train_user.state.train_verdict["sentence"].startswith("Better on 3 of 3 held-out cases")
    assert train_user.state.train_verdict["picture"].startswith("data:image/png")
    train_user.panel.use_new_model()
    assert train_user.state.question == ""
    assert train_user.user.presenter.choice.model.endswith("model.safetensors")
    train_user.panel.does(lambda controller: controller.roll_back())()
    assert train_user.user.presenter.choice.model == "nano"


def test_a_model_that_is_worse_is_used_only_after_a_yes(train_user):
    train_user.outline()
    train_user.add("training")
    assert "no proof will be possible" in train_user.state.train_warnings[0]
    add_held_out(train_user)
    train_user.panel.start()
    assert train_user.state.train_estimate
    train_user.finish()
    proofs = train_user.data / FIRST_FOLDER / "proofs"
    proofs.mkdir()
    (proofs / "afters.json").write_text("[0.4, 0.3, 0.2]", encoding="utf-8")
    train_user.panel.does(lambda controller: controller.compare())()
    train_user.until(lambda: train_user.state.train_can_promote)
    assert Tone.BAD.value.ground in train_user.state.train_verdict["colours"]
    train_user.panel.use_new_model()
    assert "0.20 lower" in train_user.state.question
    host = train_user.user.app_state.host
    host.answer(is_yes=False)
    assert train_user.user.presenter.choice.model == "nano"
    train_user.panel.use_new_model()
    host.answer(is_yes=True)
    assert train_user.user.presenter.choice.model.endswith("model.safetensors")
    assert train_user.state.train_sentence.startswith("The new model is in use")


def test_a_folder_that_says_what_its_cases_are_for_is_believed(train_user):
    folder = train_user.data / "said"
    folder.mkdir()
    for name in ("one", "two", "one-seg", "two-seg"):
        Volume(np.ones((3, 4, 5), np.int16), np.eye(4)).write(folder / f"{name}.nii.gz")
    roles = {"one": "training", "two": "test"}
    payload = {role: [{"image": f"{name}.nii.gz", "seg": f"{name}-seg.nii.gz"}] for name, role in roles.items()}
    (folder / "dataset.json").write_text(json.dumps(payload), encoding="utf-8")
    train_user.state.train_role, train_user.state.train_source = "validation", "said"
    train_user.panel.add_folder()
    assert {row["name"]: row["role"] for row in train_user.state.train_cases} == {"one": "training", "two": "held out"}
    assert train_user.state.train_sentence.startswith("2 cases are on the list; 2 as their dataset.json says")


def test_folders_are_chosen_by_walking_through_those_that_may_be_used(train_user):
    (train_user.data / "study" / "derivatives").mkdir(parents=True)
    (train_user.data / "a file.nii.gz").write_bytes(b"")
    panel, state = train_user.panel, train_user.state
    panel.browse_source()
    assert state.browse_open
    panel.chooser.enter(str(train_user.data))
    assert [one["name"] for one in state.browse_list["entries"]] == ["study"]
    panel.chooser.enter(str(train_user.data.parent))
    assert [one["path"] for one in state.browse_list["entries"]] == [str(train_user.data)], "no way out"
    panel.chooser.enter(str(train_user.data / "study"))
    panel.chooser.take()
    assert (state.train_source, state.browse_open) == (str(train_user.data / "study"), False)
    panel.browse_project()
    panel.chooser.enter(str(train_user.data / "study" / "derivatives"))
    panel.chooser.take()
    assert train_user.panel.presenter.controller.folder == train_user.data / "study" / "derivatives"


def test_a_run_outlives_the_app_and_is_found_again(train_user):
    train_user.outline()
    train_user.add()
    train_user.panel.start()
    before = train_user.controller
    train_user.panel.close()
    train_user.panel = TrainPanel(train_user.user.app_state, train_user.folders)
    assert train_user.state.train_is_running
    assert before.is_running
    train_user.finish()
    assert train_user.controller.run.is_over
    train_user.panel.presenter.controller = before  # takes in the end of its child
    train_user.until(lambda: not before.is_running)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("train_settings", "losses.focal = 10\nfaster please", "Line 2 of the settings is 'faster please'"),
        ("train_steps", "many", "Steps: 'many' will not do (a whole number from 1 to 1000000)."),
        ("train_steps", "0", "Steps: '0' will not do"),
        ("train_steps", "²", "Steps: '²' will not do"),
        ("train_rank", "-3", "Adapter rank: '-3' will not do"),
        ("train_parts", [], "Nothing is chosen to be adapted"),
    ],
)
def test_a_mistake_in_what_was_typed_is_reported_and_nothing_starts(train_user, field, value, sentence):
    train_user.outline()
    train_user.add()
    train_user.state[field] = value
    train_user.panel.start()
    assert train_user.state.train_sentence.startswith(sentence)
    assert not train_user.state.train_is_running


def test_folders_outside_the_chosen_ones_are_refused(train_user, tmp_path):
    train_user.state.train_source = str(tmp_path)
    train_user.panel.add_folder()
    assert "outside the folders" in train_user.state.train_sentence
    train_user.state.train_folder = str(tmp_path / "elsewhere")
    train_user.panel.open_folder()
    assert "outside the folders" in train_user.state.train_sentence
    assert train_user.controller.folder == train_user.data / FIRST_FOLDER


def test_a_list_that_cannot_be_read_is_reported(train_user):
    (train_user.data / FIRST_FOLDER).mkdir()
    (train_user.data / FIRST_FOLDER / "dataset.json").write_text(json.dumps({"training": [3]}), encoding="utf-8")
    train_user.panel.open_folder()
    assert "dataset.json cannot be read" in train_user.state.train_sentence


def test_the_log_is_shown_on_request(train_user):
    train_user.outline()
    train_user.add()
    train_user.panel.start()
    train_user.controller.run.folder.with_suffix(".go").write_bytes(b"!")
    train_user.until(lambda: not train_user.controller.is_running)
    assert train_user.state.train_sentence == "The run failed: loss is not a number."
    assert train_user.state.train_log == ""
    train_user.panel.show_log(True)
    assert "loss is not a number" in train_user.state.train_log
