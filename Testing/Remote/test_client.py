"""The client's own side: how voxels leave it, what it keeps, and what it would say again."""

import errno
import os

import numpy as np
import pytest

from NeuroSAM2Core import Volume
from NeuroSAM2Core.errors import CheckpointError, PromptError, WorkerError
from NeuroSAM2Core.prompts import PointPrompt, PromptSet
from NeuroSAM2Core.remote import EngineClient, RemoteSession, SessionState, SliceSnapshot, upload
from NeuroSAM2Core.remote.messages import (
    Failed,
    LoadModel,
    PredictSlice,
    RemoveObject,
    RestoreSlice,
    SliceAnswered,
    Status,
    Superseded,
    VolumeOpened,
)
from NeuroSAM2Core.remote.state_sync import StateSync, restore_requests
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane
from Testing.Support.worker import (
    POLL_S,
    TOKEN,
    ThreadedWorker,
    answer,
    box_on,
    events_of,
    opened,
    save_small_model,
    wait,
)

LARGE = Volume(np.random.default_rng(0).integers(0, 999, (40, 260, 300), dtype=np.int16), np.eye(4))


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("how", ["file", "chunks", "no such folder", "disk full"])
def test_voxels_arrive_whatever_way_they_take_and_leave_nothing_behind(how, tmp_path, small_model_file, monkeypatch):
    folder = {"chunks": None, "no such folder": tmp_path / "none"}.get(how, tmp_path)
    monkeypatch.setattr(upload, "FILE_STEP_BYTES", 1 << 20)
    if how == "disk full":
        fdopen = os.fdopen
        monkeypatch.setattr(upload.os, "fdopen", lambda *words: FullDisk(fdopen(*words)))
    with ThreadedWorker(folder) as worker:
        client = worker.client()
        client.submit(LoadModel(model=small_model_file, device="cpu"))
        number = client.open_volume(LARGE)
        assert client.wants_write
        assert any(isinstance(e, VolumeOpened) for e in events_of(client, number))
        assert client._uploads._by_id == {}  # the voxels are let go of
        assert not client.wants_write
        assert names_in(tmp_path) == []


class FullDisk:
    """A file with room for no more than three megabytes."""

    def __init__(self, file):
        self.file, self.size = file, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.size += len(data)
        if self.size > 3 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)


def test_a_client_that_closes_in_the_middle_of_an_upload_leaves_no_file(tmp_path, small_model_file, monkeypatch):
    monkeypatch.setattr(upload, "FILE_STEP_BYTES", 1000)
    with ThreadedWorker(tmp_path) as worker:
        client = worker.client()
        client.open_volume(LARGE)
        while not names_in(tmp_path):
            wait(client, POLL_S)
        client.close()
        assert names_in(tmp_path) == []


def test_a_volume_whose_id_is_known_is_not_hashed_again(worker, ball, small_model_file, monkeypatch):
    key = opened(worker.client(), ball, small_model_file)
    monkeypatch.setattr("NeuroSAM2Core.remote.client.volume_id", lambda *_: pytest.fail("hashed"))
    client = worker.client()
    client.submit(LoadModel(model=small_model_file, device="cpu"))
    assert any(isinstance(e, VolumeOpened) for e in events_of(client, client.open_volume(ball, key=key)))
    with pytest.raises(KeyError):
        client.volume_id(client.submit(box_on(key, 7)))


def payload(index, revision, *, clicks=1):
    points = tuple(PointPrompt(n, n) for n in range(clicks))
    return PromptSet(object_id=1, plane=SlicePlane(Axis.K, index), points=points, revision=revision)


def mask(index, revision=0):
    return SliceMask(
        object_id=1,
        plane=SlicePlane(Axis.K, index),
        mask=np.zeros((2, 2), bool),
        predicted_iou=0.5,
        object_score=0.5,
        revision=revision,
    )


def answered(number, index, revision, *, stale=(0, 9)):
    return SliceAnswered(
        request_id=number, volume_id="v", mask=mask(index, revision), stale_first=stale[0], stale_last=stale[1]
    )


class Script:
    """A script's state, and an engine that only counts requests."""

    def __init__(self):
        self.state, self.requests = SessionState(), []
        self.sync = StateSync(self.submit)
        self.sync.begin("v")

    def submit(self, request):
        self.requests.append(request)
        return len(self.requests)

    def predict(self, prompts):
        """The number of the request."""
        self.state.set_prompts(prompts)
        self.sync.forget_slice(prompts.object_id, prompts.plane)
        self.sync.sync(self.state)
        return len(self.requests)

    def answer(self, number, index, revision, *, stale=(0, 9)):
        event = answered(number, index, revision, stale=stale)
        prompts = self.sync.settle(event)
        if prompts is not None:
            self.state.answer(prompts, event)
        return prompts is not None

    @property
    def slices(self):
        return {(one.mask or one.unanswered).plane.index: one for one in self.state.snapshots(1)}


@pytest.fixture
def script():
    return Script()


def test_what_is_reported_and_answered_is_kept(script):
    first = script.predict(payload(3, 1))
    assert script.slices[3].unanswered.revision == 1
    assert script.answer(first, 3, 1)
    for index in (2, 4):
        script.state.put(mask(index))
    assert set(script.slices) == {2, 3, 4}
    assert script.slices[3].prompts.revision == 1
    assert script.slices[4].prompts is None
    second = script.predict(payload(4, 1))  # a correction, not answered yet
    kept = script.slices[4]
    assert (kept.mask.revision, kept.prompts, kept.unanswered.revision) == (0, None, 1)
    assert script.answer(second, 4, 1, stale=(4, 9))
    assert set(script.slices) == {2, 3, 4}
    assert not script.answer(9, 4, 0)  # late: an answer to no known prompts
    assert script.slices[4].mask.revision == 1


def test_what_an_answer_makes_stale_is_let_go_of(script):
    script.answer(script.predict(payload(3, 1)), 3, 1)
    for index in (4, 5, 6, 7):
        script.state.put(mask(index))
    script.predict(payload(7, 1))  # not answered when 5 is
    script.answer(script.predict(payload(5, 1)), 5, 1, stale=(4, 9))
    assert set(script.slices) == {3, 5, 7}
    assert script.slices[7] == SliceSnapshot(unanswered=script.slices[7].unanswered)


def test_what_failed_or_was_taken_back_is_not_sent_again(script):
    failed = Failed(request_id=script.predict(payload(3, 1)), kind="PromptError", message="no")
    script.state.refuse(script.sync.settle(failed))
    assert script.state.snapshots(1) == []
    first = script.predict(payload(3, 1))
    second = script.predict(payload(3, 2, clicks=2))
    assert script.sync.settle(Superseded(request_id=first, by=second)) is None
    assert script.answer(second, 3, 2)
    assert script.state.prompt_set(1, SlicePlane(Axis.K, 3)).revision == 2
    script.answer(script.predict(payload(3, 3, clicks=0)), 3, 3)
    assert script.state.snapshots(1) == []
    script.predict(payload(3, 4))
    script.state.remove(1)
    assert script.state.object_ids == []


def test_an_engine_is_told_what_it_does_not_know_and_no_more(script):
    script.answer(script.predict(payload(3, 1)), 3, 1)
    script.predict(payload(5, 1))
    told = len(script.requests)
    script.sync.sync(script.state)
    assert script.sync.restore(script.state, 1) == []
    assert len(script.requests) == told
    script.sync.begin("v")  # another engine
    script.sync.sync(script.state)
    kinds = [type(request) for request in script.requests[told:]]
    assert kinds == [RemoveObject, RestoreSlice, PredictSlice]
    assert script.sync.is_waiting
    assert script.answer(len(script.requests), 5, 1)
    assert not script.sync.is_waiting


def test_a_failure_of_older_prompts_leaves_the_latest_expected(script):
    first = script.predict(payload(3, 1))
    second = script.predict(payload(3, 2, clicks=2))
    assert script.sync.settle(Failed(request_id=first, kind="PromptError", message="no")) is None
    assert script.answer(second, 3, 2)
    told = len(script.requests)
    script.predict(payload(5, 1))  # after a failure nobody knows what the engine holds of the object
    assert isinstance(script.requests[told], RemoveObject)


def test_things_are_sent_again_in_the_order_that_means_the_same():
    known = (
        SliceSnapshot(mask=mask(4)),
        SliceSnapshot(mask=mask(3, 1), prompts=payload(3, 1), unanswered=payload(3, 2)),
        SliceSnapshot(unanswered=payload(7, 1)),
        SliceSnapshot(mask=mask(5, 1), prompts=payload(5, 1)),
    )
    requests = restore_requests("v", known)
    assert [
        (type(one), one.mask.plane.index if isinstance(one, RestoreSlice) else one.prompts.plane.index)
        for one in requests
    ] == [(RestoreSlice, 3), (RestoreSlice, 5), (RestoreSlice, 4), (PredictSlice, 3), (PredictSlice, 7)]


def test_a_script_asks_as_it_would_ask_the_engine(worker, ball, small_model_file):
    with RemoteSession.connect("127.0.0.1", worker.port, TOKEN, ball, model=small_model_file, device="cpu") as session:
        session.add_box(1, "axial", 7, (12, 14, 35, 41))
        session.add_point(1, "axial", 7, (20, 20))
        given = np.zeros((48, 56), bool)
        given[10:30, 10:30] = True
        assert session.add_mask(2, "axial", 9, given).revision == 1
        assert session.object_ids == [1, 2]
        up = [one.plane.index for one in session.propagate(1, first=7, last=9)]
        assert up == [8, 9]
        for _ in session.propagate():
            break  # whoever loses interest ends it
        assert session.add_point(1, "axial", 7, (30, 30), positive=False).revision == 3
        with pytest.raises(PromptError, match="outside the slice"):
            session.add_point(1, "axial", 7, (99, 0))
        assert session.add_point(1, "axial", 7, (21, 21)).revision == 4
    with pytest.raises(WorkerError, match="has ended"):
        session.remove(1)


def test_a_script_that_asks_for_what_is_not_there_is_notified_so(worker, ball):
    with pytest.raises(CheckpointError, match="did you mean 'nano'"):
        RemoteSession.connect("127.0.0.1", worker.port, TOKEN, ball, model="nanoo")
    with pytest.raises(WorkerError, match="token"):
        RemoteSession.connect("127.0.0.1", worker.port, "wrong", ball)


def test_a_script_that_paused_for_long_goes_on_where_it_was(ball, small_model_file):
    with ThreadedWorker(idle_s=1.0, heartbeat_s=0.2) as worker:
        session = RemoteSession.connect("127.0.0.1", worker.port, TOKEN, ball, model=small_model_file, device="cpu")
        session.add_box(1, "axial", 7, (12, 14, 35, 41))
        shown = {one.plane.index: one.mask for one in session.propagate(1)}
        other = worker.client()
        while answer(other, Status()).memory_bytes != ball.voxels.nbytes:  # until its session is let go of
            wait(other, POLL_S)
        assert session.add_point(1, "axial", 7, (20, 20)).revision == 2
        assert sorted(one.plane.index for one in session.propagate(1)) == sorted(shown)
        session.close()


def test_a_reading_that_was_chosen_outlives_the_worker(ball, tmp_path):
    path = save_small_model(tmp_path / "reader.safetensors", rasterize_prompts=True)
    workers = [ThreadedWorker()]
    session = RemoteSession(
        lambda: EngineClient.connect("127.0.0.1", workers[-1].port, TOKEN), ball, model=path, device="cpu"
    )
    first = session.add_point(1, "axial", 7, (22, 26))
    assert first.num_readings > 1
    second = session.choose_reading(1, "axial", 7, 1)
    assert not np.array_equal(second.mask, first.mask)
    workers[0].__exit__()
    workers.append(ThreadedWorker())
    third = session.choose_reading(1, "axial", 7, 2)
    assert third.num_readings == first.num_readings
    np.testing.assert_array_equal(session.choose_reading(1, "axial", 7, 1).mask, second.mask)
    assert [one.plane.index for one in session.propagate(1, first=7, last=8)] == [8]
    assert session.extend(1, 9).plane.index == 9
    session.close()
    workers[1].__exit__()


def test_a_script_that_loses_interest_loses_no_mask(worker, ball, small_model_file):
    with RemoteSession.connect("127.0.0.1", worker.port, TOKEN, ball, model=small_model_file, device="cpu") as session:
        session.add_box(1, "axial", 7, (12, 14, 35, 41))
        for _ in range(20):  # the first slice that comes is all that is looked at
            next(session.propagate(1), None)
        assert list(session.propagate(1)) == []
        assert len(session._session_state.masks) == 16


def test_a_worker_that_always_dies_is_given_up(small_model_file, ball):
    with ThreadedWorker() as worker:
        session = RemoteSession.connect("127.0.0.1", worker.port, TOKEN, ball, model=small_model_file, device="cpu")
    with pytest.raises(WorkerError, match="nobody listens"):
        session.add_box(1, "axial", 7, (12, 14, 35, 41))


def test_a_script_goes_on_after_workers_that_died_while_they_were_told(ball, small_model_file):
    workers, made = [ThreadedWorker()], []

    def make_client():
        made.append(len(workers))
        return EngineClient.connect("127.0.0.1", workers[-1].port, TOKEN)

    session = RemoteSession(make_client, ball, model=small_model_file, device="cpu")
    shown = session.add_box(1, "axial", 7, (12, 14, 35, 41))
    workers[0].__exit__()
    for _ in range(2):  # refused more often than is tried, twice
        with pytest.raises(WorkerError, match="nobody listens"):
            session.add_point(1, "axial", 7, (20, 20))
    assert len(made) > 3
    workers.append(ThreadedWorker())
    answered = session.add_point(1, "axial", 7, (20, 20))
    assert answered.revision > shown.revision
    assert [one.plane.index for one in session.propagate(1, first=7, last=8)] == [8]
    session.close()
    workers[1].__exit__()


def test_prompts_that_are_refused_while_a_worker_is_restored_are_sent_to_no_other(ball, small_model_file):
    workers = [ThreadedWorker()]
    session = RemoteSession(
        lambda: EngineClient.connect("127.0.0.1", workers[-1].port, TOKEN), ball, model=small_model_file, device="cpu"
    )
    session.add_box(1, "axial", 7, (12, 14, 35, 41))
    workers[0].__exit__()
    with pytest.raises(WorkerError, match="nobody listens"):
        session.add_point(1, "axial", 7, (99, 0))  # outside the slice, which nobody has found out yet
    with ThreadedWorker() as second:
        workers.append(second)
        with pytest.raises(PromptError, match="outside the slice"):
            session.add_point(1, "axial", 8, (20, 20))
        assert session.add_point(1, "axial", 8, (20, 20)).mask.any()
        assert session.add_point(1, "axial", 7, (20, 20)).revision == 2
        session.close()
