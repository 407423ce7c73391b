"""What the worker adds to the engine: per click, per streamed slice, and from Cancel to stopped."""

import gc
import select
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from benchmarks.report import as_table, seconds
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.remote import (
    Cancel,
    Disconnected,
    EngineClient,
    Event,
    Failed,
    LoadModel,
    PredictSlice,
    Propagate,
    Request,
    SliceTracked,
)
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.volumes import ball_volume

HEAD = ("what", "bare engine", "through the worker", "added", "must")
SHAPE = (180, 256, 256)
MIDDLE = SHAPE[0] // 2
FIRST, LAST = MIDDLE - 45, MIDDLE + 45
CLICKS, RUNS, CANCELS = 40, 3, 10

Row = tuple[str, ...]


def measure() -> str:
    """The table of this file: nano on a volume of 256 x 256 x 180 voxels."""
    volume = ball_volume(SHAPE)[0]
    volume = Volume(volume.voxels.astype(np.int16), volume.ijk_to_ras)
    began = time.perf_counter()
    with Worker(EngineClient.launch()) as worker:
        rows: list[Row] = list(worker.start(volume, began))
        session = Session(load_model("nano", device="cpu"), volume)
        rows += [clicking(session, worker, "15 ms"), streaming(session, worker, "10 ms")]
        rows += [worker.longest_poll("clicking and streaming", "50 ms"), cancelling(session, worker), keeping(worker)]
    for row in rows:
        print(*row, sep=" | ", flush=True)
    return as_table(HEAD, rows)


class Worker:
    """A client that waits, and keeps count of how long its polls take."""

    def __init__(self, client: EngineClient) -> None:
        self.client, self.volume_id, self.longest_poll_s = client, "", 0.0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def start(self, volume: Volume, began: float) -> list[Row]:
        """Model and volume, and how long that takes."""
        while not self.client.is_ready:
            self.look()
        welcome_s = time.perf_counter() - began
        self.ask(LoadModel(model="nano", device="cpu"))
        model_s = time.perf_counter() - began
        submitted = time.perf_counter()
        number = self.client.open_volume(volume)
        hash_s = time.perf_counter() - submitted
        self.volume_id = self.client.volume_id(number)
        self.until_ended(number)
        open_s = time.perf_counter() - submitted
        return [
            ("start of a worker until it answers", "", f"{welcome_s:.2f} s", "", ""),
            ("start until the model is loaded", "", f"{model_s:.2f} s", "", ""),
            ("open a volume the worker does not hold", "", f"{1000 * open_s:.0f} ms", "", ""),
            ("of that, the client is held up (hash)", "", f"{1000 * hash_s:.0f} ms", "", "100 ms"),
            self.longest_poll("starting and opening", "100 ms"),
        ]

    def longest_poll(self, during: str, must: str) -> Row:
        """The longest time that `poll` held the client up since this was asked last."""
        held_up_s, self.longest_poll_s = self.longest_poll_s, 0.0
        return f"longest `poll` while {during}", "", f"{1000 * held_up_s:.1f} ms", "", must

    def look(self) -> list[Event]:
        """What has happened; waits a little."""
        select.select([self.client], [self.client] if self.client.wants_write else [], [], 0.5)
        started = time.perf_counter()
        events = self.client.poll()
        self.longest_poll_s = max(self.longest_poll_s, time.perf_counter() - started)
        return events

    def until_ended(self, number: int, on_event: Callable[[Event], None] = lambda _: None) -> None:
        """Waits for the final event of a request."""
        while number in self.client.unanswered:
            for event in self.look():
                assert not isinstance(event, Failed | Disconnected), event
                on_event(event)

    def ask(self, request: Request) -> None:
        """Submits and waits."""
        self.until_ended(self.client.submit(request))

    def propagate(self) -> int:
        """Submits a propagation of the range and returns its number."""
        return self.client.submit(Propagate(volume_id=self.volume_id, object_ids=(1,), first=FIRST, last=LAST))


def prompts(count: int) -> PromptSet:
    """The box of the object, and as many clicks."""
    clicks = tuple(PointPrompt(100 + 2.0 * n, 128) for n in range(count))
    box = BoxPrompt(60, 66, 195, 190)
    return PromptSet(object_id=1, plane=SlicePlane(Axis.K, MIDDLE), box=box, points=clicks, revision=count)


def clicking(session: Session, worker: Worker, must: str) -> Row:
    """One more click on a slice, both in turn."""
    bare, through = [], []
    for count in range(CLICKS):
        request = PredictSlice(volume_id=worker.volume_id, prompts=prompts(count % 8))
        bare.append(seconds(lambda n=count: session.set_prompts(prompts(n % 8))))
        through.append(seconds(lambda r=request: worker.ask(r)))
    return added("click", bare[1:], through[1:], must)


def streaming(session: Session, worker: Worker, must: str) -> Row:
    """Per slice of a propagation of 90 slices, both in turn, features not yet known the first time."""
    bare, through = [], []
    for run in range(RUNS):
        worker.ask(PredictSlice(volume_id=worker.volume_id, prompts=prompts(run)))
        session.set_prompts(prompts(run))
        started = time.perf_counter()
        count = sum(1 for _ in session.propagate(1, first=FIRST, last=LAST))
        bare.append((time.perf_counter() - started) / count)
        slices: list[Event] = []
        started = time.perf_counter()
        number = worker.propagate()
        worker.until_ended(number, slices.append)
        slices = [event for event in slices if isinstance(event, SliceTracked)]
        through.append((time.perf_counter() - started) / len(slices))
        assert len(slices) == count
    return added("propagation, per slice", bare, through, must)


def cancelling(session: Session, worker: Worker) -> Row:
    """From Cancel to stopped, beside what one slice takes."""
    steps, stops = [], []
    for run in range(CANCELS):
        worker.ask(PredictSlice(volume_id=worker.volume_id, prompts=prompts(run % 3 + 3)))
        session.set_prompts(prompts(run % 3 + 3))
        steps.append(seconds(lambda s=session: next(s.propagate(1, first=FIRST, last=LAST))))
        number = worker.propagate()
        num_slices = 0
        while num_slices < 3:
            num_slices += sum(isinstance(event, SliceTracked) for event in worker.look())
        stops.append(seconds(lambda n=number: worker.ask(Cancel(target=n))))
        assert number not in worker.client.unanswered
    step, stop = 1000 * statistics.median(steps), 1000 * statistics.median(stops)
    return "Cancel until stopped, beside one slice", f"{step:.1f} ms", f"{stop:.1f} ms", "", "one slice"


def keeping(worker: Worker) -> Row:
    """What the client holds more after each further propagation of 90 slices."""
    held = []
    tracemalloc.start()
    for run in range(RUNS):
        worker.ask(PredictSlice(volume_id=worker.volume_id, prompts=prompts(run)))
        worker.until_ended(worker.propagate())
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    growth_kb = (held[-1] - held[0]) / (RUNS - 1) / 1024
    return "client's memory, per further propagation", "", f"{growth_kb:+.1f} kB", "", "constant"


def added(what: str, bare: list[float], through: list[float], must: str) -> Row:
    """Medians, in milliseconds, and their difference."""
    a, b = 1000 * statistics.median(bare), 1000 * statistics.median(through)
    return what, f"{a:.1f} ms", f"{b:.1f} ms", f"{b - a:.1f} ms", must
