"""What docs/protocol.md shows is what the code does: its frames, its messages, and its client against a real worker."""

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from NeuroSAM2Core.remote.codec import decode_event, decode_request, encode_event, encode_request
from NeuroSAM2Core.remote.framing import AUTHENTICATED_LIMITS, FrameReader, pack_frame
from NeuroSAM2Core.remote.messages import ClientMessage, WorkerMessage
from NeuroSAM2Core.remote.upload import DTYPES, as_bytes, volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import unpack_mask
from Testing.Support.worker import TOKEN

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(.*?)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def blocks(language):
    return [(words.split(), text) for kind, words, text in BLOCKS if kind == language]


def frame_of(data):
    reader = FrameReader()
    reader.feed(data)
    (frame,) = reader.frames()
    assert not reader.has_partial_frame
    return frame


EXAMPLES = [
    (words[0], json.loads(line), int(words[1]) if len(words) > 1 else 0)
    for words, text in blocks("json")
    for line in text.splitlines()
]


@pytest.mark.parametrize(("sender", "header", "num_buffers"), EXAMPLES, ids=[e[1]["type"] for e in EXAMPLES])
def test_an_example_is_a_message(sender, header, num_buffers):
    frame = frame_of(pack_frame(json.dumps(header).encode(), [b"\xc4"] * num_buffers))
    if sender == "client":
        heard = decode_request(frame)
        again = encode_request(heard.number, heard.message)
    else:
        again = encode_event(decode_event(frame))
    assert json.loads(frame_of(again).header) == header


def test_every_message_has_an_example():
    for sender, union in (("client", ClientMessage), ("worker", WorkerMessage)):
        shown = {header["type"] for who, header, _ in EXAMPLES if who == sender}
        assert shown == {kind.__name__ for kind in get_args(union)}


def test_the_frames_in_hexadecimal_are_frames():
    shown = blocks("hex")
    assert [words for words, _ in shown] == [["Hello"], ["PredictSlice"]]
    for (name,), text in shown:
        data = bytes.fromhex(text)
        heard = decode_request(frame_of(data))
        assert type(heard.message).__name__ == name
        assert encode_request(heard.number, heard.message) == data
    np.testing.assert_array_equal(heard.message.prompts.mask.mask, [[True, True, False], [False, False, True]])


def test_the_limits_and_types_are_those_of_the_code():
    assert (AUTHENTICATED_LIMITS.max_header_bytes, AUTHENTICATED_LIMITS.max_body_bytes) == (2**20, 2**25)
    assert "at most 2^20" in PAGE
    assert "at most 2^25" in PAGE
    assert all(f"`{name}`" in PAGE for name in DTYPES)


def test_the_client_on_the_page_works(worker, ball, small_model_file):
    ((_, code),) = blocks("python")
    names = {}
    exec(code, names)
    client = names["Client"](worker.port, TOKEN)
    number = client.send({"type": "LoadModel", "model": small_model_file, "device": "cpu", "image_size": None})
    assert client.final(number, ["ModelLoaded"])[0]["image_size"] == 64
    voxels, matrix = wire_voxels(ball), wire_matrix(ball)
    key = client.open(bytes(as_bytes(voxels)), voxels.dtype.name, ball.shape, matrix)
    assert key == volume_id(voxels, matrix)
    box = {"row0": 12, "col0": 14, "row1": 35, "col1": 41}
    prompts = {
        "object_id": 1,
        "plane": {"axis": "k", "index": 7},
        "points": [],
        "box": box,
        "mask": None,
        "revision": 1,
    }
    number = client.send({"type": "PredictSlice", "volume_id": key, "prompts": prompts})
    header, buffers = client.final(number, ["SliceAnswered"])
    mask = header["mask"]
    assert mask["revision"] == 1
    assert unpack_mask(client.bits(mask["mask"], buffers), tuple(mask["mask"]["shape"])).shape == (48, 56)
    client.sock.close()
