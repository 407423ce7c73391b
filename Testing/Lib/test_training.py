"""Fine-tuning in the background: the case list, a run as a process, proof, and back."""

import gc
import json
import sys
import time
import tomllib
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from NeuroSAM2Lib.training.cases import CaseExport, CaseList, labels_of
from NeuroSAM2Lib.training.controller import TrainController
from NeuroSAM2Lib.training.run import RunReader, TrainChoice, estimate

from NeuroSAM2Core import Volume, disk
from NeuroSAM2Core.errors import ConfigError, DataError, WorkerError
from NeuroSAM2Core.processes import ProcessTree
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.exported import add_case
from Testing.Support.processes import wait_a_little
from Testing.Support.sessions import SimulatedUser, place_point

TRAINER = [sys.executable, str(Path(__file__).parents[1] / "Support" / "fake_trainer.py")]
LIMIT_S = 60


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Bench:
    """A training panel with a project."""

    trainer = TRAINER

    def __init__(self, folder):
        self.folder, self.clock, self.used = folder, Clock(), []
        self.open()

    def open(self):
        self.training = TrainController(
            self.folder, ProcessTree.start, self.trainer, use_model=self.used.append, clock=self.clock
        )

    def add_case(self, name, role="training"):
        voxels = np.zeros((4, 5, 6), np.int16)
        labels = voxels.astype(np.uint8)
        labels[1, 2, 3] = 1
        image = Volume(voxels, np.eye(4))
        add_case(self.training.cases, name, image, image.with_voxels(labels), role)

    def allow(self, steps):
        path = self.training.run.folder.with_suffix(".go")
        path.write_bytes(b"x" * steps)

    def wait(self, is_done):
        deadline = time.monotonic() + LIMIT_S
        while not is_done():
            self.training.poll()
            assert time.monotonic() < deadline, self.training.notice
            wait_a_little(self.training)

    def run_to_the_end(self, choice=None):
        self.training.begin(choice or TrainChoice())
        self.allow(9)
        self.wait(lambda: not self.training.is_running)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "project")
    yield bench
    if bench.training.is_running:
        bench.training.stop()
        bench.wait(lambda: not bench.training.is_running)


def test_a_case_is_exported_as_it_is_in_the_world_and_listed(app, tmp_path):
    user = SimulatedUser(app, geometry="under a shear")
    place_point(user.session, SlicePlane(Axis.K, 4), 7, 10)
    user.session.next_object()
    place_point(user.session, SlicePlane(Axis.J, 3), 2, 5)
    user.settle()
    bench = Bench(tmp_path / "project")
    add_case(bench.training.cases, "case01", user.document.volume, labels_of(user.document))
    payload = json.loads(bench.training.cases.path.read_text(encoding="utf-8"))
    assert payload["training"] == [{"image": "images/case01.nii", "seg": "labels/case01.nii"}]
    assert payload["validation"] == []
    image, label = (Volume.read(bench.folder / payload["training"][0][key]) for key in ("image", "seg"))
    np.testing.assert_array_equal(image.voxels, user.voxels)
    np.testing.assert_allclose(image.ijk_to_ras, user.document.volume.ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(label.voxels, labels_of(user.document).voxels)
    assert set(np.unique(label.voxels)) == {0, 1, 2}


def test_cases_are_replaced_moved_and_removed(bench):
    bench.add_case("a")
    bench.add_case("b", "validation")
    bench.add_case("a", "test")
    assert [(c.name, c.role) for c in bench.training.view.cases] == [("b", "validation"), ("a", "test")]
    bench.training.cases.remove(bench.training.cases.read()[0])
    assert [c.name for c in bench.training.view.cases] == ["a"]
    (bench.folder / "images" / "a.nii").unlink()
    assert not bench.training.view.cases[0].is_there


def image_of(value, shift_mm=0.0):
    matrix = np.eye(4)
    matrix[0, 3] = shift_mm
    return Volume(np.full((4, 5, 6), value, np.int16), matrix)


def test_another_image_of_the_same_name_is_a_case_of_its_own(bench):
    cases, ones = bench.training.cases, np.ones((4, 5, 6), np.uint8)
    first, second, moved = image_of(1), image_of(2), image_of(1, shift_mm=3.0)
    for image, role in ((first, "training"), (second, "validation"), (moved, "training"), (second, "test")):
        add_case(cases, "T1", image, image.with_voxels(ones), role)
    there = {case.name: case for case in cases.read()}
    assert {name: case.role for name, case in there.items()} == {"T1": "training", "T1 2": "test", "T1 3": "training"}
    assert (Volume.read(there["T1"].image).voxels == 1).all()
    assert (Volume.read(there["T1 2"].image).voxels == 2).all()


def test_files_of_a_case_off_the_list_are_not_overwritten_by_another_image(bench):
    cases, ones = bench.training.cases, np.ones((4, 5, 6), np.uint8)
    first, second = image_of(1), image_of(2)
    add_case(cases, "T1", first, first.with_voxels(ones))
    cases.remove(cases.read()[0])
    assert add_case(cases, "T1", second, second.with_voxels(ones)) == "T1 2"
    assert add_case(cases, "T1", first, first.with_voxels(ones)) == "T1"


def test_two_windows_that_export_one_name_at_once_have_a_case_each(bench):
    first, second = image_of(1), image_of(2)
    ones = first.with_voxels(np.ones((4, 5, 6), np.uint8))
    exports = [CaseExport(CaseList(bench.folder), "T1", image, ones, "training") for image in (first, second)]
    steps = [export._work for export in exports]
    while steps:
        for work in list(steps):
            try:
                next(work)
            except StopIteration:
                steps.remove(work)
    there = {case.name: case for case in bench.training.cases.read()}
    assert sorted(there) == ["T1", "T1 2"]
    assert {int(Volume.read(case.image).voxels.max()) for case in there.values()} == {1, 2}
    assert not list(bench.folder.rglob("*.partial"))


def test_windows_that_change_the_list_at_once_lose_no_case(bench):
    files = [bench.folder / f"{number}.nii" for number in range(24)]
    bench.folder.mkdir(parents=True)
    for path in files:
        path.touch()

    def add(paths):
        for path in paths:
            CaseList(bench.folder).add(path, path, "training")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, (files[part::4] for part in range(4))))
    assert {case.image for case in bench.training.cases.read()} == set(files)


def test_a_list_that_another_window_holds_is_a_sentence(bench, monkeypatch):
    monkeypatch.setattr("NeuroSAM2Lib.training.cases.LOCK_WAIT_S", 0.0)
    with CaseList(bench.folder).locked(), pytest.raises(DataError, match="another window is changing the list"):
        bench.add_case("a")
    assert not list(bench.folder.rglob("*.partial"))
    bench.add_case("a")
    assert [case.name for case in bench.training.cases.read()] == ["a"]


def test_two_windows_that_begin_a_run_at_once_have_a_run_each(bench, monkeypatch):
    bench.add_case("a")
    write = disk.write_atomically

    def other_window_first(path, content, **options):
        monkeypatch.setattr(disk, "write_atomically", write)
        path.write_text("theirs", encoding="utf-8")
        write(path, content, **options)

    monkeypatch.setattr(disk, "write_atomically", other_window_first)
    bench.run_to_the_end()
    assert (bench.folder / "runs" / "001.toml").read_text(encoding="utf-8") == "theirs"
    assert bench.training.run.folder.name == "002"


def test_a_case_of_an_earlier_version_is_known_again_by_its_voxels(bench):
    cases, ones = bench.training.cases, np.ones((4, 5, 6), np.uint8)
    image = image_of(1)
    for folder, volume in (("images", image), ("labels", image.with_voxels(ones))):
        (cases.folder / folder).mkdir(parents=True)
        volume.write(cases.folder / folder / "T1.nii")
    assert add_case(cases, "T1", image, image.with_voxels(ones)) == "T1"
    (cases.folder / "images" / "T1.nii").write_bytes(b"damaged")
    assert add_case(cases, "T1", image, image.with_voxels(ones)) == "T1 2"


def test_files_of_one_name_from_two_folders_are_two_cases(bench, tmp_path):
    cases = bench.training.cases
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("T1.nii", "seg.nii"):
            (tmp_path / folder / name).touch()
        cases.add(tmp_path / folder / "T1.nii", tmp_path / folder / "seg.nii", "training")
    assert [case.name for case in cases.read()] == ["a/T1", "b/T1"]
    cases.remove(cases.read()[0])
    assert [case.image.parent.name for case in cases.read()] == ["b"]


def test_a_case_without_an_outline_is_refused(bench):
    image = Volume(np.zeros((2, 2, 2), np.int16), np.eye(4))
    with pytest.raises(DataError, match="nothing is segmented"):
        add_case(bench.training.cases, "empty", image, image)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"training": [{]}', ""),
        ("[]", r": it is \[\]; expected a table"),
        ("[" * 100_000, ": it is nested too deeply"),
        ('{"training": {"image": "a"}}', ": training is .*; expected a list"),
        ('{"training": [{"image": "a"}]}', r": training\[0\].seg is missing"),
        ('{"training": [{"image": "a", "seg": "\\ud800"}]}', r": training\[0\].seg is .*; expected a text"),
    ],
)
def test_a_damaged_list_is_reported(bench, text, reason):
    bench.folder.mkdir(parents=True, exist_ok=True)
    bench.training.cases.path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"dataset\.json cannot be read{reason}"):
        bench.training.cases.read()


def test_the_configuration_says_what_was_chosen(tmp_path):
    choice = TrainChoice(
        model="tiny", parts=("decoder",), adapter_rank=8, steps=7, settings={"optim.accumulation": "2"}
    )
    payload = tomllib.loads(choice.to_toml(tmp_path / "dataset.json", tmp_path / "run"))
    assert payload["start"] == {"model": "tiny"}
    assert payload["optim"] == {"steps": 7, "accumulation": 2}
    assert payload["lora"] == {"rank": 8}
    frozen = {part: group["frozen"] for part, group in payload["groups"].items()}
    assert frozen == {"trunk": False, "neck": True, "decoder": False, "memory": True}
    assert payload["run"]["folder"] == str(tmp_path / "run")


def test_a_run_is_followed_stopped_and_continued_where_it_was(bench):
    bench.add_case("a")
    bench.training.begin(TrainChoice(steps=5))
    bench.allow(2)
    bench.wait(lambda: bench.training.view.step == 2)
    assert bench.training.view.losses == ((1, 1.0), (2, 0.5))
    assert bench.training.view.can_stop
    bench.training.stop()
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run was stopped"
    assert bench.training.view.can_continue
    bench.training.resume()
    bench.allow(5)
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run is over"
    assert [step for step, _ in bench.training.view.losses] == [1, 2, 3, 4, 5]
    assert not bench.training.view.can_continue


def test_a_run_goes_on_when_the_host_is_closed_and_is_found_again(bench):
    bench.add_case("a")
    bench.training.begin(TrainChoice(steps=5))
    bench.allow(2)
    bench.wait(lambda: bench.training.view.step == 2)
    bench.open()
    assert bench.training.is_running
    assert bench.training.view.num_steps == 5
    assert bench.training.view.step == 2
    assert bench.training.notice == "training goes on (started before)"
    bench.allow(5)
    bench.wait(lambda: bench.training.run.is_over)
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.view.step == 5


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be made to wait there")
def test_a_run_waits_while_the_person_clicks(bench):
    bench.add_case("a")
    bench.training.begin(TrainChoice())
    bench.allow(1)
    bench.wait(lambda: bench.training.view.step == 1)
    bench.training.yield_cpu()
    state = Path(f"/proc/{bench.training._training.pid}/status")
    if not state.exists():
        pytest.skip("this system does not say how a process is")
    bench.wait(lambda: "\nState:\tT" in state.read_text(encoding="utf-8"))
    bench.clock.now += 1.5
    bench.training.yield_cpu()
    bench.clock.now += 1.5
    bench.training.poll()
    assert "\nState:\tT" in state.read_text(encoding="utf-8")
    bench.clock.now += 1.0
    bench.training.poll()
    bench.allow(2)
    bench.wait(lambda: bench.training.view.step == 2)


def test_a_run_that_does_not_stop_is_ended_and_goes_on_from_what_it_saved(bench):
    bench.add_case("a")
    bench.training.begin(TrainChoice())
    bench.allow(2)
    bench.wait(lambda: bench.training.view.step == 2)
    bench.training.run.folder.with_suffix(".deaf").touch()
    bench.training.stop()
    bench.training.poll()
    assert bench.training.is_running
    bench.clock.now += 61
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run was stopped"
    assert bench.training.view.can_continue


def test_a_run_that_is_over_and_does_not_end_is_ended(bench):
    bench.add_case("a")
    bench.training.begin(TrainChoice())
    bench.training.run.folder.with_suffix(".deaf").touch()
    bench.allow(5)
    bench.wait(lambda: bench.training.run.is_over)
    bench.training.poll()
    bench.clock.now += 61
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run is over"


def test_a_failed_run_says_its_last_words(bench):
    bench.add_case("a")
    bench.training.begin(TrainChoice())
    bench.training.run.folder.with_suffix(".go").write_bytes(b"x!")
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run failed: loss is not a number"
    assert bench.training.view.can_continue


def test_a_model_is_promoted_only_with_comparison_and_can_be_rolled_back(bench):
    bench.add_case("a")
    bench.run_to_the_end()
    with pytest.raises(DataError, match="no case is held out"):
        bench.training.compare()
    with pytest.raises(DataError, match="has not been compared"):
        bench.training.promote()
    bench.add_case("b", "validation")
    bench.training.compare()
    bench.wait(lambda: not bench.training.is_comparing)
    rows = [(row.what, row.before, row.after) for row in bench.training.view.comparison]
    assert rows == [
        ("Dice after the first prompt (box)", "0.500", "0.750"),
        ("corrections to Dice 0.85 (box)", "> 5", "≥ 3.5"),
    ]
    assert bench.training.view.verdict.num_better == 3
    assert bench.training.view.verdict_picture.name == "report.png"
    first = str(bench.training.run.model)
    bench.training.compare()  # as often as one likes
    bench.wait(lambda: not bench.training.is_comparing)
    assert bench.training.notice == "the comparison is ready"
    bench.training.promote()
    assert bench.used == [first]
    bench.run_to_the_end(TrainChoice(model=first))
    bench.wait(lambda: not bench.training.is_running)
    bench.training.compare()
    bench.wait(lambda: not bench.training.is_comparing)
    asked = json.loads((bench.folder / "proofs" / "002" / "asked.json").read_text(encoding="utf-8"))
    assert asked[0] == first
    bench.training.promote()
    bench.training.roll_back()
    bench.training.roll_back()
    assert bench.used[-2:] == [first, "nano"] or bench.used[-1] == first
    with pytest.raises(DataError, match="no model was promoted"):
        bench.training.roll_back()


def test_samples_drawn_anew_leave_other_files_alone(bench):
    mine = bench.folder / "samples" / "patients" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    bench.add_case("a")
    for _ in range(2):
        bench.training.validate_dataset(TrainChoice())
        bench.wait(lambda: not bench.training.samples.is_running)
        assert len(bench.training.samples.pictures) == 3
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda b: b.training.begin(TrainChoice()), DataError, "no cases"),
        (lambda b: b.training.begin(TrainChoice(parts=())), ConfigError, "nothing is chosen to be adapted"),
        (lambda b: b.training.resume(), ConfigError, "no stopped run"),
        (lambda b: b.training.compare(), DataError, "not over yet"),
        (lambda b: b.training.roll_back(), DataError, "no model was promoted"),
    ],
)
def test_mistakes_are_one_sentence(bench, act, error, words):
    with pytest.raises(error, match=words):
        act(bench)


def test_an_interpreter_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(WorkerError, match="cannot start"):
        ProcessTree.start([str(tmp_path / "nowhere")], tmp_path / "log.txt")


def test_a_run_that_has_not_reported_is_at_the_step_of_its_checkpoint(tmp_path):
    reader = RunReader(tmp_path)
    assert reader.step == 0
    (tmp_path / "checkpoints").mkdir()
    for name in ("step-00000020", "step-00000100", "best"):
        (tmp_path / "checkpoints" / f"{name}.safetensors").touch()
    assert reader.step == 100
    (tmp_path / "metrics.jsonl").write_text('{"step": 120, "loss": 3}\n', encoding="utf-8")
    reader.read_news()
    assert reader.step == 120


def test_a_restart_that_goes_back_rewrites_the_curve(tmp_path):
    reader = RunReader(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo', encoding="utf-8")
    reader.read_news()
    assert reader.losses == [(1, 3.0), (2, 2.0)]
    path.write_text('{"step": 1, "loss": 3}\n', encoding="utf-8")
    reader.read_news()
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 9}\n{"step": 3}\n', encoding="utf-8")
    reader.read_news()
    assert reader.losses == [(1, 3.0), (2, 9.0)]


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff",
        b"[1]",
        b"3",
        b'{"step": 1e999}',
        b'{"step": 2, "loss": "x"}',
        b'{"step": 2, "loss": []}',
        b'{"step": 2, "loss": NaN}',
    ],
)
def test_a_damaged_line_of_the_numbers_is_passed_over(tmp_path, damage):
    run = tmp_path / "runs" / "001"
    run.mkdir(parents=True)
    run.with_suffix(".toml").write_text("", encoding="utf-8")
    (run / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 3}\n' + damage + b'\n{"step": 4, "loss": 2}\n')
    reader = RunReader(run)
    reader.read_news()
    assert reader.losses == [(1, 3.0), (4, 2.0)]
    assert "judged by run 001" in estimate(tmp_path, 100)


def test_a_program_that_outlives_its_host_is_nothing_to_warn_of(tmp_path):
    process = ProcessTree.start([sys.executable, "-c", "import signal; signal.pause()"], tmp_path / "log.txt")
    leader = process.leader
    with warnings.catch_warnings(record=True) as payload:
        warnings.simplefilter("always")
        del process
        gc.collect()
    assert payload == []
    found = ProcessTree.find(leader)
    assert found.poll() is None
    found.kill()
    assert found.wait(LIMIT_S) is not None
