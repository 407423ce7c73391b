"""What the panels start beside the host: behind Slicer's launcher, found again after a crash, with variables that suit another Python."""

import os
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice, Place, starter
from NeuroSAM2Lib.presenters.engine_presenter import ModelController
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.train_presenter import TrainPresenter
from NeuroSAM2Lib.training.run import TrainChoice
from NeuroSAM2Lib.training.samples import Samples

from NeuroSAM2Core.processes import ProcessId, ProcessTree
from Testing.Lib.test_training import TRAINER, Bench
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.launcher import make_launcher, make_script

LIMIT_S = 60

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the launchers here are shell scripts")


class LaunchedBench(Bench):
    """A training panel whose Python stands behind a launcher."""

    def __init__(self, folder):
        folder.mkdir()
        self.trainer = [make_launcher(folder / "PythonSlicer"), *TRAINER[1:]]
        super().__init__(folder / "project")
        self.add_case("a")

    def begin(self, steps=2):
        self.training.begin(TrainChoice(steps=5))
        self.allow(steps)
        self.wait(lambda: self.training.view.step == steps)

    def host_crashes(self):
        self.open()

    @property
    def statuses(self):
        return [one.status() for one in self.training._training.members()]


@pytest.fixture
def bench(tmp_path):
    bench = LaunchedBench(tmp_path / "launched")
    yield bench
    if bench.training.is_running:
        bench.training._training.kill()


@pytest.mark.parametrize("has_crashed", [False, True])
def test_a_run_behind_a_launcher_saves_stops_and_goes_on(bench, has_crashed):
    bench.begin()
    assert len(bench.statuses) == 2
    if has_crashed:
        bench.host_crashes()
    bench.training.stop()
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run was stopped"
    assert not (bench.training.run.folder / "stop").exists()
    bench.training.resume()
    bench.allow(5)
    bench.wait(lambda: not bench.training.is_running)
    assert bench.training.notice == "the run is over"
    assert [step for step, _ in bench.training.view.losses] == [1, 2, 3, 4, 5]


def test_a_run_whose_launcher_is_gone_goes_on_and_can_be_stopped(bench):
    bench.begin()
    psutil.Process(bench.training._training.pid).kill()
    bench.training.poll()
    assert bench.training.is_running
    bench.training._training.poll()
    bench.host_crashes()
    assert bench.training.is_running
    bench.training.stop()
    bench.wait(lambda: not bench.training.is_running)


def test_a_run_that_gave_way_when_the_host_crashed_goes_on_as_a_whole(bench):
    bench.begin()
    bench.training.yield_cpu()
    assert set(bench.statuses) == {psutil.STATUS_STOPPED}
    bench.host_crashes()
    assert psutil.STATUS_STOPPED not in bench.statuses
    bench.allow(3)
    bench.wait(lambda: bench.training.view.step == 3)


def test_a_run_that_was_asked_to_stop_gives_way_no_more(bench):
    bench.begin()
    bench.training.run.folder.with_suffix(".deaf").touch()
    bench.training.stop()
    bench.training.yield_cpu()
    assert psutil.STATUS_STOPPED not in bench.statuses


def test_a_run_that_gave_way_when_the_panel_was_closed_goes_on(bench):
    bench.begin()
    bench.training.yield_cpu()
    bench.training.close()
    assert psutil.STATUS_STOPPED not in bench.statuses


def test_a_run_that_hears_nothing_is_ended_with_its_launcher(bench):
    bench.begin()
    bench.training.run.folder.with_suffix(".deaf").touch()
    members = bench.training._training.members()
    bench.training.stop()
    bench.clock.now += 61
    bench.wait(lambda: not bench.training.is_running)
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in members)


def test_a_run_found_again_is_announced_with_the_step_of_its_checkpoint(bench):
    bench.begin()
    checkpoints = bench.training.run.folder / "checkpoints"
    (checkpoints / "step-00000004.safetensors").touch()
    (bench.training.run.folder / "metrics.jsonl").unlink()
    bench.host_crashes()
    assert bench.training.view.notice == "training goes on (started before)"
    assert (bench.training.view.step, bench.training.view.num_steps) == (4, 5)


def test_a_run_is_not_taken_for_another_process_of_its_number(bench):
    bench.begin()
    record, mine = bench.training.run.folder.with_suffix(".pid"), bench.training._training
    record.write_text(ProcessId(os.getpid(), mine.leader.created).to_text(), encoding="utf-8")
    bench.host_crashes()
    assert not bench.training.is_running
    mine.kill()


def test_samples_and_downloads_are_cancelled_behind_a_launcher(tmp_path):
    python = make_launcher(tmp_path / "PythonSlicer", make_script(tmp_path / "program", "sleep 300"))
    samples = Samples(tmp_path, ProcessTree.start, [python])
    samples.begin(TrainChoice(), tmp_path / "dataset.json")
    link = SimpleNamespace(model=SimpleNamespace(model=""))
    host = SimpleNamespace(confirm=lambda question: True)
    models = ModelController(host, link, ProcessTree.start, [python], folder=tmp_path)
    models.use("sam2.1_hiera_tiny")
    trees = [samples._process, models._download[1]]
    wait_until(lambda: all(len(tree.members()) == 3 for tree in trees))
    samples.cancel()
    models.cancel_download()
    for tree in trees:
        assert tree.wait(LIMIT_S) is not None


def wait_until(is_so):
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)  # nobody tells


def test_a_program_that_dies_at_its_start_is_named_with_its_log(tmp_path):
    bench = Bench(tmp_path / "project")
    bench.add_case("a", "validation")
    bench.training = type(bench.training)(
        bench.folder, starter({"PYTHONHOME": "/nowhere"}), TRAINER, use_model=print, clock=bench.clock
    )
    bench.add_case("b")
    bench.training.begin(TrainChoice())
    bench.wait(lambda: not bench.training.is_running)
    log = bench.training.run.folder.with_suffix(".log")
    died = f"{sys.executable} ended with code 1: ModuleNotFoundError: No module named"
    assert bench.training.notice.startswith(f"the run failed: {died}")
    assert bench.training.notice.endswith(f"its log is {log}")
    bench.training.validate_dataset(TrainChoice())
    bench.wait(lambda: not bench.training.samples.is_running)
    assert bench.training.view.report.startswith(died)
    (bench.training.run.folder).mkdir(exist_ok=True)
    (bench.training.run.folder / "model.safetensors").touch()
    bench.training.compare()
    bench.wait(lambda: not bench.training.is_comparing)
    assert bench.training.notice.startswith(f"the comparison failed: {died}")


class Startup:
    """`QProcessEnvironment` as Slicer's application gives it."""

    def __init__(self):
        self.variables = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/opt/cuda/lib", "MINE": "1"}

    def keys(self):
        return list(self.variables)

    def value(self, name):
        return self.variables[name]


@pytest.fixture
def in_slicer(monkeypatch):
    """The variables as Slicer's launcher leaves them."""
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "/slicer")
    monkeypatch.setattr(slicer, "app", SimpleNamespace(startupEnvironment=Startup), raising=False)


@pytest.mark.parametrize("place", [Place.INTERPRETER, Place.SLICER])
def test_every_program_gets_variables_that_suit_its_python(app, tmp_path, in_slicer, monkeypatch, place):
    shown = tmp_path / "shown"
    shown.mkdir()
    show = f'env > "{shown}/.$$"\nmv "{shown}/.$$" "{shown}/env-$$"\nexit 3'
    python = make_script(tmp_path / "python", show)
    choice = EngineChoice(place=place, interpreter=python if place is Place.INTERPRETER else "")
    own = make_script(tmp_path / "PythonSlicer", show)
    presenter = SegmentPresenter(app, choice, lambda choice: FakeEngine(), own)
    presenter.models._folder = tmp_path
    presenter.models._host = SimpleNamespace(confirm=lambda question: True)
    presenter.models.use("sam2.1_hiera_tiny")
    bench = Bench(tmp_path / "project")
    bench.add_case("a")
    bench.add_case("b", "test")
    train_presenter = TrainPresenter(presenter, bench.folder, own)
    bench.training = train_presenter.controller
    bench.training.begin(TrainChoice())
    bench.training.validate_dataset(TrainChoice())
    bench.wait(lambda: not bench.training.is_running)
    bench.training.run.folder.mkdir(exist_ok=True)
    (bench.training.run.folder / "model.safetensors").touch()
    bench.training.compare()
    client = choice.connect(own)
    wait_until(lambda: client.poll() or (not client.is_ready and client.is_closed))
    client.close()
    wait_until(lambda: len(list(shown.glob("env-*"))) == 5)  # download, training, samples, comparison, engine
    for one in shown.iterdir():
        variables = dict(line.partition("=")[::2] for line in one.read_text(encoding="utf-8").splitlines())
        if place is Place.INTERPRETER:
            assert "PYTHONHOME" not in variables
            assert "PYTHONPATH" not in variables
            assert "PYTHONNOUSERSITE" not in variables
            assert variables["LD_LIBRARY_PATH"] == "/opt/cuda/lib"
        else:
            assert variables["PYTHONHOME"] == "/slicer"
