"""What the worker does for its clients: the engine's own answers, in the right order, each client by itself."""

import hashlib
import os
import time
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from NeuroSAM2Core import Session, load_model
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote.messages import (
    AUTOMATIC,
    UNSOLICITED,
    Cancel,
    CleanObject,
    CloseVolume,
    EngineSwitches,
    Failed,
    Finished,
    Heartbeat,
    LoadModel,
    LogLine,
    ModelLoaded,
    OpenVolume,
    Precompute,
    PredictSlice,
    PreviewSlice,
    Progress,
    Propagate,
    RemoveObject,
    RestoreSlice,
    SliceAnswered,
    SliceCleaned,
    SlicePreviewed,
    SliceTracked,
    Status,
    Superseded,
    VolumeClosed,
    VolumeOpened,
    VoxelChunk,
    VoxelsWanted,
    WorkerStatus,
)
from NeuroSAM2Core.remote.server import resources
from NeuroSAM2Core.remote.upload import as_bytes, volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Axis, Direction, IntensityWindow, MaskCleanup, SlicePlane, Volume
from Testing.Support.worker import LIMIT_S, ThreadedWorker, answer, box_on, events_of, events_until, held, opened

BOX = (12, 14, 35, 41)


@pytest.fixture
def session(ball, small_model_file):
    return Session(load_model(small_model_file, device="cpu"), ball)


def propagate(key, *objects, **range_):
    return Propagate(volume_id=key, object_ids=objects or (1,), **range_)


def tracked(events):
    return [event.mask for event in events if isinstance(event, SliceTracked)]


def assert_same(masks, others):
    assert [(one.object_id, one.plane) for one in masks] == [(one.object_id, one.plane) for one in others]
    for one, other in zip(masks, others, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        scores = (other.predicted_iou, other.object_score)  # a slice in a batch and alone differ by rounding
        assert (one.predicted_iou, one.object_score) == pytest.approx(scores, abs=1e-5)
        assert one.revision == other.revision


def test_answers_are_those_of_the_engine(client, key, session):
    request = box_on(key, 7, points=[(20, 20), (30, 30, False)], revision=5)
    event = answer(client, request)
    assert isinstance(event, SliceAnswered)
    assert_same([event.mask], [session.set_prompts(request.prompts)])
    assert (event.stale_first, event.stale_last, event.mask.revision) == (0, 15, 5)
    events = events_of(client, client.submit(propagate(key, first=4, last=12)))
    assert_same(tracked(events), list(session.propagate(1, first=4, last=12)))
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [(n, 8) for n in range(1, 9)]
    correction = box_on(key, 10)
    event = answer(client, correction)
    assert_same([event.mask], [session.set_prompts(correction.prompts)])
    assert (event.stale_first, event.stale_last) == (8, 15)
    one_way = {"first": 4, "last": 12, "direction": Direction.UP}
    assert_same(
        tracked(events_of(client, client.submit(propagate(key, **one_way)))), list(session.propagate(1, **one_way))
    )


def test_a_preview_is_what_the_click_will_give_and_only_the_newest_is_answered(client, key, session, monkeypatch):
    request = box_on(key, 7, revision=5)
    asked = PreviewSlice(volume_id=key, prompts=request.prompts)
    with held(monkeypatch, lambda job: isinstance(job.work, Precompute)) as hold:
        numbers = [client.submit(Precompute(volume_id=key, axis=Axis.K, index=7, radius=0))]
        hold_until(client, hold)
        numbers += [client.submit(asked), client.submit(asked)]
        events = events_until(client, lambda e: isinstance(e, Superseded))
        assert events[-1] == Superseded(request_id=numbers[1], by=numbers[2])
    events = events_of(client, *numbers)
    (shown,) = [event for event in events if isinstance(event, SlicePreviewed)]
    assert_same([shown.mask], [session.preview(request.prompts)])
    assert_same([answer(client, request).mask], [shown.mask])


def test_masks_are_cleaned_as_the_request_says(client, key, session):
    cleanup = MaskCleanup(hole_mm=0.0, island_mm=9.0)
    session.set_cleanup(cleanup)
    request = replace(box_on(key, 7), cleanup=cleanup)
    assert_same([answer(client, request).mask], [session.set_prompts(request.prompts)])
    events = events_of(client, client.submit(propagate(key, first=4, last=12, cleanup=cleanup)))
    assert_same(tracked(events), list(session.propagate(1, first=4, last=12)))


def test_cleaning_the_whole_object_tells_what_would_change_and_changes_nothing(client, key, session):
    cleanup = MaskCleanup(hole_mm=9.0, island_mm=40.0, is_whole=True)
    for one in (answer(client, box_on(key, 7)), *events_of(client, client.submit(propagate(key)))):
        assert not isinstance(one, Failed)
    session.set_prompts(box_on(key, 7).prompts)
    list(session.propagate(1))
    session.set_cleanup(cleanup)
    for _ in range(2):
        events = events_of(client, client.submit(CleanObject(volume_id=key, object_id=1, cleanup=cleanup)))
        masks = [event.mask for event in events if isinstance(event, SliceCleaned)]
        assert masks
        assert_same(masks, list(session.cleaned(1)))
        assert all(one.plane.index != 7 for one in masks)
        assert isinstance(events[-1], Finished)
    unknown = answer(client, CleanObject(volume_id=key, object_id=5))
    assert isinstance(unknown, Failed)
    assert unknown.kind == "PromptError"


def test_a_click_does_not_wait_for_a_preview(client, key, monkeypatch):
    asked = PreviewSlice(volume_id=key, prompts=box_on(key, 7).prompts)
    with held(monkeypatch, lambda job: isinstance(job.work, RemoveObject)) as hold:
        removal = client.submit(RemoveObject(volume_id=key, object_id=1))
        hold_until(client, hold)
        preview, click = client.submit(asked), client.submit(box_on(key, 9))
        assert events_until(client, lambda e: isinstance(e, Superseded))[-1] == Superseded(request_id=preview, by=click)
    assert [e.request_id for e in events_of(client, removal, click) if isinstance(e, SliceAnswered)] == [click]


def test_nothing_waits_for_the_voxels_to_arrive(client, ball, small_model_file):
    client.submit(LoadModel(model=small_model_file, device="cpu"))
    number = client.open_volume(ball)
    key = client.volume_id(number)
    click, again, run = client.submit(box_on(key, 7)), client.open_volume(ball), client.submit(propagate(key))
    events = events_of(client, number, click, again, run)
    finals = [
        e
        for e in events
        if getattr(e, "request_id", 0) in (number, click, again, run) and not isinstance(e, (SliceTracked, Progress))
    ]
    assert [type(e) for e in finals] == [VolumeOpened, SliceAnswered, VolumeOpened, Finished]
    assert (finals[0].is_new, finals[2].is_new, finals[3].was_cancelled) == (True, False, False)


def test_of_clicks_that_wait_only_the_newest_is_answered(client, key, monkeypatch):
    with held(monkeypatch, lambda job: isinstance(job.work, PredictSlice)) as hold:
        first = client.submit(box_on(key, 7))
        hold_until(client, hold)
        second, third = client.submit(box_on(key, 7, revision=2)), client.submit(box_on(key, 8))
        fourth = client.submit(box_on(key, 7, revision=3))
        events = events_until(client, lambda e: isinstance(e, Superseded))
        assert events[-1] == Superseded(request_id=second, by=fourth)
    events = events_of(client, first, third, fourth)
    assert [(e.request_id, e.mask.revision) for e in events if isinstance(e, SliceAnswered)] == [
        (first, 1),
        (third, 1),
        (fourth, 3),
    ]


def hold_until(client, hold):
    """Sends what waits, and goes on once the worker's thread is held."""
    events_of(client, client.submit(Status()))
    hold.wait_until_reached()


def test_a_cancel_takes_effect_within_one_slice(client, key, monkeypatch):
    answer(client, box_on(key, 7))
    with held(monkeypatch, lambda job: isinstance(job.work, Propagate) and job.num_done == 2) as hold:
        run = client.submit(propagate(key))
        hold_until(client, hold)
        stop = client.submit(Cancel(target=run))
        hold_until(client, hold)  # the cancel has arrived, the third slice is being done
    events = events_of(client, run, stop)
    after = [type(e) for e in events if not isinstance(e, (Heartbeat, WorkerStatus))]
    assert after == [SliceTracked, Progress, Finished, Finished] or after == [Finished, Finished]
    assert events[-2] == Finished(request_id=run, was_cancelled=True)
    assert events[-1] == Finished(request_id=stop)
    rest = tracked(events_of(client, client.submit(propagate(key))))
    assert len(rest) in (12, 13)  # what was done stays


def test_what_waits_can_be_cancelled(client, key, monkeypatch):
    with held(monkeypatch, lambda job: job.number == 3) as hold:
        first = client.submit(box_on(key, 7))
        assert first == 3
        hold_until(client, hold)
        second = client.submit(box_on(key, 8))
        stops = [client.submit(Cancel(target=number)) for number in (second, first)]
        hold_until(client, hold)
    events = events_of(client, first, second, *stops)
    ended = [e for e in events if isinstance(e, (SliceAnswered, Finished))]
    assert [e.request_id for e in ended] == [first, stops[1], second, stops[0]]
    assert ended[2].was_cancelled


def test_a_click_is_answered_in_the_middle_of_a_propagation_and_counts_for_it(client, key, session, monkeypatch):
    answer(client, box_on(key, 7))
    with held(monkeypatch, lambda job: isinstance(job.work, Propagate) and job.num_done == 2) as hold:
        run = client.submit(propagate(key))
        hold_until(client, hold)
        click = client.submit(box_on(key, 12))
        hold_until(client, hold)
    events = events_of(client, run, click)
    order = [e.request_id for e in events if isinstance(e, (SliceTracked, SliceAnswered, Finished))]
    assert order.index(click) == 1  # after the slice that was being done
    session.set_prompts(box_on(key, 7).prompts)
    assert len(list(islice(session.propagate(1), 3))) == 3
    expected = [session.set_prompts(box_on(key, 12).prompts), *session.propagate(1)]
    latest = {e.mask.plane: e.mask for e in events if isinstance(e, (SliceTracked, SliceAnswered))}
    assert_same([latest[one.plane] for one in expected], expected)
    assert {e.done <= e.total for e in events if isinstance(e, Progress)} == {True}


def test_what_is_done_in_advance_yields_to_everything_else(client, key, monkeypatch):
    answer(client, box_on(key, 7))
    with held(monkeypatch, lambda job: isinstance(job.work, Precompute)) as hold:
        warm = client.submit(Precompute(volume_id=key, axis=Axis.K, index=3, radius=50))
        hold_until(client, hold)
        run, click = client.submit(propagate(key, last=9)), client.submit(box_on(key, 12))
        hold_until(client, hold)
    events = events_of(client, warm, run, click)
    assert [e.request_id for e in events if isinstance(e, (SliceAnswered, Finished))] == [click, run, warm]


def test_a_slice_that_was_prepared_is_not_encoded_again(client, key, monkeypatch):
    assert answer(client, Precompute(volume_id=key, axis=Axis.K, index=7, radius=2)) == Finished(request_id=3)
    from NeuroSAM2Core.model import SAM2

    monkeypatch.setattr(SAM2, "encode_image", lambda *_: pytest.fail("encoded again"))
    for index in range(5, 10):
        assert isinstance(answer(client, box_on(key, index)), SliceAnswered)
    failed = answer(client, Precompute(volume_id=key, axis=Axis.K, index=99))
    assert "no slice 99" in failed.message


def test_a_newer_precomputation_takes_the_place_of_the_older_one(client, key, monkeypatch):
    with held(monkeypatch, lambda job: isinstance(job.work, Precompute)) as hold:
        first = client.submit(Precompute(volume_id=key, axis=Axis.K, index=3))
        hold_until(client, hold)
        second = client.submit(Precompute(volume_id=key, axis=Axis.J, index=3, radius=1))
        events = events_of(client, first)
    events += events_of(client, second)
    ended = [e for e in events if isinstance(e, (Superseded, Finished))]
    assert ended == [Superseded(request_id=first, by=second), Finished(request_id=second)]


def test_slices_beyond_the_end_are_answered_one_by_one(client, key, session):
    answer(client, box_on(key, 7))
    events_of(client, client.submit(propagate(key, first=5, last=9)))
    events = events_of(client, client.submit(propagate(key, beyond=(4, 10))))
    session.add_box(1, "axial", 7, BOX)
    for _ in session.propagate(1, first=5, last=9):
        pass
    assert_same(tracked(events), [session.extend(1, "axial", 4), session.extend(1, "axial", 10)])
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [(1, 2), (2, 2)]
    refused = answer(client, propagate(key, beyond=(7,)))
    assert isinstance(refused, Failed)
    assert "slice 7 is confirmed" in refused.message


def test_several_objects_are_carried_through_and_one_can_be_forgotten(client, key, session):
    for number, index in ((1, 7), (2, 9)):
        answer(client, box_on(key, index, object_id=number))
        session.set_prompts(box_on(key, index, object_id=number).prompts)
    events = events_of(client, client.submit(propagate(key, 1, 2)))
    assert_same(tracked(events), list(session.propagate((1, 2))))
    assert answer(client, RemoveObject(volume_id=key, object_id=2)) == Finished(request_id=6)
    assert "no object 2" in answer(client, propagate(key, 2)).message
    assert answer(client, RemoveObject(volume_id=key, object_id=2)) == Finished(request_id=8)


def test_what_is_left_is_counted_for_the_object_of_each_slice_alone(client, key, monkeypatch):
    counted, count = [], Session.num_slices_to_do
    for number in (1, 2, 3):
        answer(client, box_on(key, 7, object_id=number))
    monkeypatch.setattr(Session, "num_slices_to_do", lambda *a, **k: counted.append(1) or count(*a, **k))
    events = events_of(client, client.submit(propagate(key, 1, 2, 3)))
    assert len(counted) == 3 + len(tracked(events))
    done = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in done] == list(range(1, len(done) + 1))
    assert done[-1].done == done[-1].total


def test_an_object_forgotten_in_the_middle_of_its_propagation_ends_it(client, key, monkeypatch):
    for number in (1, 2):
        answer(client, box_on(key, 7, object_id=number))
    with held(monkeypatch, lambda job: isinstance(job.work, Propagate) and job.num_done == 2) as hold:
        run = client.submit(propagate(key, 1, 2))
        hold_until(client, hold)
        gone = client.submit(RemoveObject(volume_id=key, object_id=1))
        hold_until(client, hold)
    masks = tracked(events_of(client, run, gone))
    assert sum(one.object_id == 1 for one in masks) <= 2
    assert {one.plane.index for one in masks if one.object_id == 2} == set(range(16)) - {
        7,
        8,
    }  # 8 came while it was held


def test_clients_do_not_meet_although_they_share_the_voxels(worker, ball, small_model_file, session):
    one, other = worker.client(), worker.client()
    key = opened(one, ball, small_model_file)
    assert opened(other, ball, small_model_file) == key
    requests = [box_on(key, 7), box_on(key, 7, box=(5, 5, 20, 20))]
    for client, request in zip((one, other), requests, strict=True):
        answer(client, request)
    runs = [client.submit(propagate(key)) for client in (one, other)]
    events = [events_of(client, run) for client, run in zip((one, other), runs, strict=True)]
    for heard, request in zip(events, requests, strict=True):
        alone = Session(session.model, ball)
        alone.set_prompts(request.prompts)
        assert_same(tracked(heard), list(alone.propagate(1)))
    status = answer(one, Status())
    assert status.num_clients == 2
    assert status.volume_ids == (key,)
    assert status.model == small_model_file
    assert status.memory_bytes > ball.voxels.nbytes
    answer(one, CloseVolume(volume_id=key))
    one.close()
    assert isinstance(answer(other, box_on(key, 9)), SliceAnswered)


def test_a_client_that_is_gone_is_forgotten_and_its_propagation_with_it(worker, client, key, ball, monkeypatch):
    answer(client, box_on(key, 7))
    with held(monkeypatch, lambda job: isinstance(job.work, Propagate) and job.num_done == 2) as hold:
        client.submit(propagate(key))
        hold_until(client, hold)
        client.close()
        other = worker.raw()  # heard after the end of the first
        other.send(1, Status())
        other.next_of(WorkerStatus)
    deadline, number, memory = time.monotonic() + LIMIT_S, 2, None
    while memory != ball.voxels.nbytes:  # the voxels stay while there is memory; all else goes
        assert time.monotonic() < deadline
        other.send(number, Status())
        memory, number = other.next_of(WorkerStatus).memory_bytes, number + 1


def test_a_volume_that_was_sent_once_is_not_sent_again(worker, ball, small_model_file):
    opened(worker.client(), ball, small_model_file)
    raw = worker.raw()
    raw.send(1, LoadModel(model=small_model_file, device="cpu"))
    raw.send(2, open_request(ball))
    assert isinstance(raw.next_of(VolumeOpened, VoxelsWanted), VolumeOpened)


def open_request(volume, **changes):
    voxels, matrix = wire_voxels(volume), wire_matrix(volume)
    request = OpenVolume(
        volume_id=volume_id(voxels, matrix), shape=volume.shape, dtype=voxels.dtype.name, ijk_to_ras=matrix
    )
    return replace(request, **changes)


def test_another_window_begins_anew_and_the_same_one_does_not(client, key, ball):
    answer(client, box_on(key, 7))
    assert not next(e for e in events_of(client, client.open_volume(ball)) if isinstance(e, VolumeOpened)).is_new
    number = client.open_volume(ball, window=IntensityWindow(0, 50))
    assert next(e for e in events_of(client, number) if isinstance(e, VolumeOpened)).is_new
    assert "no object 1" in answer(client, propagate(key)).message


def test_other_switches_begin_anew_and_are_the_engines_options(client, key, ball, monkeypatch):
    made = []
    real = resources.Session
    monkeypatch.setattr(resources, "Session", lambda *args, **kwargs: made.append(real(*args, **kwargs)) or made[-1])
    switches = EngineSwitches(crops=True, ends_by_shape=False)
    for wanted, is_new in ((switches, True), (switches, False), (AUTOMATIC, True)):
        events = events_of(client, client.open_volume(ball, switches=wanted))
        assert [event.is_new for event in events if isinstance(event, VolumeOpened)] == [is_new]
    assert [(one.options.crops, one.options.ends_by_shape) for one in made] == [(True, False), (False, False)]
    assert {field.name for field in fields(EngineSwitches)} <= {field.name for field in fields(EngineOptions)}


def test_another_model_closes_what_is_open_and_the_same_one_does_not(client, key, small_model_file):
    assert isinstance(answer(client, LoadModel(model=small_model_file, device="cpu")), ModelLoaded)
    assert isinstance(answer(client, box_on(key, 7)), SliceAnswered)
    events = events_of(client, client.submit(LoadModel(model="nano", device="cpu")))
    closed = next(e for e in events if isinstance(e, VolumeClosed))
    assert (closed.request_id, closed.volume_id) == (UNSOLICITED, key)
    assert "another model" in closed.reason
    assert next(e for e in events if isinstance(e, ModelLoaded)).image_size == 256
    assert "not open" in answer(client, box_on(key, 7)).message


def test_the_hash_of_a_model_is_of_the_bytes_that_answer(client, tmp_path, small_model_file):
    path = tmp_path / "mine.safetensors"
    content = Path(small_model_file).read_bytes()
    path.write_bytes(content)
    loaded = answer(client, LoadModel(model=str(path), device="cpu"))
    assert loaded.sha256 == hashlib.sha256(content).hexdigest()


def test_a_model_file_that_was_replaced_is_read_again(client, tmp_path, small_model_file):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(Path(small_model_file).read_bytes())
    opened_key = opened(client, Volume(np.zeros((2, 32, 32), np.int16), np.eye(4)), str(path))
    os.utime(path, (1, 1))
    events = events_of(client, client.submit(LoadModel(model=str(path), device="cpu")))
    assert [e.volume_id for e in events if isinstance(e, VolumeClosed)] == [opened_key]


def test_a_session_is_notified_what_was_known_before(worker, client, key, ball, small_model_file):
    first = answer(client, box_on(key, 7)).mask
    masks = tracked(events_of(client, client.submit(propagate(key))))
    other = worker.client()
    opened(other, ball, small_model_file)
    for request in [
        RestoreSlice(volume_id=key, mask=first, prompts=box_on(key, 7).prompts),
        *(RestoreSlice(volume_id=key, mask=one) for one in masks),
    ]:
        assert isinstance(answer(other, request), Finished)
    assert tracked(events_of(other, other.submit(propagate(key)))) == []
    a, b = (answer(one, box_on(key, 7, points=[(20, 20)], revision=2)).mask for one in (client, other))
    assert_same([a], [b])


@pytest.mark.parametrize("is_late", [False, True])
def test_taking_back_what_was_prompted_is_answered_too(client, key, is_late):
    answer(client, box_on(key, 7))
    empty = PromptSet(object_id=1, plane=SlicePlane(Axis.K, 7), revision=8)
    event = answer(client, PredictSlice(volume_id=key, prompts=empty))
    assert (event.mask.revision, event.mask.mask.any()) == (8, False)
    assert "nothing to propagate" in answer(client, propagate(key)).message or is_late


@pytest.mark.parametrize(
    ("request_of", "kind", "words"),
    [
        (lambda key: box_on("other", 7), "WorkerError", "not open"),
        (lambda key: box_on(key, 99), "GeometryError", "no slice 99"),
        (lambda key: box_on(key, 7, points=[(99, 3)]), "PromptError", "outside the slice"),
        (lambda key: propagate(key), "PromptError", "no object 1"),
        (lambda key: LoadModel(model="nanoo"), "CheckpointError", "did you mean 'nano'"),
        (lambda key: LoadModel(model="nano", device="tpu"), "ConfigError", "no device 'tpu'"),
        (lambda key: LoadModel(model="/none.safetensors"), "CheckpointError", "no model file"),
    ],
)
def test_a_mistake_fails_alone_and_keeps_its_class(client, key, request_of, kind, words):
    failed = answer(client, request_of(key))
    assert isinstance(failed, Failed)
    assert failed.kind == kind
    assert words in failed.message
    assert isinstance(answer(client, box_on(key, 7)), SliceAnswered)


def test_a_volume_needs_a_model(client, ball):
    failed = next(e for e in events_of(client, client.open_volume(ball)) if isinstance(e, Failed))
    assert "no model yet" in failed.message
    assert answer(client, Status()).volume_ids == ()


def test_voxels_that_come_damaged_fail_the_opening_and_what_waited_for_it(worker, ball, small_model_file):
    raw = worker.raw()
    raw.send(1, LoadModel(model=small_model_file, device="cpu"))
    raw.send(2, open_request(ball))
    raw.send(3, box_on(open_request(ball).volume_id, 7))
    raw.next_of(VoxelsWanted)
    data = bytearray(as_bytes(wire_voxels(ball)))
    data[5] ^= 1
    raw.send(0, VoxelChunk(volume_id=open_request(ball).volume_id, start=0, is_compressed=False, data=bytes(data)))
    failed = [raw.next_of(Failed) for _ in range(2)]
    assert [(one.request_id, one.kind) for one in failed] == [(2, "ProtocolError"), (3, "WorkerError")]
    raw.send(4, Status())
    assert raw.next_of(WorkerStatus).memory_bytes == 0


def test_an_upload_can_be_cancelled(worker, ball, small_model_file):
    raw = worker.raw()
    raw.send(1, LoadModel(model=small_model_file, device="cpu"))
    raw.send(2, open_request(ball))
    raw.send(3, box_on(open_request(ball).volume_id, 7))
    raw.next_of(VoxelsWanted)
    raw.send(4, Cancel(target=2))
    assert raw.next_of(Finished) == Finished(request_id=2, was_cancelled=True)
    assert raw.next_of(Finished) == Finished(request_id=4)
    assert raw.next_of(Failed).request_id == 3
    raw.send(0, VoxelChunk(volume_id=open_request(ball).volume_id, start=0, is_compressed=False, data=b"late"))
    raw.send(5, Status())
    assert raw.next_of(WorkerStatus).memory_bytes == 0


def test_a_volume_beyond_the_memory_is_refused_before_it_is_sent(ball):
    with ThreadedWorker(max_memory_bytes=100_000) as worker:
        client = worker.client()
        failed = next(e for e in events_of(client, client.open_volume(ball)) if isinstance(e, Failed))
        assert "memory for" in failed.message
        assert "--max-memory" in failed.hint
        raw = worker.raw()
        raw.send(1, open_request(ball, shape=(1 << 40, 1 << 40, 1 << 40)))
        assert "memory for" in raw.next_of(Failed).message


def test_features_are_let_go_of_where_memory_ends(ball, small_model_file):
    limit = 800_000
    with ThreadedWorker(max_memory_bytes=limit) as worker:
        client = worker.client()
        key = opened(client, ball, small_model_file)
        answer(client, box_on(key, 7))
        events = events_of(client, client.submit(propagate(key)))
        assert len(tracked(events)) == 15
        assert answer(client, Status()).memory_bytes <= limit


def test_what_an_idle_client_has_open_is_closed_and_it_is_notified(ball, small_model_file):
    with ThreadedWorker(idle_s=0.3, heartbeat_s=0.2) as worker:
        client = worker.client()
        key = opened(client, ball, small_model_file)
        (closed,) = (
            e for e in events_until(client, lambda e: isinstance(e, VolumeClosed)) if isinstance(e, VolumeClosed)
        )
        assert (closed.request_id, closed.volume_id) == (UNSOLICITED, key)
        assert "nothing was asked" in closed.reason
        events = events_of(client, client.submit(box_on(key, 7)))
        assert [type(e) for e in events if not isinstance(e, Heartbeat)] == [Failed]
        assert "idle" in events[-1].hint


def test_a_full_device_is_cleared_once_and_the_click_answered(client, key, monkeypatch):
    set_prompts, failures = Session.set_prompts, []

    def full_once(self, prompts):
        if not failures:
            failures.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return set_prompts(self, prompts)

    monkeypatch.setattr(Session, "set_prompts", full_once)
    events = events_of(client, client.submit(box_on(key, 7)))
    assert any(isinstance(e, LogLine) and e.level == "WARNING" and "memory" in e.text for e in events)
    assert isinstance(events[-1], SliceAnswered)


NO_ROOM = [
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 2 GB, max allowed: 9 GB)."),
    RuntimeError("Invalid buffer size: 24.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate"
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("Unable to allocate 9.00 GiB for an array"),
]


@pytest.mark.parametrize("error", NO_ROOM, ids=lambda error: str(error)[:20])
def test_every_allocator_that_is_full_is_given_room(client, key, monkeypatch, error):
    set_prompts, failures = Session.set_prompts, []

    def full_twice(self, prompts):
        if len(failures) < 2:
            failures.append(1)
            raise error
        return set_prompts(self, prompts)

    monkeypatch.setattr(Session, "set_prompts", full_twice)
    assert isinstance(answer(client, box_on(key, 7)), SliceAnswered)


def test_what_only_sounds_like_it_is_a_defect(client, key, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("shape '[1, 2]' is invalid for input of size 3")

    monkeypatch.setattr(Session, "set_prompts", broken)
    assert "defect of its own" in answer(client, box_on(key, 7)).message


def test_a_propagation_survives_a_device_that_is_full_now_and_then(client, key, session, monkeypatch):
    from NeuroSAM2Core.inference.propagation import objects_together

    track, calls = objects_together.track_slices, []

    def full_at_every_third(*args, **kwargs):
        calls.append(1)
        if len(calls) % 3 == 0:
            raise RuntimeError("MPS backend out of memory")
        return track(*args, **kwargs)

    answer(client, box_on(key, 7))
    session.set_prompts(box_on(key, 7).prompts)
    expected = list(session.propagate(1))
    monkeypatch.setattr(objects_together, "track_slices", full_at_every_third)
    assert_same(tracked(events_of(client, client.submit(propagate(key)))), expected)
    assert len(calls) > 9


def test_a_device_that_stays_full_fails_with_a_way_out(client, key, monkeypatch):
    def full(self, *_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    answer(client, box_on(key, 7))
    monkeypatch.setattr(Session, "propagate", full)
    failed = answer(client, propagate(key))
    assert failed.kind == "WorkerError"
    assert "device cpu" in failed.hint
    assert isinstance(answer(client, box_on(key, 8)), SliceAnswered)


def test_a_propagation_goes_on_where_the_device_was_full_for_a_moment(client, key, session, monkeypatch):
    from NeuroSAM2Core.inference.propagation import objects_together

    track, calls = objects_together.track_slices, []

    def full_at_the_fourth(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return track(*args, **kwargs)

    answer(client, box_on(key, 7))
    session.set_prompts(box_on(key, 7).prompts)
    expected = list(session.propagate(1))
    monkeypatch.setattr(objects_together, "track_slices", full_at_the_fourth)
    assert_same(tracked(events_of(client, client.submit(propagate(key)))), expected)


def test_a_defect_of_ours_fails_one_request_and_not_the_worker(client, key, monkeypatch, caplog):
    monkeypatch.setattr(Session, "restore_stepwise", lambda *_: 1 / 0)
    mask = answer(client, box_on(key, 7)).mask
    failed = answer(client, RestoreSlice(volume_id=key, mask=mask))
    assert "defect of its own: ZeroDivisionError" in failed.message
    assert "Traceback" in caplog.text
    assert isinstance(answer(client, box_on(key, 8)), SliceAnswered)


def test_the_log_goes_to_whom_it_concerns_and_names_no_patient(worker, small_model_file, caplog):
    caplog.set_level("INFO")
    client, other = worker.client(), worker.client()
    volume = Volume(np.arange(2048, dtype=np.int16).reshape(2, 32, 32), np.eye(4), name="DOE^JANE")
    client.submit(LoadModel(model=small_model_file, device="cpu"))
    lines = [e.text for e in events_of(client, client.open_volume(volume)) if isinstance(e, LogLine)]
    assert lines == ["model loaded on cpu, 64 pixels", "volume of 32 x 32 x 2 int16 opened"]
    assert not [e for e in events_of(other, other.submit(Status())) if isinstance(e, LogLine)]
    assert "DOE" not in caplog.text
