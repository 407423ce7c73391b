"""What a worker counts, and how it is told: as Prometheus reads it, with nothing in it that is anyone's business."""

import re
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.remote.messages import CloseVolume, Failed, SliceAnswered, Superseded
from NeuroSAM2Core.remote.server.counters import (
    BUCKETS_S,
    SILENT_AFTER_S,
    Counters,
    Gauges,
    MetricsServer,
    ServerState,
    Snapshot,
    as_text,
)
from Testing.Support.worker import LIMIT_S, TOKEN, ThreadedWorker, answer, box_on, events_of, events_until, held, opened

SAMPLE = re.compile(r'^([a-z_0-9]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$')


def samples(text):
    """Samples by name and labels; every line is one, or says what the following ones are."""
    found, kinds = {}, {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            word, name, rest = line[2:].split(" ", 2)
            assert word in ("HELP", "TYPE")
            kinds |= {name: rest} if word == "TYPE" else {}
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in kinds else name
        assert kinds[family] in ("counter", "gauge", "histogram")
        assert kinds[family] != "counter" or name.endswith("_total")
        key = name, frozenset(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', labels or ""))
        assert key not in found
        found[key] = float(value)
    return found


def value(found, name, **labels):
    return found[name, frozenset((key, str(one)) for key, one in labels.items())]


def test_what_was_counted_is_told_for_each_worker():
    counters = Counters()
    counters.computed("PredictSlice", 0.25)
    counters.computed("PredictSlice", 0.5)
    counters.ended("PredictSlice", "done", 0.3)
    counters.ended("PredictSlice", "failed", 400.0)
    counters.beat(Gauges(num_accepted=5, num_refused=1, num_clients=3, memory_bytes=10, max_memory_bytes=20))
    found = samples(as_text(ServerState(workers=[counters.snapshot(), None], num_restarts=2), time.time()))
    assert value(found, "neurosam2_restarts_total") == 2
    assert value(found, "neurosam2_up", process=0) == 1
    assert value(found, "neurosam2_up", process=1) == 0
    assert value(found, "neurosam2_clients", process=0) == 3
    assert value(found, "neurosam2_connections_total", process=0) == 5
    assert value(found, "neurosam2_refused_connections_total", process=0) == 1
    assert value(found, "neurosam2_compute_seconds_total", process=0, request="PredictSlice") == 0.75
    for outcome in ("done", "failed"):
        of_it = {"process": 0, "request": "PredictSlice", "outcome": outcome}
        assert value(found, "neurosam2_requests_total", **of_it) == 1


def test_waits_are_counted_within_each_bound_and_below():
    counters = Counters()
    waits = (0.01, 0.05, 0.3, 0.4, 1e9)
    for wait_s in waits:
        counters.ended("PredictSlice", "done", wait_s)
    found = samples(as_text(ServerState(workers=[counters.snapshot()]), time.time()))
    of_it = {"process": 0, "request": "PredictSlice"}
    for bound in BUCKETS_S:
        expected = sum(wait <= bound for wait in waits)
        assert value(found, "neurosam2_request_seconds_bucket", **of_it, le=bound) == expected
    assert value(found, "neurosam2_request_seconds_bucket", **of_it, le="+Inf") == len(waits)
    assert value(found, "neurosam2_request_seconds_count", **of_it) == len(waits)
    assert value(found, "neurosam2_request_seconds_sum", **of_it) == pytest.approx(sum(waits))


def test_a_worker_counts_what_it_does_and_for_whom(ball, small_model_file, monkeypatch):
    with ThreadedWorker(heartbeat_s=0.05) as worker:
        client = worker.client()
        key = opened(client, ball, small_model_file)
        assert isinstance(answer(client, box_on(key, 7)), SliceAnswered)
        assert isinstance(answer(client, box_on("none", 7)), Failed)
        with held(monkeypatch, lambda job: job.kind == "CloseVolume") as hold:
            closing = client.submit(CloseVolume(volume_id="none"))
            client.poll()
            hold.wait_until_reached()
            numbers = [client.submit(box_on(key, 8, revision=n)) for n in (1, 2)]
            events_until(client, lambda event: isinstance(event, Superseded))
            hold.let_go()
            events_of(client, closing, *numbers)
        stranger = worker.raw(greets=False)
        stranger.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stranger.next()
        deadline = time.monotonic() + LIMIT_S
        while worker.counted.gauges.num_refused == 0 or worker.counted.gauges.num_open_requests:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        counted = worker.counted
    outcomes = {kind: count for kind, count in counted.outcomes.items() if kind[0] == "PredictSlice"}
    assert outcomes == {
        ("PredictSlice", "done"): 2,
        ("PredictSlice", "failed"): 1,
        ("PredictSlice", "superseded"): 1,
    }
    assert counted.gauges.num_clients == 1
    assert counted.gauges.num_accepted == 2
    assert counted.gauges.memory_bytes >= ball.voxels.nbytes
    assert 0 < counted.compute_s["PredictSlice"] < counted.wait_s["PredictSlice"] + 1
    text = as_text(ServerState(workers=[counted]), time.time())
    assert TOKEN not in text
    assert small_model_file not in text
    assert key not in text


def ask(port, page):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=LIMIT_S) as reply:
            return reply.status, reply.headers["Content-Type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_health_and_counters_are_asked_for_over_http():
    healthy = Snapshot(beat=time.time())
    state = ServerState(workers=[healthy])
    server = MetricsServer("127.0.0.1", 0, lambda: state)
    try:
        assert ask(server.port, "/healthz") == (200, "text/plain", "ok\n")
        status, kind, text = ask(server.port, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert value(samples(text), "neurosam2_up", process=0) == 1
        assert ask(server.port, "/")[0] == 404
        state = ServerState(workers=[healthy, replace(healthy, beat=time.time() - SILENT_AFTER_S - 1)])
        assert ask(server.port, "/healthz")[0] == 503
        assert value(samples(ask(server.port, "/metrics")[2]), "neurosam2_up", process=1) == 0
        with pytest.raises(WorkerError, match=f"port {server.port}: Address already in use"):
            MetricsServer("127.0.0.1", server.port, lambda: state)
    finally:
        server.close()
