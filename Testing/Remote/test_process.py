"""Workers as processes of their own: they start where torch is, say why not elsewhere, and never outlive who started them."""

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import psutil
import pytest

from NeuroSAM2Core.catalog import logs_folder
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import ConfigError, DataError, WorkerError
from NeuroSAM2Core.processes import ProcessId, ProcessTree
from NeuroSAM2Core.remote import EngineClient, LocalWorker
from NeuroSAM2Core.remote.connector import LOG_NAME
from NeuroSAM2Core.remote.messages import Disconnected, SliceAnswered, Status, WorkerStatus
from NeuroSAM2Core.remote.server import process as worker_process
from NeuroSAM2Core.remote.server.process import token_in
from Testing.Support.launcher import make_launcher
from Testing.Support.worker import LIMIT_S, answer, box_on, events_until, opened

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_logs_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path / "home"))


@pytest.fixture
def launched():
    client = EngineClient.launch()
    yield client
    client.close()


def test_a_worker_of_ones_own_computes_and_ends_with_its_client(launched, ball, small_model_file):
    key = opened(launched, ball, small_model_file)
    assert isinstance(answer(launched, box_on(key, 7)), SliceAnswered)
    process, folder = launched.worker.process, launched.worker.folder
    assert [path.name for path in folder.iterdir()] == ["worker.log"]  # the voxels went through a file that is gone
    assert launched.welcome.pid == process.pid
    assert answer(launched, Status()).model == small_model_file
    launched.close()
    assert process.poll() == 0  # it ended of itself
    assert not folder.exists()
    launched.close()


def test_a_worker_that_has_ended_of_itself_leaves_nothing_open(launched):
    assert isinstance(answer(launched, Status()), WorkerStatus)
    psutil.Process(launched.worker.process.pid).terminate()
    assert launched.worker.process.wait(LIMIT_S) == 0
    assert "the worker" not in events_until(launched, lambda e: isinstance(e, Disconnected))[-1].reason
    assert launched.worker.process.child.stdin.closed


def test_a_worker_that_is_killed_is_one_sentence_with_how_it_ended(launched):
    assert isinstance(answer(launched, Status()), WorkerStatus)
    launched.worker.process.kill()
    last = events_until(launched, lambda e: isinstance(e, Disconnected))[-1]
    assert "ended by signal 9" in last.reason
    assert f"its log is {logs_folder() / LOG_NAME}" in last.reason
    assert (logs_folder() / LOG_NAME).is_file()
    assert not launched.worker.folder.exists()


def test_a_worker_behind_a_launcher_ends_with_its_client(tmp_path):
    client = EngineClient.launch(make_launcher(tmp_path / "PythonSlicer"))
    assert isinstance(answer(client, Status()), WorkerStatus)
    assert client.welcome.pid != client.worker.process.pid
    client.close()
    assert client.worker.process.poll() is not None  # of itself, or because it took too long while torch was loaded
    assert not client.worker.folder.exists()


def test_a_token_is_in_no_command_line_and_no_environment(launched):
    assert isinstance(answer(launched, Status()), WorkerStatus)
    process, token = psutil.Process(launched.worker.process.pid), launched.worker._token
    assert len(token) == 64
    assert token not in " ".join(process.cmdline())
    assert token not in str(process.environ())
    (connection,) = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert connection.laddr.ip == "127.0.0.1"


PARENT = """
import os, sys
from NeuroSAM2Core.remote import EngineClient
client = EngineClient.launch(sys.argv[1])
print(client.worker.process.pid, client.worker.folder, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_worker_whose_host_is_killed_is_no_orphan_behind_a_launcher(is_ready, tmp_path):
    code = PARENT.replace(
        "print(",
        "import select\nwhile not client.is_ready: select.select([client], [], [], 1), client.poll()\nprint(",
        is_ready,
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, make_launcher(tmp_path / "PythonSlicer")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    pid, folder = parent.stdout.readline().rstrip("\n").split(" ", 1)
    worker = ProcessTree.find(ProcessId(int(pid), psutil.Process(int(pid)).create_time()))
    parent.kill()
    assert worker.wait(LIMIT_S) is not None
    for pipe in (parent.stdin, parent.stdout):
        pipe.close()
    parent.wait()
    assert not Path(folder).exists()


def test_a_waiting_worker_asks_seldom_whether_its_host_lives(tmp_path, monkeypatch):
    polls, looks, has_stopped = [], [], Event()

    def sleep(seconds):
        polls.append(seconds)
        if len(polls) == 100:
            (tmp_path / "stop").touch()

    monkeypatch.setattr(worker_process, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(worker_process, "is_alive", lambda host: looks.append(host) or True)
    worker_process.end_with(ProcessId.current(), tmp_path / "stop", has_stopped.set)
    assert has_stopped.wait(LIMIT_S)
    assert len(polls) == 100
    assert 1 <= len(looks) <= 20


def test_there_is_no_such_interpreter(tmp_path):
    with pytest.raises(WorkerError, match=r"cannot start .*No such file"):
        EngineClient.launch(str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\n", encoding="utf-8")
    with pytest.raises(WorkerError, match="Permission denied"):
        EngineClient.launch(str(tmp_path / "python"))


def script(folder, text):
    path = folder / "python"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_without_torch_is_notified_with_what_to_do(tmp_path):
    bare = script(tmp_path, f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')  # -S: no installed packages
    client = EngineClient.launch(bare)
    last = events_until(client, lambda e: isinstance(e, Disconnected))[-1]
    assert "lacks torch, numpy" in last.reason
    assert "-m pip install torch" in last.hint
    assert client.is_closed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho 'hello'\nexec sleep 60\n", "first line is not what was expected"),
        ("#!/bin/sh\necho 'Segmentation fault' >&2\nexit 3\n", "the worker ended with code 3: Segmentation fault"),
        ("#!/bin/sh\nhead -c 9000 /dev/zero\nexec sleep 60\n", "ended before it was ready"),
        ("#!/bin/sh\necho '{\"port\": 1}'\nexec sleep 60\n", "nobody listens"),
        ("#!/bin/sh\necho '{\"port\": 99999}'\nexec sleep 60\n", "first line is not what was expected"),
        ("#!/bin/sh\necho '{\"port\": 1e999}'\nexec sleep 60\n", "first line is not what was expected"),
    ],
)  # fmt: skip
def test_a_program_that_is_no_worker_is_one_sentence_and_does_not_stay(tmp_path, text, words):
    client = EngineClient.launch(script(tmp_path, text))
    process = client.worker.process
    assert words in events_until(client, lambda e: isinstance(e, Disconnected))[-1].reason
    assert process.poll() is not None


def test_another_interpreter_is_not_sent_to_our_modules(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/slicer")
    monkeypatch.setenv("PYTHONPATH", "/slicer/lib")
    show = """#!/bin/sh
echo "{\\"error\\": \\"home ${PYTHONHOME-unset}, path ${PYTHONPATH-unset}, mine ${MINE-unset}\\"}"
"""
    for environment, words in ((None, "home unset, path unset, mine unset"), ({"MINE": "1"}, "mine 1")):
        client = EngineClient.launch(script(tmp_path, show), environment=environment)
        assert words in events_until(client, lambda e: isinstance(e, Disconnected))[-1].reason


def test_limits_can_be_given_and_wrong_ones_are_notified(small_model_file):
    client = EngineClient.launch(options=("--max-memory", "0.5"))
    assert answer(client, Status()).max_memory_bytes == 1 << 29
    client.close()
    client = EngineClient.launch(options=("--max-memory", "much"))
    assert "invalid float value: 'much'" in events_until(client, lambda e: isinstance(e, Disconnected))[-1].reason


def test_an_old_interpreter_is_notified_so(tmp_path):
    fake = f"import sys; sys.version_info = (3, 9, 1); sys.argv[0] = '{LocalWorker.__module__}'"
    code = f"{fake}; import runpy, pathlib; runpy.run_path(sys.argv[1], run_name='__main__')"
    bootstrap = ROOT / "NeuroSAM2Core" / "remote" / "server" / "bootstrap.py"
    payload = subprocess.run(
        [sys.executable, "-c", code, str(bootstrap)], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert "is Python 3.9; a worker needs 3.11 or later" in json.loads(payload.stdout)["error"]
    assert payload.returncode == 2


def serve(*words):
    process = subprocess.Popen(
        [sys.executable, "-m", "NeuroSAM2Core", "serve", "--port", "0", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    return process, int(process.stdout.readline().split("port ")[1].split(";")[0])


def test_a_served_worker_is_reached_with_the_token_of_its_file(tmp_path, ball, small_model_file):
    process, port = serve("--token-file", str(tmp_path / "token"), "--threads", "1")
    token = (tmp_path / "token").read_text(encoding="utf-8").strip()
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    client = EngineClient.connect("127.0.0.1", port, token)
    key = opened(client, ball, small_model_file)  # in compressed chunks: a served worker takes no files
    assert client.welcome.voxel_folder == ""
    assert isinstance(answer(client, box_on(key, 7)), SliceAnswered)
    process.send_signal(signal.SIGTERM)
    assert "ended the connection" in events_until(client, lambda e: isinstance(e, Disconnected))[-1].reason
    assert process.wait(LIMIT_S) == 0
    process.stdout.close()


def test_a_port_that_is_taken_and_a_bad_token_file_are_one_sentence(tmp_path, capsys):
    process, port = serve("--token-file", str(tmp_path / "token"))
    assert main(["serve", "--port", str(port), "--token-file", str(tmp_path / "token")]) == 2
    assert "cannot listen on 127.0.0.1" in capsys.readouterr().err
    process.kill()
    process.wait()
    process.stdout.close()
    (tmp_path / "open").write_text("x" * 64, encoding="utf-8")
    (tmp_path / "open").chmod(0o644)
    assert main(["serve", "--token-file", str(tmp_path / "open")]) == 2
    assert "open to other users" in capsys.readouterr().err
    assert main(["serve", "--token-file", str(tmp_path / "token"), "--max-memory", "0"]) == 2
    assert "must be above 0" in capsys.readouterr().err


def test_a_token_file_holds_one_long_word(tmp_path):
    token = token_in(tmp_path / "token")
    assert token_in(tmp_path / "token") == token
    for content in ("short", "", "two words " * 9):
        (tmp_path / "token").write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match="one word of at least 32"):
            token_in(tmp_path / "token")
    with pytest.raises(DataError, match="cannot read or make"):
        token_in(tmp_path / "none" / "token")
    (tmp_path / "token").write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="no text"):
        token_in(tmp_path / "token")
