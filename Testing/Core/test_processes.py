"""Programs and all that they have started, behind launchers that forward nothing, found again by whoever comes later."""

import contextlib
import random
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from NeuroSAM2Core import processes
from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.processes import (
    ProcessId,
    ProcessTree,
    creation_flags,
    environment_for_another_python,
    exit_summary,
    orphans_of,
    stop_signal,
    suspend_once,
)
from Testing.Support.launcher import make_launcher, make_script

LIMIT_S = 30
PROGRAM = "sleep 300 & loader=$!\nwhile [ ! -e stop ]; do sleep 0.02; done\nkill $loader; exit 7"
DEAF = "trap '' TERM\nsleep 300 &\nwhile :; do sleep 0.05; done"
TURNS = 50

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs here are shell scripts")


class Bench:
    """One program behind a launcher, and who looks at it without the module under test."""

    def __init__(self, folder, text=PROGRAM):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.command = [make_launcher(folder / "launcher", make_script(folder / "program", text))]
        self.tree = self.start()

    def start(self):
        tree = ProcessTree.start(self.command, self.folder / "log", stop_file=self.folder / "stop", folder=self.folder)
        until(lambda: len(self.alive()) >= 3)  # the launcher, the program, its loader
        return tree

    def alive(self):
        found = []
        for one in psutil.process_iter(["cwd", "status"]):
            if one.info["cwd"] == str(self.folder) and one.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(one)
        return found

    def are_stopped(self):
        # one that has begun a child by vfork waits for that, which waits for us
        waits = (psutil.STATUS_STOPPED, psutil.STATUS_DISK_SLEEP)
        return all(one.info["status"] in waits for one in self.alive())

    def are_awake(self):
        return not any(one.info["status"] == psutil.STATUS_STOPPED for one in self.alive())

    def host_crashes(self):
        """Nothing is left of the host but what it has written down."""
        text = self.tree.leader.to_text()
        self.tree = ProcessTree.find(ProcessId.from_text(text), stop_file=self.folder / "stop")

    def launcher_dies(self):
        psutil.Process(self.tree.pid).kill()
        self.reap()

    def reap(self):
        """As whoever has started it, or the system, does for a process that has ended."""
        if self.tree is not None and self.tree.child is not None:
            self.tree.child.poll()

    def close(self):
        for one in self.alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def until(is_so):
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)  # what processes do tells nobody


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "run")
    yield bench
    bench.close()


def test_a_program_behind_a_launcher_saves_and_ends_as_it_was_asked(bench):
    bench.tree.ask()
    assert bench.tree.wait(LIMIT_S) == 7
    assert not bench.alive()


def test_a_program_runs_until_its_last_process_has_ended(bench):
    bench.launcher_dies()
    assert bench.tree.poll() is None
    bench.tree.ask()
    assert bench.tree.wait(LIMIT_S) == -9
    assert not bench.alive()


@pytest.mark.parametrize("has_crashed", [False, True])
def test_all_of_it_is_suspended_resumed_and_ended(bench, has_crashed):
    bench.tree.suspend()
    until(bench.are_stopped)
    if has_crashed:
        bench.host_crashes()
    bench.tree.resume()
    until(bench.are_awake)
    bench.tree.suspend()
    bench.tree.kill()
    until(lambda: not bench.alive())
    assert bench.tree.wait(LIMIT_S) is not None


def test_one_that_is_suspended_is_asked_all_the_same(bench):
    bench.tree.suspend()
    bench.host_crashes()
    bench.tree.ask()
    assert bench.tree.wait(LIMIT_S) is not None
    assert not bench.alive()


def test_one_that_takes_no_request_is_ended(tmp_path):
    bench = Bench(tmp_path / "run", DEAF)
    assert bench.tree.end(0.1) is None
    until(lambda: not bench.alive())
    tree = ProcessTree.start(bench.command, tmp_path / "log", folder=bench.folder)  # it knows no stop file
    assert tree.end(0.1) is None
    until(lambda: not bench.alive())


def test_one_that_has_left_the_session_is_known_by_who_started_it(tmp_path):
    bench = Bench(tmp_path / "run", "setsid sleep 300 &\nsleep 300")
    until(lambda: [one.name() for one in bench.alive()].count("sleep") == 2)
    bench.tree.suspend()
    until(bench.are_stopped)
    bench.launcher_dies()
    bench.tree.kill()
    until(lambda: not bench.alive())


def test_in_whatever_order_nothing_is_lost_and_nothing_is_left_over(tmp_path):
    chance = random.Random(7)
    for turn in range(TURNS):
        bench = Bench(tmp_path / f"run{turn}", PROGRAM if turn % 5 else DEAF)
        for _ in range(chance.randint(1, 5)):
            act = chance.choice(["suspend", "resume", "host crashes", "launcher dies", "poll"])
            if act == "suspend":
                bench.tree.suspend()
                until(bench.are_stopped)
            elif act == "resume":
                bench.tree.resume()
                until(bench.are_awake)
            elif act == "host crashes":
                bench.reap()
                bench.host_crashes()
            elif act == "launcher dies" and bench.tree.child is not None and bench.tree.child.returncode is None:
                bench.launcher_dies()
            assert bench.tree is not None, (turn, act)
            assert bench.tree.poll() is None, (turn, act)
        if turn % 5 and chance.random() < 0.5:
            bench.tree.ask()
        else:
            bench.tree.kill()
        assert bench.tree.wait(LIMIT_S) is not None, turn
        assert not bench.alive(), turn


def test_another_process_of_the_same_number_is_not_taken_for_it(bench):
    leader = bench.tree.leader
    assert leader.is_running()
    other = ProcessId(leader.pid, leader.created - 60)
    assert not other.is_running()
    assert ProcessTree.find(other) is None
    ProcessTree(other).kill()
    assert bench.tree.poll() is None
    assert ProcessId.current().is_running()


def test_what_has_ended_is_not_found(bench):
    leader = bench.tree.leader
    bench.tree.kill()
    until(lambda: not bench.alive())
    assert not leader.is_running()  # although nobody has asked yet how it ended
    assert ProcessTree.find(leader) is None


@pytest.mark.parametrize(
    "text", ["", "4711", "[1]", '{"pid": 1}', "[null, 1.0]", "[1, 2", '["a", "b"]', "[Infinity, 1]", "[" * 9999]
)
def test_a_damaged_record_of_a_process_is_reported(text):
    with pytest.raises(ValueError):  # noqa: PT011  (several)
        ProcessId.from_text(text)


def test_a_request_to_an_earlier_run_does_not_end_the_next(bench):
    bench.tree.end(LIMIT_S)
    assert (bench.folder / "stop").exists()
    bench.tree = bench.start()
    assert bench.tree.poll() is None


def test_without_psutil_it_is_reported_and_this_process_is_still_known(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(WorkerError, match="psutil is missing"):
        ProcessTree.start(["true"], tmp_path / "log")
    assert ProcessId.current().is_running()
    assert not ProcessId(1, 1.0).is_running()


LAUNCHED = {
    "PATH": "/slicer/bin:/bin",
    "PYTHONHOME": "/slicer/lib/Python",
    "PYTHONPATH": "/slicer/lib/Python/site-packages",
    "PYTHONNOUSERSITE": "1",
    "LD_LIBRARY_PATH": "/slicer/lib",
    "HOME": "/home/me",
}


def test_another_python_gets_nothing_of_a_launcher():
    assert environment_for_another_python(LAUNCHED) == {"PATH": "/slicer/bin:/bin", "HOME": "/home/me"}
    saved = {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/cuda/lib", "HOME": "/home/me"}
    kept = {f"APPLAUNCHER_0_{name}": value for name, value in saved.items()} | {"APPLAUNCHER_LEVEL": "1"}
    assert environment_for_another_python(LAUNCHED | kept) == saved


def test_what_a_person_has_set_reaches_another_python():
    set_by_hand = {"LD_LIBRARY_PATH": "/opt/cuda/lib", "OMP_NUM_THREADS": "2"}
    assert environment_for_another_python({**set_by_hand, "PYTHONPATH": "/ours"}) == set_by_hand


def test_a_program_that_died_is_named_with_its_words_and_its_log(tmp_path):
    log = tmp_path / "log"
    assert exit_summary("python", -11, log) == f"python ended by signal 11: it printed nothing; its log is {log}"
    died = subprocess.run([sys.executable, "-c", ""], env={"PYTHONHOME": "/nowhere"}, capture_output=True, check=False)
    log.write_bytes(died.stderr)
    assert "<no Python frame>" in log.read_text(encoding="utf-8")
    assert exit_summary("python", 1, log).startswith("python ended with code 1: ModuleNotFoundError: No module named")
    log.write_text("neurosam2: the disk is full\n           free some space\n", encoding="utf-8")
    assert exit_summary("python", 2, log) == "the disk is full"


def test_windows_is_given_a_group_no_window_and_a_break():
    assert creation_flags("win32") == 0x08000200
    assert creation_flags("linux") == creation_flags("darwin") == 0
    assert stop_signal("win32").goes_to_group
    assert stop_signal("win32").number == 1
    assert not stop_signal("linux").goes_to_group


def test_windows_counts_how_often_a_process_was_suspended():
    done = []
    for status in ("running", "stopped"):
        suspend_once(
            SimpleNamespace(status=lambda s=status: s, is_running=lambda: True, suspend=lambda s=status: done.append(s))
        )
    assert done == ["running"]


def test_orphans_on_windows_are_known_by_the_number_of_their_parent():
    def process(pid, ppid, created, children=()):
        info = {"pid": pid, "ppid": ppid, "create_time": created}
        return SimpleNamespace(info=info, children=lambda recursive: list(children))

    grandchild = process(12, 11, 130.0)
    child = process(11, 10, 120.0, [grandchild])
    others = [process(9, 10, 50.0), process(8, 7, 120.0), process(5, 10, None)]
    assert orphans_of(ProcessId(10, 100.0), iter([child, grandchild, *others])) == [child, grandchild]
    heir = process(10, 1, 140.0)  # the number is another process's now
    assert orphans_of(ProcessId(10, 100.0), iter([child, heir, process(20, 10, 150.0)])) == [child, grandchild]


def test_a_program_is_asked_by_a_break_on_windows(monkeypatch, bench):
    sent = []
    with monkeypatch.context() as patched:
        patched.setattr(processes, "stop_signal", lambda platform: stop_signal("win32"))
        patched.setattr(processes.os, "kill", lambda pid, number: sent.append((pid, number)))
        ProcessTree(bench.tree.leader).ask()
    assert sent[-1] == (bench.tree.pid, 1)
