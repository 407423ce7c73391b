"""One client, request, file or defect cannot take from the others: turns, bounds on memory, slow readers, answers that are no numbers."""

import time
import zlib

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from NeuroSAM2Core.errors import ProtocolError
from NeuroSAM2Core.inference.prediction.slice_predictor import SlicePredictor
from NeuroSAM2Core.prompts import MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.remote import codec
from NeuroSAM2Core.remote.framing import Frame, FrameReader
from NeuroSAM2Core.remote.messages import (
    Cancel,
    Failed,
    Finished,
    LoadModel,
    OpenVolume,
    PredictSlice,
    PreviewSlice,
    Progress,
    Propagate,
    RestoreSlice,
    SliceAnswered,
    SliceTracked,
    Status,
    VolumeOpened,
    VoxelsWanted,
)
from NeuroSAM2Core.remote.server.job_queue import Job, Schedule
from NeuroSAM2Core.remote.server.job_runner import TURN_S
from NeuroSAM2Core.remote.upload import volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane, Volume
from Testing.Support.worker import ThreadedWorker, answer, box_on, events_of, opened


def many_clicks(key, count, *, kind=PredictSlice):
    rng = np.random.default_rng(0)
    places = rng.uniform((4, 4), (44, 52), (count, 2))
    points = tuple(PointPrompt(*map(float, place), bool(n % 2)) for n, place in enumerate(places))
    return kind(volume_id=key, prompts=PromptSet(object_id=1, plane=SlicePlane(Axis.K, 7), points=points))


def announcement(volume):
    voxels, matrix = wire_voxels(volume), wire_matrix(volume)
    return OpenVolume(
        volume_id=volume_id(voxels, matrix), shape=volume.shape, dtype=voxels.dtype.name, ijk_to_ras=matrix
    )


@pytest.mark.parametrize("kind", [PredictSlice, PreviewSlice])
def test_others_are_answered_while_thousands_of_clicks_are_replayed(worker, client, ball, small_model_file, kind):
    key, other = opened(client, ball, small_model_file), worker.client()
    opened(other, ball, small_model_file)
    answer(other, box_on(key, 5))
    number = client.submit(many_clicks(key, 2000, kind=kind))
    waits = []
    for index in range(6, 10):
        began = time.monotonic()
        assert isinstance(answer(other, box_on(key, index)), SliceAnswered)
        waits.append(time.monotonic() - began)
    assert number in client.unanswered, "it was done before the others: nothing was shown"
    assert np.median(waits) < 1
    began = time.monotonic()
    events = events_of(client, number, client.submit(Cancel(target=number)))
    assert time.monotonic() - began < 4 * TURN_S + 1
    assert any(isinstance(one, Finished) and one.request_id == number and one.was_cancelled for one in events)


def test_a_slice_with_many_clicks_is_restored_in_turns_too(worker, client, ball, small_model_file):
    key = opened(client, ball, small_model_file)
    prompts = many_clicks(key, 150).prompts
    mask = SliceMask(
        object_id=1, plane=prompts.plane, mask=np.eye(48, 56, dtype=bool), predicted_iou=0.9, object_score=1.0
    )
    assert isinstance(answer(client, RestoreSlice(volume_id=key, mask=mask, prompts=prompts)), Finished)
    begun = answer(client, PredictSlice(volume_id=key, prompts=prompts))
    assert isinstance(begun, SliceAnswered)


def test_a_click_after_many_looks_at_no_more_prompts_than_one_after_few(client, ball, small_model_file, monkeypatch):
    seen = []
    decode = SlicePredictor._decode

    def listening(self, given, *others):
        seen.append(len(given))
        return decode(self, given, *others)

    monkeypatch.setattr(SlicePredictor, "_decode", listening)
    key = opened(client, ball, small_model_file)
    at_once = answer(client, many_clicks(key, 100))
    assert max(seen) == 64
    one_by_one = [answer(client, many_clicks(key, count)) for count in range(95, 101)]
    np.testing.assert_array_equal(one_by_one[-1].mask.mask, at_once.mask.mask)


def test_masks_that_wait_for_voxels_are_counted_and_bounded(ball):
    with ThreadedWorker(max_memory_bytes=64 << 20) as worker:
        client, other = worker.client(), worker.client()
        opening = announcement(ball)
        raw = worker.raw()
        raw.send(1, opening)
        assert isinstance(raw.next(), VoxelsWanted)
        large = np.zeros((2048, 2048), bool)
        large[::3] = True
        prompts = PromptSet(object_id=1, plane=SlicePlane(Axis.K, 7), mask=MaskPrompt(large))
        for number in range(2, 26):
            raw.send(number, PredictSlice(volume_id=opening.volume_id, prompts=prompts))
        refused = [raw.next_of(Failed) for _ in range(20)]
        assert all("requests of this client" in one.message for one in refused)
        status = answer(other, Status())
        assert 4 * large.nbytes <= status.memory_bytes <= 17 << 20
        raw.close()
        while answer(other, Status()).num_clients > 2:
            time.sleep(0.01)
        assert answer(client, Status()).memory_bytes == 0


def test_an_upload_that_stands_still_takes_no_memory_and_is_given_up(ball, small_model_file):
    with ThreadedWorker(max_memory_bytes=1 << 20, upload_s=0.5, heartbeat_s=0.1) as worker:
        raw = worker.raw()
        raw.send(1, OpenVolume(volume_id="v", shape=(1, 1000, 1000), dtype="int8", ijk_to_ras=(0.0,) * 16))
        assert isinstance(raw.next(), VoxelsWanted)
        client = worker.client()
        client.submit(LoadModel(model=small_model_file, device="cpu"))
        number = client.open_volume(ball)
        assert any(isinstance(event, VolumeOpened) for event in events_of(client, number))
        assert "stopped coming after 0 of 1 MB" in raw.next_of(Failed).message


def test_a_slow_reader_gets_every_slice_and_holds_up_nobody(small_model_file):
    volume = Volume(np.random.default_rng(0).integers(0, 255, (60, 96, 96), dtype=np.uint8), np.eye(4))
    with ThreadedWorker(hold_above_bytes=2_000, heartbeat_s=0.1) as worker:
        other, raw = worker.client(), worker.raw()
        key = opened(other, volume, small_model_file)
        raw.send(1, LoadModel(model=small_model_file, device="cpu"))
        raw.send(2, announcement(volume))
        raw.next_of(VolumeOpened)
        prompts = PromptSet(object_id=1, plane=SlicePlane(Axis.K, 5), mask=MaskPrompt(np.eye(96, dtype=bool)))
        raw.send(3, PredictSlice(volume_id=key, prompts=prompts))
        raw.send(4, Propagate(volume_id=key, object_ids=(1,)))
        raw.next_of(Progress)
        for index in range(3):
            assert isinstance(answer(other, box_on(key, index)), SliceAnswered)
        masks = []
        while not isinstance(event := raw.next(), Finished):
            masks += [event.mask] if isinstance(event, SliceTracked) else []
            time.sleep(0.005)
        assert len({mask.plane for mask in masks}) >= 3


def test_nothing_is_computed_for_a_client_that_is_far_behind():
    schedule = Schedule()
    for client in (1, 2):
        schedule.add(Job(client, 1, Propagate(volume_id="v", object_ids=(1,))))
        schedule.add(Job(client, 2, box_on("v", 3)))
    schedule.hold(1, is_held=True)
    assert [(schedule.next().client, schedule.next().client)] == [(2, 2)]
    cancelled = schedule.cancel(1, 1)
    assert schedule.next() is cancelled
    schedule.end(cancelled)
    schedule.hold(1, is_held=False)
    assert (job := schedule.next()).client == 1
    assert isinstance(job.work, PredictSlice)


def test_a_job_that_is_put_back_lets_other_clients_go_first_but_not_its_own():
    schedule = Schedule()
    for client, number in ((1, 1), (1, 2), (2, 1)):
        schedule.add(Job(client, number, box_on("v", number)))
    first = schedule.next()
    schedule.put_back(first)
    assert [(job.client, job.number) for job in (schedule.next(), schedule.next(), schedule.next())] == [
        (2, 1),
        (1, 1),
        (1, 2),
    ]


def test_tens_of_thousands_of_clicks_and_propagations_are_scheduled_in_a_moment():
    schedule = Schedule()
    began = time.process_time()
    for number in range(1, 30_001):
        schedule.add(Job(1, number, box_on("v", number)))
        schedule.add(Job(1, 30_000 + number, Propagate(volume_id="v", object_ids=(number,))))
    schedule.add(Job(2, 1, box_on("v", 1)))
    assert schedule.next().client == 1
    assert schedule.next().client == 2
    for number in range(60_000, 0, -1000):
        assert schedule.cancel(1, number) is not None
    assert time.process_time() - began < 5


@pytest.mark.parametrize("weight", ["iou_prediction_head", "image_encoder"])
def test_a_model_that_answers_no_numbers_fails_its_own_requests_only(
    worker, client, ball, small_model_file, tmp_path, weight
):
    damaged = tmp_path / "damaged.safetensors"
    weights, found = load_file(small_model_file), False
    for name, tensor in weights.items():
        if weight in name and not found and tensor.is_floating_point():
            weights[name], found = torch.full_like(tensor, float("nan")), True
    assert found
    with safe_open(small_model_file, "pt") as file:
        save_file(weights, damaged, file.metadata())
    number = client.submit(LoadModel(model=str(damaged), device="cpu"))
    events_of(client, number)
    opening = client.open_volume(ball)
    key = client.volume_id(opening)
    events_of(client, opening)
    failed = answer(client, box_on(key, 7))
    assert isinstance(failed, Failed)
    other = worker.client()
    assert isinstance(answer(other, box_on(opened(other, ball, small_model_file), 7)), SliceAnswered)


def test_an_answer_that_cannot_be_sent_is_that_requests_error(worker, client, ball, small_model_file, monkeypatch):
    key = opened(client, ball, small_model_file)
    encode = codec._encode

    def refusing(message, extra):
        if isinstance(message, SliceAnswered):
            raise ValueError("no JSON")
        return encode(message, extra)

    monkeypatch.setattr(codec, "_encode", refusing)
    failed = answer(client, box_on(key, 7))
    assert "cannot be sent: ValueError" in failed.message
    monkeypatch.undo()
    assert isinstance(answer(client, box_on(key, 7)), SliceAnswered)


def test_masks_travel_packed_and_a_bomb_is_refused():
    mask = np.zeros((64, 512), bool)
    mask[10:20] = True
    prompts = PromptSet(object_id=1, plane=SlicePlane(Axis.K, 0), mask=MaskPrompt(mask))
    data = codec.encode_request(1, PredictSlice(volume_id="v", prompts=prompts))
    assert len(data) < mask.size // 8 / 4
    reader = FrameReader()
    reader.feed(data)
    (frame,) = reader.frames()
    np.testing.assert_array_equal(codec.decode_request(frame).message.prompts.mask.mask, mask)
    bomb = zlib.compress(bytes(1 << 20))
    with pytest.raises(ProtocolError, match="more than they should be"):
        codec.decode_request(Frame(frame.header, (bomb,)))
    huge = frame.header.replace(b"[64,512]", b"[64000,64000]")
    with pytest.raises(ProtocolError, match="larger than any slice"):
        codec.decode_request(Frame(huge, (bomb,)))
