"""Messages survive the way through bytes; bytes that are no message are told so, whatever they claim."""

import dataclasses
import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from NeuroSAM2Core.errors import NeuroSAM2Error, PromptError, ProtocolError, WorkerError
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.remote import messages
from NeuroSAM2Core.remote.codec import decode_event, decode_request, encode_event, encode_request
from NeuroSAM2Core.remote.framing import (
    AUTHENTICATED_LIMITS,
    MAGIC,
    PREAUTH_LIMITS,
    PRELUDE,
    VERSION,
    FrameReader,
    pack_frame,
)
from NeuroSAM2Core.remote.messages import CleanObject, ClientMessage, Propagate, WorkerMessage
from NeuroSAM2Core.remote.upload import VolumeHash, volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Axis, IntensityWindow, MaskCleanup, SliceMask, SlicePlane, Volume

numbers = st.floats(-1e6, 1e6)
sizes = st.floats(0, 1e6)
masks = hnp.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20)))
planes = st.builds(SlicePlane, st.sampled_from(Axis), st.integers(-(1 << 40), 1 << 40))
boxes = st.builds(lambda r, c, h, w: BoxPrompt(r, c, r + h, c + w), numbers, numbers, sizes, sizes)
points = st.lists(st.builds(PointPrompt, numbers, numbers, st.booleans()), max_size=5).map(tuple)
kwargs = {"object_id": st.integers(1, 1 << 30), "plane": planes, "revision": st.integers(0, 1 << 40)}
st.register_type_strategy(
    PromptSet,
    st.builds(PromptSet, points=points, box=st.none() | boxes, mask=st.none(), reading=st.integers(0, 9), **kwargs)
    | st.builds(PromptSet, mask=st.builds(MaskPrompt, masks), **kwargs),
)
st.register_type_strategy(
    SliceMask,
    st.builds(
        SliceMask,
        mask=masks,
        predicted_iou=st.floats(0, 1),
        object_score=st.floats(0, 1),
        num_readings=st.integers(1, 9),
        ending=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        **kwargs,
    ),
)
st.register_type_strategy(
    IntensityWindow, st.builds(lambda low, width: IntensityWindow(low, low + width), numbers, st.floats(0.5, 1e6))
)
lengths = st.none() | st.floats(0, 1e6)
st.register_type_strategy(
    MaskCleanup, st.builds(MaskCleanup, hole_mm=lengths, island_mm=lengths, is_whole=st.booleans())
)
st.register_type_strategy(int, st.integers(-(1 << 63) + 1, (1 << 63) - 1))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def message_of(union):
    return st.one_of([st.builds(kind, **{f.name: ... for f in dataclasses.fields(kind)}) for kind in union.__args__])


def same(a, b):
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


def read_all(data, limits=AUTHENTICATED_LIMITS):
    reader = FrameReader(limits)
    reader.feed(data)
    return list(reader.frames())


@given(message=message_of(ClientMessage), number=st.integers(0, (1 << 53) - 1))
@settings(max_examples=200, deadline=None)
def test_what_a_client_says_comes_out_as_it_went_in(message, number):
    (frame,) = read_all(encode_request(number, message))
    heard = decode_request(frame)
    assert heard.number == number
    assert same(heard.message, message)


def test_what_a_message_leaves_out_has_its_default():
    (frame,) = read_all(pack_frame(b'{"type": "Propagate", "id": 3, "volume_id": "v", "object_ids": [1, 2]}'))
    assert decode_request(frame).message == Propagate(volume_id="v", object_ids=(1, 2))
    (frame,) = read_all(
        pack_frame(b'{"type": "CleanObject", "id": 3, "volume_id": "v", "object_id": 1, "cleanup": {}}')
    )
    assert decode_request(frame).message == CleanObject(volume_id="v", object_id=1, cleanup=MaskCleanup())


def test_messages_of_earlier_versions_default_to_the_first_reading_not_ended():
    header = {key: value for key, value in PREDICT["prompts"].items() if key != "reading"}
    (frame,) = read_all(pack_frame(json.dumps({**PREDICT, "prompts": header}).encode()))
    assert decode_request(frame).message.prompts.reading == 0
    mask = {
        "object_id": 1,
        "plane": {"axis": "k", "index": 3},
        "mask": {"bits": 0, "shape": [2, 3]},
        "predicted_iou": 0.9,
        "object_score": 1.0,
        "revision": 4,
    }
    event = {"type": "SliceTracked", "request_id": 6, "volume_id": "v", "mask": mask}
    (frame,) = read_all(pack_frame(json.dumps(event).encode(), (b"\xc4",)))
    assert (decode_event(frame).mask.num_readings, decode_event(frame).mask.ending) == (1, "")


@given(message=message_of(WorkerMessage))
@settings(max_examples=200, deadline=None)
def test_what_a_worker_says_comes_out_as_it_went_in(message):
    (frame,) = read_all(encode_event(message))
    assert same(decode_event(frame), message)


@given(data=st.data(), events=st.lists(message_of(WorkerMessage), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_frames_are_found_whatever_pieces_they_come_in(data, events):
    stream = b"".join(map(encode_event, events))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader, heard = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        heard += [decode_event(frame) for frame in reader.frames()]
    assert len(heard) == len(events)
    assert all(map(same, heard, events))
    assert not reader.has_partial_frame


@given(garbage=st.binary(min_size=1, max_size=400))
@settings(max_examples=300, deadline=None)
def test_garbage_is_waited_for_or_refused_and_never_believed(garbage):
    try:
        frames = read_all(garbage)
    except ProtocolError:
        return
    assert frames == []
    assert len(garbage) < PRELUDE.size or garbage.startswith(MAGIC)


@given(data=st.data(), message=message_of(ClientMessage))
@settings(max_examples=300, deadline=None)
def test_a_damaged_frame_is_a_message_or_an_error_of_ours(data, message):
    frame = bytearray(encode_request(7, message))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        for one in read_all(bytes(frame)):
            decode_request(one)
    except NeuroSAM2Error as error:
        assert error.message


def prelude(*, magic=MAGIC, version=VERSION, count=0, header=0, body=0):
    return PRELUDE.pack(magic, version, count, header, body)


@pytest.mark.parametrize(
    ("bytes_", "words"),
    [
        (prelude(body=1 << 60, count=1), "claims 1152921504606846976 bytes"),
        (prelude(header=(1 << 32) - 1), "claims a header of 4294967295 bytes"),
        (prelude(magic=b"HTTP"), "is not of the NeuroSAM2 protocol"),
        (prelude(version=VERSION + 1), f"speaks version {VERSION + 1}"),
        (prelude(count=17, body=1000), "17 buffers"),
        (prelude(count=2, body=15), "2 buffers in 15 bytes"),
        (prelude(count=0, body=8), "0 buffers in 8 bytes"),
        (prelude(count=1, header=2, body=9) + b"{}" + struct.pack("<Q", 1 << 60) + b"x", "should have"),
    ],
)
def test_a_frame_that_cannot_be_is_refused_before_anything_is_allocated(bytes_, words):
    tracemalloc.start()
    with pytest.raises(ProtocolError, match=words):
        read_all(bytes_)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_an_unauthenticated_client_may_say_little():
    with pytest.raises(ProtocolError, match="bytes of buffers"):
        read_all(pack_frame(b"{}", [b"x" * 100]), PREAUTH_LIMITS)
    with pytest.raises(ProtocolError, match="claims a header"):
        read_all(pack_frame(b" " * 5000), PREAUTH_LIMITS)


PREDICT = {
    "type": "PredictSlice",
    "id": 1,
    "volume_id": "v",
    "prompts": {
        "object_id": 1,
        "plane": {"axis": "k", "index": 3},
        "points": [{"row": 1, "col": 2.5, "positive": True}],
        "box": None,
        "mask": None,
        "revision": 4,
    },
}


def changed(value, *path):
    header = json.loads(json.dumps(PREDICT))
    place = header
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(header).encode()


@pytest.mark.parametrize(
    ("header", "buffers", "error", "words"),
    [
        (b"\xff\xfe", (), ProtocolError, "is not JSON"),
        (b"[" * 100000, (), ProtocolError, "is not JSON"),
        (b'{"a": NaN}', (), ProtocolError, "is not JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", (), ProtocolError, "is not JSON"),
        (b"[]", (), ProtocolError, "expected an object"),
        (b'{"type": "Status"}', (), ProtocolError, "needs a number"),
        (b'{"type": "Status", "id": -1}', (), ProtocolError, "needs a number"),
        (b'{"type": "exec", "id": 1}', (), ProtocolError, "no message 'exec'"),
        (b'{"type": "ModelLoaded", "id": 1}', (), ProtocolError, "no message 'ModelLoaded'"),
        (b'{"type": "Status", "id": 1, "x": 2}', (), ProtocolError, "no field 'x'"),
        (b'{"type": "Cancel", "id": 1}', (), ProtocolError, "Cancel.target is missing"),
        (b'{"type": "Cancel", "id": 1, "target": true}', (), ProtocolError, "Cancel.target is True; expected a whole number"),
        (b'{"type": "Cancel", "id": 1, "target": 99999999999999999999}', (), ProtocolError, "64 bits"),
        (b'{"type": "CloseVolume", "id": 1, "volume_id": "\\ud800"}', (), ProtocolError, "expected a text"),
        (b'{"type": "Status", "id": 1}', (b"x",), ProtocolError, "1 buffers that it does not speak of"),
        (changed("up", "prompts", "plane", "axis"), (), ProtocolError, "one of i, j, k"),
        (changed(None, "prompts", "plane"), (), ProtocolError, "prompts.plane is None; expected a table"),
        (changed({}, "prompts", "points"), (), ProtocolError, "expected a list"),
        (changed(1e999, "prompts", "points", 0, "row").replace(b"Infinity", b"1e999"), (), ProtocolError, "finite"),
        (changed(0, "prompts", "object_id"), (), PromptError, "start at 1"),
        (changed({"mask": {"bits": 0, "shape": [2, 2]}}, "prompts", "mask"), (), ProtocolError, "number of a buffer"),
        (changed({"mask": {"bits": 0, "shape": [2, 9]}}, "prompts", "mask"), (b"x",), ProtocolError, "1 bytes of bits"),
        (changed({"mask": {"bits": 0, "shape": [-2, -2]}}, "prompts", "mask"), (b"x",), ProtocolError, "two positive"),
    ],
)  # fmt: skip
def test_a_message_that_does_not_say_what_it_must_is_an_error_that_names_the_place(header, buffers, error, words):
    (frame,) = read_all(pack_frame(header, buffers))
    with pytest.raises(error, match=words):
        decode_request(frame)


def test_an_error_comes_back_as_the_class_it_was():
    failed = messages.Failed(request_id=1, kind="PromptError", message="no", hint="yes")
    assert type(failed.to_error()) is PromptError
    assert str(failed.to_error()) == "no (yes)"
    for odd in ("Cancelled", "annotations", "dataclass", "nothing of ours"):
        assert type(messages.Failed(request_id=1, kind=odd, message="no").to_error()) is WorkerError


def test_the_same_content_has_the_same_name_and_other_content_another():
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 1000, (4, 5, 6), dtype=np.int16)

    def name_of(array, matrix=None):
        volume = Volume(array, np.eye(4) if matrix is None else matrix)
        return volume_id(wire_voxels(volume), wire_matrix(volume))

    first = name_of(voxels)
    assert name_of(np.asfortranarray(voxels)) == first
    assert name_of(voxels.astype(">i2")) == first
    other = voxels.copy()
    other[3, 4, 5] += 1
    assert len({first, name_of(other), name_of(voxels.astype(np.int32)), name_of(voxels, np.diag([2.0, 1, 1, 1]))}) == 4
    hashing = VolumeHash(wire_voxels(Volume(voxels, np.eye(4))), wire_matrix(Volume(voxels, np.eye(4))))
    assert not hashing.step(100)
    assert hashing.step(1000)
    assert hashing.volume_id == first
    assert name_of(voxels.transpose(0, 2, 1).reshape(4, 5, 6)) != first
