"""A server of several workers: who serves whom, what happens when a worker ends, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.remote import EngineClient
from NeuroSAM2Core.remote.messages import Disconnected, SliceAnswered, Status, Welcome, WorkerStatus
from NeuroSAM2Core.remote.server.counters import Gauges, Snapshot
from NeuroSAM2Core.remote.server.dispatcher import Member, by_load, shared_limits, visible_devices
from NeuroSAM2Core.remote.server.options import WorkerLimits
from Testing.Support.worker import LIMIT_S, answer, box_on, events_until, opened

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets are handed over as POSIX systems do it")


def member(number, *, clients=0, accepted=None, handed=None, busy=0.0):
    gauges = Gauges(num_open=clients, num_accepted=clients if accepted is None else accepted)
    one = Member(number, None, None, None, snapshot=Snapshot(gauges=gauges))
    one.num_handed = gauges.num_accepted if handed is None else handed
    one.busy = busy
    return one


def first(*members, max_clients=8):
    return by_load(members, max_clients)[0].number


def test_a_client_goes_where_least_is_to_do():
    assert first(member(0, clients=2), member(1, clients=1)) == 1
    assert first(member(0, clients=1), member(1, clients=1)) == 0
    assert first(member(0, clients=1, busy=0.9), member(1, clients=3, busy=0.0)) == 1


def test_clients_on_their_way_count_and_those_that_have_left_do_not():
    assert first(member(0, clients=0, accepted=3, handed=5), member(1, clients=1)) == 1
    assert first(member(0, clients=0, accepted=7), member(1, clients=1)) == 0


def test_a_full_worker_is_passed_over_while_another_has_a_place():
    assert first(member(0, clients=2), member(1, clients=4, busy=1.0), max_clients=2) == 0
    assert first(member(0, clients=2, busy=0.0), member(1, clients=1, busy=1.0), max_clients=2) == 1


def test_a_worker_is_busy_for_the_share_of_time_that_it_computes():
    one = member(0)
    for second in range(60):
        one.take_report(Snapshot(beat=float(second), compute_s={"PredictSlice": 0.25 * second}))
    assert one.busy == pytest.approx(0.25, abs=0.01)


def test_workers_share_memory_places_and_cores():
    limits = shared_limits(WorkerLimits(max_memory_bytes=8 << 30, max_clients=50), 4, num_cores=16)
    assert (limits.max_memory_bytes, limits.feature_cache_bytes) == (2 << 30, 512 << 20)
    assert (limits.max_clients, limits.threads) == (13, 4)
    assert shared_limits(WorkerLimits(threads=3), 4, num_cores=16).threads == 3
    assert shared_limits(WorkerLimits(), 4, num_cores=2).threads == 1


def test_each_worker_has_a_gpu_of_those_that_are_visible():
    assert visible_devices({}, 3) == ["0", "1", "2"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "2,5"}, 2) == ["2", "5"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, 2) == ["GPU-a", "GPU-b"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": ""}, 0) == []


def test_a_server_without_workers_makes_no_sense(tmp_path, capsys):
    assert main(["serve", "--token-file", str(tmp_path / "token"), "--processes", "0"]) == 2
    assert "--processes must be at least 1" in capsys.readouterr().err


@pytest.fixture
def server(tmp_path):
    """Two workers; the process, the address, and that of the counters."""
    words = ("--port", "0", "--token-file", str(tmp_path / "token"), "--threads", "1", "--processes", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "NeuroSAM2Core", "serve", *words, "--metrics-port", "0", "--max-clients", "4"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    process.port = int(process.stdout.readline().split("port ")[1].split(";")[0])
    assert process.stdout.readline() == "2 workers\n"
    process.metrics = process.stdout.readline().split()[-1]
    process.token = (tmp_path / "token").read_text(encoding="utf-8").strip()
    process.clients = []
    yield process
    for client in process.clients:
        client.close()
    process.kill()
    process.wait()
    process.stdout.close()


def connected(server):
    server.clients.append(EngineClient.connect("127.0.0.1", server.port, server.token))
    return server.clients[-1]


def counted(server, name):
    with urllib.request.urlopen(server.metrics, timeout=LIMIT_S) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_two_workers_share_the_clients_and_one_that_is_killed_is_started_anew(server, ball, small_model_file):
    for _ in range(4):
        assert isinstance(answer(connected(server), Status()), WorkerStatus)
    clients = [*server.clients]
    pids = [client.welcome.pid for client in clients]
    assert sorted(map(pids.count, set(pids))) == [2, 2]
    full = events_until(connected(server), lambda e: isinstance(e, Disconnected))[-1]
    assert "serves 2 clients already" in full.reason
    key = opened(clients[0], ball, small_model_file)
    assert isinstance(answer(clients[0], box_on(key, 7)), SliceAnswered)
    os.kill(pids[0], signal.SIGKILL)
    events_until(clients[0], lambda e: isinstance(e, Disconnected))
    assert isinstance(answer(clients[pids.index(next(p for p in pids if p != pids[0]))], Status()), WorkerStatus)
    again = connected(server)
    assert isinstance(events_until(again, lambda e: isinstance(e, Welcome))[-1], Welcome)
    assert again.welcome.pid not in pids
    assert isinstance(answer(again, box_on(opened(again, ball, small_model_file), 7)), SliceAnswered)
    assert counted(server, "neurosam2_restarts_total") == 1
    deadline = time.monotonic() + LIMIT_S
    while counted(server, "neurosam2_clients") != 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGTERM)
    assert server.wait(LIMIT_S) == 0
    assert psutil.wait_procs(children, LIMIT_S)[1] == []


def test_workers_end_with_a_server_that_is_killed(server):
    client = connected(server)
    assert isinstance(answer(client, Status()), WorkerStatus)
    children = psutil.Process(server.pid).children(recursive=True)
    assert client.welcome.pid in [child.pid for child in children]
    server.kill()
    server.wait()
    assert psutil.wait_procs(children, LIMIT_S)[1] == []
