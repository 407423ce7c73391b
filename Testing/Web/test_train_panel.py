"""The training panel behind the page, with a program that pretends to train."""

import base64
import json
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from NeuroSAM2MRML.engine.choice import EngineChoice
from NeuroSAM2Web.folders import Folders
from NeuroSAM2Web.train_panel import FOLDER, TrainPanel

from NeuroSAM2Core import Volume
from Testing.Support.processes import wait_a_little
from Testing.Web.room import HEIGHT, WIDTH, Room

TRAINER = Path(__file__).parents[1] / "Support" / "fake_trainer.py"
LIMIT_S = 60.0


class School:
    """A person in front of both panels."""

    def __init__(self, folder):
        self.room = Room(folder / "home")
        self.data = folder / "data"
        self.data.mkdir()
        self.folders = Folders([self.data])
        self.panel = TrainPanel(self.room.desk, self.folders)

    @property
    def state(self):
        return self.room.state

    @property
    def controller(self):
        return self.panel.desk.controller

    def add(self, role="training"):
        self.state.train_role = role
        self.panel.add_current()
        self.until(lambda: not self.panel.desk.is_adding)

    def outline(self):
        self.room.desk.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)

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
def school(tmp_path, monkeypatch):
    monkeypatch.setattr(EngineChoice, "command", lambda choice, own_python: (sys.executable, str(TRAINER)))
    both = School(tmp_path)
    yield both
    if both.controller.run is not None:
        both.finish()
    both.panel.close()


def test_an_empty_project_leads_to_its_first_case(school):
    assert school.state.train_folder == str(school.data / FOLDER)
    assert school.state.train_sentence.startswith("Add the cases")
    assert not school.state.train_can_start
    school.panel.add_current()
    assert school.state.train_sentence.startswith("Nothing is outlined in")
    school.outline()
    school.add("test")
    school.add("training")
    assert [(row["role"], row["files"]) for row in school.state.train_cases] == [("training", "")]
    assert school.state.train_can_start
    school.state.train_chosen = 0
    school.panel.remove()
    assert school.state.train_cases == []
    assert "off the list" in school.state.train_sentence


def test_what_is_adapted_is_chosen_in_words_or_by_experts(school):
    assert school.state.train_parts == ["decoder", "memory"]
    school.panel.adapt(2)
    assert (school.state.train_parts, school.state.train_rank) == (["decoder", "memory", "neck"], 8)
    school.panel.set_rank("16")
    assert school.state.train_adapt == 4
    school.panel.set_rank("0")
    school.panel.set_parts(["memory", "decoder"])
    assert school.state.train_adapt == 0


def test_the_cases_are_looked_at_and_their_pictures_turned_over(school):
    assert not school.state.train_can_look
    school.outline()
    school.add()
    assert school.state.train_sample is None
    school.panel.look()
    school.until(lambda: school.state.train_sample is not None)
    first = school.state.train_sample
    count = len(school.controller.view.pictures)
    assert count > 1
    assert first["caption"] == f"Clip 1 of {count}"
    assert base64.b64decode(first["src"].partition(",")[2]).startswith(b"\x89PNG")
    assert school.state.train_report
    school.panel.turn(-1)
    assert school.state.train_sample["caption"] == f"Clip {count} of {count}"
    school.panel.turn(1)
    assert school.state.train_sample == first


def test_a_run_is_started_watched_stopped_and_continued(school):
    school.outline()
    school.add()
    school.panel.set_steps("5")
    school.state.train_settings = "losses.focal = 10\n# a remark"
    school.panel.start()
    config = tomllib.loads(school.controller.run.folder.with_suffix(".toml").read_text())
    assert (config["losses"]["focal"], config["optim"]["steps"]) == (10, 5)
    assert config["groups"]["trunk"]["frozen"] is True
    assert school.state.train_is_running
    school.allow(2)
    school.until(lambda: school.state.train_step == 2)
    assert school.state.train_pace.startswith("Step 2 of 5")
    assert len(school.state.train_curves["loss"].split()) == 2
    assert school.state.train_curves["last_loss"] == "0.5"
    school.panel.does(lambda controller: controller.stop())()
    school.until(lambda: school.state.train_can_continue)
    assert school.state.train_sentence == "The run was stopped."
    school.panel.does(lambda controller: controller.go_on())()
    school.finish()
    assert school.state.train_sentence == "The run is over."
    assert len(school.state.train_curves["loss"].split()) == 5
    assert "s per step" in school.state.train_estimate


def test_the_new_model_is_compared_used_and_taken_back(school):
    school.outline()
    school.add("training")
    image, label = (school.data / f"held/{what}/held.nii.gz" for what in ("images", "labels"))
    for path in (image, label):
        path.parent.mkdir(parents=True)
        Volume(np.ones((3, 4, 5), np.int16), np.eye(4)).write(path)
    school.state.train_role, school.state.train_source = "test", "held"
    school.panel.add_folder()
    assert [row["role"] for row in school.state.train_cases] == ["training", "held out"]
    school.panel.start()
    school.finish()
    assert school.state.train_can_prove
    assert not school.state.train_can_promote
    school.panel.does(lambda controller: controller.prove())()
    school.until(lambda: school.state.train_can_promote)
    assert school.state.train_proof == [{"what": "Dice after the first prompt (box)", "before": "0.5", "after": "0.75"}]
    school.panel.does(lambda controller: controller.promote())()
    assert school.room.workplace.choice.model.endswith("model.safetensors")
    school.panel.does(lambda controller: controller.roll_back())()
    assert school.room.workplace.choice.model == "nano"


def test_a_folder_that_says_what_its_cases_are_for_is_believed(school):
    folder = school.data / "said"
    folder.mkdir()
    for name in ("one", "two", "one-seg", "two-seg"):
        Volume(np.ones((3, 4, 5), np.int16), np.eye(4)).write(folder / f"{name}.nii.gz")
    roles = {"one": "training", "two": "test"}
    said = {role: [{"image": f"{name}.nii.gz", "seg": f"{name}-seg.nii.gz"}] for name, role in roles.items()}
    (folder / "dataset.json").write_text(json.dumps(said))
    school.state.train_role, school.state.train_source = "validation", "said"
    school.panel.add_folder()
    assert {row["name"]: row["role"] for row in school.state.train_cases} == {"one": "training", "two": "held out"}
    assert school.state.train_sentence.startswith("2 cases are on the list; 2 as their dataset.json says")


def test_a_run_outlives_the_app_and_is_found_again(school):
    school.outline()
    school.add()
    school.panel.start()
    before = school.controller
    school.panel.close()
    school.panel = TrainPanel(school.room.desk, school.folders)
    assert school.state.train_is_running
    assert before.is_running
    school.finish()
    assert school.controller.run.is_over
    school.panel.desk.controller = before  # takes in the end of its child
    school.until(lambda: not before.is_running)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("train_settings", "losses.focal = 10\nfaster please", "Line 2 of the settings is 'faster please'"),
        ("train_steps", "many", "Steps: 'many' will not do (a whole number from 1 to 1000000)."),
        ("train_steps", "0", "Steps: '0' will not do"),
        ("train_rank", "-3", "Adapter rank: '-3' will not do"),
        ("train_parts", [], "Nothing is chosen to be adapted"),
    ],
)
def test_a_mistake_in_what_was_typed_is_said_and_nothing_starts(school, field, value, sentence):
    school.outline()
    school.add()
    school.state[field] = value
    school.panel.start()
    assert school.state.train_sentence.startswith(sentence)
    assert not school.state.train_is_running


def test_folders_outside_the_chosen_ones_are_refused(school, tmp_path):
    school.state.train_source = str(tmp_path)
    school.panel.add_folder()
    assert "outside the folders" in school.state.train_sentence
    school.state.train_folder = str(tmp_path / "elsewhere")
    school.panel.open_folder()
    assert "outside the folders" in school.state.train_sentence
    assert school.controller.folder == school.data / FOLDER


def test_a_list_that_cannot_be_read_is_said(school):
    (school.data / FOLDER).mkdir()
    (school.data / FOLDER / "dataset.json").write_text(json.dumps({"training": [3]}))
    school.panel.open_folder()
    assert "dataset.json cannot be read" in school.state.train_sentence


def test_the_log_is_shown_on_request(school):
    school.outline()
    school.add()
    school.panel.start()
    school.controller.run.folder.with_suffix(".go").write_bytes(b"!")
    school.until(lambda: not school.controller.is_running)
    assert school.state.train_sentence == "The run failed: loss is not a number."
    assert school.state.train_log == ""
    school.panel.show_log(True)
    assert "loss is not a number" in school.state.train_log
