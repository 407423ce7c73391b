"""Workers for tests, on real sockets: one in threads of this process that can be held up at will, and ways to wait for what it says."""

import select
import socket
import threading
import time
from contextlib import contextmanager

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.remote import EngineClient
from NeuroSAM2Core.remote.codec import decode_event, encode_request
from NeuroSAM2Core.remote.framing import FrameStream, StreamEndedError
from NeuroSAM2Core.remote.messages import Disconnected, Hello, LoadModel, PredictSlice
from NeuroSAM2Core.remote.remote_session import wait
from NeuroSAM2Core.remote.server.job_runner import JobRunner
from NeuroSAM2Core.remote.server.options import WorkerLimits
from NeuroSAM2Core.remote.server.process import WorkerProcess, listen
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.models import small_model

TOKEN = "0123456789abcdef" * 4
LIMIT_S = 60.0
POLL_S = 0.05


def save_small_model(path, *, rasterize_prompts=False):
    model = small_model(rasterize_prompts=rasterize_prompts)
    Checkpoint(model.config, model.state_dict(), Provenance(name="small")).save(path)
    return str(path)


class ThreadedWorker:
    """A worker in threads of this process."""

    def __init__(self, folder=None, **limits):
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self._process = WorkerProcess(listener, TOKEN, WorkerLimits(**limits), voxel_folder=folder)
        self._thread = threading.Thread(target=self._process.run)
        self._clients = []
        self._thread.start()

    @property
    def counted(self):
        """What the worker has counted."""
        return self._process.counters.snapshot()

    def client(self, token=TOKEN):
        client = EngineClient.connect("127.0.0.1", self.port, token)
        self._clients.append(client)
        return client

    def raw(self, *, greets=True):
        raw = RawClient(self.port)
        self._clients.append(raw)
        if greets:
            raw.send(0, Hello(token=TOKEN, client="test"))
            raw.next()
        return raw

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self._clients:
            client.close()
        self._process.stop()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


class RawClient:
    """Says what it is told to, byte for byte."""

    def __init__(self, port):
        self.stream = FrameStream(socket.create_connection(("127.0.0.1", port)))
        self._heard = []

    def send(self, number, message):
        self.send_bytes(encode_request(number, message))

    def send_bytes(self, data):
        self.stream.sock.setblocking(True)
        self.stream.sock.sendall(data)
        self.stream.sock.setblocking(False)

    def next(self):
        """The next event; None once the worker has ended the connection."""
        deadline = time.monotonic() + LIMIT_S
        while not self._heard:
            select.select([self.stream], [], [], max(0, deadline - time.monotonic()))
            assert time.monotonic() < deadline, "nothing came"
            try:
                self._heard += [decode_event(frame) for frame in self.stream.receive()]
            except StreamEndedError:
                return None
        return self._heard.pop(0)

    def next_of(self, *kinds):
        while not isinstance(event := self.next(), kinds):
            assert event is not None, "the worker ended the connection"
        return event

    def close(self):
        self.stream.close()


def events_until(client, is_last, limit_s=LIMIT_S):
    """All events up to the first batch with one for which `is_last` holds."""
    deadline, events = time.monotonic() + limit_s, []
    while not any(map(is_last, events)):
        assert time.monotonic() < deadline, f"waited in vain; came: {events}"
        assert not client.is_closed or any(isinstance(e, Disconnected) for e in events), "closed"
        events += wait(client, POLL_S)
    return events


def events_of(client, *numbers):
    """All events until the requests have ended."""
    events, deadline = [], time.monotonic() + LIMIT_S
    while not client.unanswered.keys().isdisjoint(numbers):
        assert time.monotonic() < deadline, f"waited in vain; came: {events}"
        assert not client.is_closed, f"the connection has ended: {events[-1:]}"
        events += wait(client, POLL_S)
    return events


def answer(client, request):
    """The final event of a request."""
    number = client.submit(request)
    return next(e for e in reversed(events_of(client, number)) if getattr(e, "request_id", 0) == number)


def opened(client, volume, model):
    """Loads a model and opens a volume; returns the volume's id."""
    client.submit(LoadModel(model=model, device="cpu"))
    number = client.open_volume(volume)
    key = client.volume_id(number)
    events_of(client, number)
    return key


def box_on(key, index, *, object_id=1, revision=1, box=(12, 14, 35, 41), points=()):
    """A box and clicks on an axial slice."""
    return PredictSlice(
        volume_id=key,
        prompts=PromptSet(
            object_id=object_id,
            plane=SlicePlane(Axis.K, index),
            box=BoxPrompt(*box),
            points=tuple(PointPrompt(*point) for point in points),
            revision=revision,
        ),
    )


@contextmanager
def held(monkeypatch, is_held):
    """Holds the worker's thread at the jobs for which `is_held` says so, until it is let go of."""
    hold = Hold()
    step = JobRunner._step

    def held_step(self, job):
        if is_held(job):
            hold.wait_here()
        return step(self, job)

    monkeypatch.setattr(JobRunner, "_step", held_step)
    try:
        yield hold
    finally:
        hold.let_go()


class Hold:
    def __init__(self):
        self._reached, self._free = threading.Event(), threading.Event()

    def wait_here(self):
        self._reached.set()
        assert self._free.wait(LIMIT_S)

    def wait_until_reached(self):
        assert self._reached.wait(LIMIT_S)

    def let_go(self):
        self._free.set()
