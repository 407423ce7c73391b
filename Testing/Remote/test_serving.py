"""Who is let in, and what happens to those who are not: on real sockets, while others are being served."""

import json
import random
import select
import socket
import struct
import threading

import pytest

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.remote import EngineClient, connector
from NeuroSAM2Core.remote.codec import encode_event, encode_request
from NeuroSAM2Core.remote.framing import MAGIC, PRELUDE, VERSION, pack_frame
from NeuroSAM2Core.remote.messages import (
    Cancel,
    Disconnected,
    Failed,
    Finished,
    Heartbeat,
    Hello,
    LoadModel,
    OpenVolume,
    Precompute,
    Propagate,
    Refused,
    RestoreSlice,
    SliceAnswered,
    Status,
    VoxelChunk,
    VoxelFile,
    VoxelsWanted,
    Welcome,
    WorkerStatus,
)
from NeuroSAM2Core.remote.server.request_handler import RequestHandler
from NeuroSAM2Core.remote.upload import volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Axis
from Testing.Support.worker import LIMIT_S, TOKEN, ThreadedWorker, answer, box_on, events_until

BAD_PREDICT = {
    "type": "PredictSlice",
    "id": 1,
    "volume_id": "v",
    "prompts": {
        "object_id": 0,
        "plane": {"axis": "k", "index": 1},
        "points": [],
        "box": None,
        "mask": None,
        "revision": 0,
    },
}
HELLO_WITH_VOXELS = pack_frame(b"{}", [b"x" * 100])


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (pack_frame(json.dumps(BAD_PREDICT).encode()), "object ids start at 1"),
        (encode_request(0, Hello(token="0" * 64, client="x")), "token is not the one"),
        (encode_request(0, Hello(token="", client="x")), "token is not the one"),
        (encode_request(0, Hello(token="\N{LATIN SMALL LETTER E WITH ACUTE}", client="x")), "token is not the one"),
        (encode_request(1, Status()), "first message must be a Hello"),
        (PRELUDE.pack(MAGIC, VERSION + 1, 0, 2, 0) + b"{}", f"speaks version {VERSION + 1}"),
        (PRELUDE.pack(MAGIC, VERSION, 1, 2, 1 << 60), "claims 1152921504606846976 bytes"),
        (HELLO_WITH_VOXELS, "bytes of buffers"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "is not of the NeuroSAM2 protocol"),
        (pack_frame(b"no json at all"), "is not JSON"),
    ],
)
def test_an_unauthenticated_client_is_refused_with_a_reason_and_others_are_served(worker, client, payload, words):
    stranger = worker.raw(greets=False)
    stranger.send_bytes(payload)
    refused = stranger.next()
    assert isinstance(refused, Refused)
    assert words in refused.message
    assert stranger.next() is None
    assert isinstance(answer(client, Status()), WorkerStatus)


def test_wrong_tokens_are_logged_with_a_limit_and_never_themselves(worker, caplog):
    for _ in range(30):
        stranger = worker.raw(greets=False)
        stranger.send(0, Hello(token="not-the-one", client="x"))
        assert isinstance(stranger.next(), Refused)
    assert caplog.text.count("wrong token") == 10
    assert "not-the-one" not in caplog.text


def test_a_refused_client_gets_one_sentence(worker):
    client = worker.client(token="wrong")
    (last,) = events_until(client, lambda e: isinstance(e, Disconnected))
    assert "token" in last.reason
    assert "new token" in last.hint
    assert client.is_closed
    assert client.poll() == []
    with pytest.raises(WorkerError, match="has ended"):
        client.submit(Status())
    with pytest.raises(WorkerError, match="has ended"):
        client.fileno()


@pytest.mark.parametrize(
    "payload",
    [
        b"garbage that goes on and on",
        PRELUDE.pack(MAGIC, VERSION, 1, 9, 1 << 60),
        struct.pack("<4sHHIQ", MAGIC, 9, 0, 0, 0),
    ],
)
def test_a_client_sending_garbage_is_disconnected_and_others_are_served(worker, client, payload):
    bad = worker.raw()
    bad.send_bytes(payload)
    failed = bad.next_of(Failed)
    assert failed.kind == "ProtocolError"
    assert failed.request_id == 0
    assert bad.next() is None
    assert answer(client, Status()).num_clients == 1


def test_a_message_that_makes_no_sense_fails_alone(worker):
    raw = worker.raw()
    raw.send_bytes(pack_frame(b'{"type":"Cancel","id":5,"target":"all"}'))
    failed = raw.next_of(Failed)
    assert (failed.request_id, failed.kind) == (5, "ProtocolError")
    assert "Cancel.target" in failed.message
    raw.send(0, Status())
    assert "numbered from 1" in raw.next_of(Failed).message
    raw.send(6, Hello(token="x", client="x"))
    assert "shown already" in raw.next_of(Failed).message
    raw.send(7, Status())
    assert raw.next_of(WorkerStatus).request_id == 7


def test_half_a_message_and_then_silence_or_the_end_harms_nobody(worker, client):
    frame = encode_request(1, Status())
    half, gone = worker.raw(), worker.raw()
    half.send_bytes(frame[: len(frame) // 2])
    gone.send_bytes(frame[: len(frame) // 2])
    gone.close()
    assert isinstance(answer(client, Status()), WorkerStatus)
    half.send_bytes(frame[len(frame) // 2 :])
    assert half.next_of(WorkerStatus).request_id == 1


def test_whoever_shows_no_token_in_time_is_ended(client):
    with ThreadedWorker(handshake_s=0.05, heartbeat_s=0.05) as worker:
        silent = worker.raw(greets=False)
        assert "in time" in silent.next().message
        assert silent.next() is None
        assert isinstance(answer(worker.client(), Status()), WorkerStatus)


def test_only_so_many_clients_are_served_and_one_may_come_when_another_goes():
    with ThreadedWorker(max_clients=1) as worker:
        first = worker.client()
        assert isinstance(answer(first, Status()), WorkerStatus)
        (last,) = events_until(worker.client(), lambda e: isinstance(e, Disconnected))
        assert "serves 1 clients already" in last.reason
        first.close()
        raw = worker.raw()  # the worker hears of the first one's end before it hears of this one
        raw.send(1, Status())
        assert raw.next_of(WorkerStatus).num_clients == 1


def test_many_unauthenticated_clients_do_not_keep_a_client_out(worker):
    strangers = [worker.raw(greets=False) for _ in range(40)]
    assert isinstance(answer(worker.client(), Status()), WorkerStatus)
    assert isinstance(strangers[0].next(), Refused)


def test_the_worker_says_that_it_lives():
    with ThreadedWorker(heartbeat_s=0.05) as worker:
        client = worker.client()
        beats = events_until(client, lambda e: isinstance(e, Heartbeat))
        assert isinstance(beats[0], Welcome)
        assert beats[-1] == Heartbeat(busy_with=0, busy_s=0.0)


def test_a_worker_that_falls_silent_is_taken_for_dead():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = EngineClient.connect(*mute.getsockname(), "token")
        peer, _ = mute.accept()
        welcome = Welcome(version="0", pid=1, voxel_folder="", heartbeat_s=0.01)
        peer.sendall(encode_event(welcome))
        events = events_until(client, lambda e: isinstance(e, Disconnected))
        assert events[0] == welcome
        assert "has not answered for" in events[-1].reason
        peer.close()


def test_an_address_where_nobody_listens_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    client = EngineClient.connect(*address, "token")
    assert "nobody listens" in events_until(client, lambda e: isinstance(e, Disconnected))[-1].reason
    client = EngineClient.connect("no.such.host.invalid", 1, "token")
    assert "no host" in events_until(client, lambda e: isinstance(e, Disconnected))[-1].reason


def looking_up(monkeypatch, look_up):
    """Names are looked up like this."""
    numeric = socket.getaddrinfo

    def getaddrinfo(host, port, *, type, flags):  # noqa: A002  (as the library has it)
        if flags & socket.AI_NUMERICHOST:
            return numeric(host, port, type=type, flags=flags)
        return [numeric(host, port, type=type)[0] for host, port in look_up(host, port)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_every_address_of_a_host_is_tried(worker, monkeypatch):
    looking_up(monkeypatch, lambda host, port: [("127.0.0.2", 9), ("::1", 9), ("127.0.0.1", worker.port)])
    client = EngineClient.connect("engine.example", 1, TOKEN)
    assert isinstance(events_until(client, lambda e: isinstance(e, Welcome))[-1], Welcome)
    client.close()


def test_an_address_that_does_not_answer_gives_way_to_the_next(worker, monkeypatch):
    with socket.socket() as full:  # its queue takes one, and then nobody else
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        taken = [socket.socket() for _ in range(3)]
        for one in taken:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        monkeypatch.setattr(connector, "NEXT_AFTER_S", 0.05)
        looking_up(monkeypatch, lambda host, port: [full.getsockname(), ("127.0.0.1", worker.port)])
        client = EngineClient.connect("engine.example", 1, TOKEN)
        assert isinstance(events_until(client, lambda e: isinstance(e, Welcome))[-1], Welcome)
        client.close()
        for one in taken:
            one.close()


def test_a_look_up_that_takes_its_time_holds_up_nobody(worker, monkeypatch):
    may_answer = threading.Event()
    looking_up(monkeypatch, lambda host, port: may_answer.wait(LIMIT_S) and [("127.0.0.1", worker.port)])
    client = EngineClient.connect("engine.example", 1, TOKEN)
    request = client.submit(Status())
    assert client.poll() == []
    assert not client.wants_write
    before = client.fileno()
    may_answer.set()
    assert select.select([before], [], [], LIMIT_S)[0]  # who watches it is woken
    events = events_until(client, lambda e: isinstance(e, WorkerStatus))
    assert events[-1].request_id == request
    client.close()


def test_a_look_up_that_nobody_waits_for_any_more_is_given_up(monkeypatch):
    may_answer = threading.Event()
    looking_up(monkeypatch, lambda host, port: may_answer.wait(LIMIT_S) and [("127.0.0.1", 9)])
    client = EngineClient.connect("engine.example", 1, "token")
    client.close()
    may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "look-up":
            thread.join(LIMIT_S)
    assert client.poll() == []


def test_a_program_that_is_no_worker_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        client = EngineClient.connect(*other.getsockname(), "token")
        peer, _ = other.accept()
        peer.sendall(b"220 mail.example ESMTP ready\r\n")
        last = events_until(client, lambda e: isinstance(e, Disconnected))[-1]
        assert "not of the NeuroSAM2 protocol" in last.reason
        peer.close()


def test_cancelling_what_is_not_there_is_no_mistake(client):
    assert answer(client, Cancel(target=77)) == Finished(request_id=1)


def test_requests_may_not_share_a_number_while_one_is_open(worker, ball):
    raw = worker.raw()
    voxels, matrix = wire_voxels(ball), wire_matrix(ball)
    request = OpenVolume(
        volume_id=volume_id(voxels, matrix), shape=ball.shape, dtype=voxels.dtype.name, ijk_to_ras=matrix
    )
    raw.send(1, request)
    assert isinstance(raw.next_of(VoxelsWanted), VoxelsWanted)
    raw.send(1, Status())
    assert "has not ended" in raw.next_of(Failed).message


def test_whatever_is_thrown_at_the_worker_others_are_served_on(worker, client, key, attack_seed):
    rng = random.Random(attack_seed)
    mask = answer(client, box_on(key, 7)).mask
    frames = [
        encode_request(3, message)
        for message in (
            Hello(token=TOKEN, client="x"),
            LoadModel(model="nano", device="cpu"),
            VoxelChunk(volume_id=key, start=0, is_compressed=True, data=b"x" * 30),
            VoxelFile(volume_id=key, name="x"),
            RestoreSlice(volume_id=key, mask=mask, prompts=box_on(key, 7).prompts),
            Propagate(volume_id=key, object_ids=(1, 2)),
            Precompute(volume_id=key, axis=Axis.K, index=5),
            Cancel(target=3),
        )
    ]
    for number in range(150):
        raw = worker.raw(greets=number % 3 > 0)
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.randrange(4)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        raw.send_bytes(bytes(frame[: rng.choice([len(frame), rng.randrange(1, len(frame))])]))
        raw.close()
    assert isinstance(answer(client, box_on(key, 8)), SliceAnswered)


def test_a_client_that_does_not_read_is_ended_before_it_costs_memory():
    with ThreadedWorker(max_outgoing_bytes=100_000) as worker:
        raw, other = worker.raw(), worker.client()
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            for number in range(1, 1_000_000):
                raw.send(number, Status())
        assert answer(other, Status()).num_clients == 1


def test_a_defect_in_taking_a_message_ends_that_client_only(worker, client, monkeypatch, caplog):
    raw = worker.raw()
    monkeypatch.setattr(RequestHandler, "_open", lambda *_: 1 / 0)
    raw.send(1, OpenVolume(volume_id="v", shape=(1, 1, 1), dtype="int8", ijk_to_ras=()))
    assert "defect of its own: ZeroDivisionError" in raw.next_of(Failed).message
    assert raw.next() is None
    assert "Traceback" in caplog.text
    assert isinstance(answer(client, Status()), WorkerStatus)
