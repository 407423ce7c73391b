"""A lab's server under load: simulated people click, with time to think in between, and what each click waits is held against its share.

Everybody has a volume of their own. Three in four times they click again on the slice they are on, else they put a box on another one;
now and then they propagate some slices. A click's own compute is what the worker's counters say of the clicks within half a minute of it.
Its fair wait is that for everybody for whom there was something to compute when it was made, divided by the number of workers.

Usage: python -m benchmarks.serve [--people 50] [--minutes 10] [--processes 1] [--think 12] [--publish]
"""

import argparse
import re
import selectors
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.report import as_table, publish
from NeuroSAM2Core import Volume
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.remote import (
    Disconnected,
    EngineClient,
    Event,
    Failed,
    LoadModel,
    PredictSlice,
    Propagate,
    SliceTracked,
    Superseded,
)
from NeuroSAM2Core.remote.messages import FinalEvent
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.volumes import ball_volume

SHAPE = (32, 128, 128)
BOX = (22, 22, 105, 105)
"""Around the object on its middle slices."""
MIDDLE, AROUND = 16, 5
"""Boxes are put on slices so near to the middle."""
SAME_SLICE, PROPAGATES = 0.75, 0.05
"""How likely the next click is on the slice before, and that a person propagates first."""
ARRIVAL_S = 1.0
"""Between two people who come."""
MEMORY_GB = 2.0
"""What the server may take for volumes, features and masks."""
LOOK_S = 5.0
"""Between two looks at the server's memory and counters."""
WINDOW_S = 30.0
"""What the counters say is taken over so long before and after a click: other programs come and go."""
MAX_RATIO = 3.0
NEW, AGAIN = "first on a slice", "again on it"


@dataclass(frozen=True, slots=True)
class Click:
    """A click that was answered."""

    person: int
    made: float
    """When."""
    kind: str
    wait_s: float
    num_active: int
    """People for whom there was something to compute when it was made, this one among them."""


@dataclass(slots=True)
class Person:
    """A client that clicks, thinks and clicks again."""

    number: int
    client: EngineClient
    rng: np.random.Generator
    think_s: float
    key: str = ""
    opening: int = 0
    index: int = MIDDLE
    points: tuple[PointPrompt, ...] = ()
    revision: int = 0
    next_at: float = 0.0
    waiting: dict[int, tuple[float, str, int]] = field(default_factory=dict)
    """When each click that is not answered was made, its kind, and how many people were active."""
    propagation: int = 0
    num_slices: int = 0

    def begin(self, volume: Volume) -> None:
        """Loads the model and opens the volume."""
        self.client.submit(LoadModel(model="nano", device="cpu"))
        self.opening = self.client.open_volume(volume)
        self.key = self.client.volume_id(self.opening)

    @property
    def is_ready(self) -> bool:
        """The volume is open."""
        return self.opening not in self.client.unanswered

    @property
    def is_active(self) -> bool:
        """There is something to compute for this person."""
        return bool(self.client.unanswered)

    def act(self, now: float, num_others: int) -> None:
        """Clicks, if it is time to; so many others are active."""
        if not self.is_ready or self.waiting or now < self.next_at:
            return
        if self.revision and self.propagation not in self.client.unanswered and self.rng.random() < PROPAGATES:
            first, last = max(0, self.index - AROUND), self.index + AROUND
            self.propagation = self.client.submit(
                Propagate(volume_id=self.key, object_ids=(1,), first=first, last=last)
            )
        kind = AGAIN if self.points and self.rng.random() < SAME_SLICE else NEW
        if kind == NEW:
            self.index = MIDDLE + int(self.rng.integers(-AROUND, AROUND + 1))
            self.points = ()
        row, col = self.rng.uniform(50, 78, 2)
        self.points = (*self.points[-7:], PointPrompt(float(row), float(col)))
        self.revision += 1
        prompts = PromptSet(
            object_id=1,
            plane=SlicePlane(Axis.K, self.index),
            box=BoxPrompt(*map(float, BOX)),
            points=self.points,
            revision=self.revision,
        )
        number = self.client.submit(PredictSlice(volume_id=self.key, prompts=prompts))
        self.waiting[number] = now, kind, num_others + 1

    def take(self, event: Event, now: float) -> Click | None:
        """A click that the event answers."""
        if not isinstance(event, FinalEvent) or event.request_id not in self.waiting:
            self.num_slices += isinstance(event, SliceTracked)
            return None
        made, kind, num_active = self.waiting.pop(event.request_id)
        self.next_at = now + self.rng.exponential(self.think_s)
        return Click(self.number, made, kind, now - made, num_active)


class Crowd:
    """People who click.

    Args:
        address: Port and token.
        size: How many they will be.
    """

    def __init__(self, address: tuple[int, str], size: int) -> None:
        self.address, self.people = address, list[Person]()
        volume, rng = ball_volume(SHAPE)[0], np.random.default_rng(21)
        voxels = [(100 * volume.voxels + rng.integers(0, 20, SHAPE)).astype(np.int16) for _ in range(size)]
        self._volumes = [Volume(one, volume.ijk_to_ras) for one in voxels]
        self.clicks, self.errors = list[Click](), list[str]()
        self._selector = selectors.DefaultSelector()

    def come(self, think_s: float) -> None:
        """One more person."""
        client = EngineClient.connect("127.0.0.1", *self.address)
        number = len(self.people)
        self.people.append(Person(number, client, np.random.default_rng((21, number)), think_s))
        self.people[-1].begin(self._volumes[number])

    def look(self, *, may_act: bool) -> None:
        """Lets everybody see what has come, and click."""
        self._selector.close()  # a connection in the making changes its socket
        self._selector = selectors.DefaultSelector()
        for person in self.people:
            if not person.client.is_closed:
                writes = selectors.EVENT_WRITE if person.client.wants_write else 0
                self._selector.register(person.client, selectors.EVENT_READ | writes)
        self._selector.select(0.02)
        for person in self.people:
            for event in person.client.poll():
                if isinstance(event, Failed | Disconnected | Superseded):
                    self.errors.append(f"person {person.number}: {event}")
                if (click := person.take(event, time.monotonic())) is not None:
                    self.clicks.append(click)
            if may_act and not person.client.is_closed:
                others = sum(one.is_active for one in self.people if one is not person)
                person.act(time.monotonic(), others)

    @property
    def num_waiting(self) -> int:
        """Clicks that are not answered."""
        return sum(len(person.waiting) for person in self.people)

    def leave(self) -> None:
        """Everybody goes."""
        for person in self.people:
            person.client.close()
        self._selector.close()


@dataclass(slots=True)
class Server:
    """A server in processes of its own."""

    process: "subprocess.Popen[str]"
    address: tuple[int, str]
    metrics: str
    memory_gb: list[tuple[float, float]] = field(default_factory=list)
    """When it was looked at, and how much all processes together held."""
    counters: list[tuple[float, float, float]] = field(default_factory=list)
    """When they were asked for, seconds of computing clicks until then, and clicks."""

    def look(self) -> None:
        """Looks at memory and counters."""
        clicks_s = self.counted("neurosam2_compute_seconds_total", request="PredictSlice")
        self.counters.append(
            (time.monotonic(), clicks_s, self.counted("neurosam2_requests_total", request="PredictSlice"))
        )
        leader = psutil.Process(self.process.pid)
        held = sum(one.memory_info().rss for one in (leader, *leader.children(recursive=True)))
        self.memory_gb.append((time.monotonic(), held / 2**30))

    def counted(self, name: str, **labels: str) -> float:
        """The sum of a counter over all workers."""
        with urllib.request.urlopen(self.metrics, timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [line for line in lines if line.startswith(f"{name}{{") and all(one in line for one in wanted)]
        return sum(float(line.split()[-1]) for line in found)


@contextmanager
def started(people: int, processes: int) -> Iterator[Server]:
    """A server on loopback."""
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        words = ["--port", "0", "--token-file", str(token), "--processes", str(processes), "--metrics-port", "0"]
        words += ["--max-clients", str(people + processes), "--max-memory", str(MEMORY_GB)]
        command = [sys.executable, "-m", "NeuroSAM2Core", "serve", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
            assert process.stdout is not None
            told = ""
            while "counters on" not in told:
                told += process.stdout.readline()
            ports = re.findall(r"port (\d+);|(http://\S+)", told)
            address = int(ports[0][0]), token.read_text(encoding="utf-8").strip()
            try:
                yield Server(process, address, ports[-1][1])
            finally:
                process.terminate()
            assert process.wait(30) == 0


def loaded(server: Server, people: int, minutes: float, think_s: float) -> Crowd:
    """So many people for so long after the last has come."""
    crowd, looked = Crowd(server.address, people), 0.0
    begin = time.monotonic()
    end = begin + ARRIVAL_S * people + 60 * minutes
    while (now := time.monotonic()) < end or crowd.num_waiting:
        if len(crowd.people) < people and now > begin + ARRIVAL_S * len(crowd.people):
            crowd.come(think_s)
        crowd.look(may_act=now < end)
        if now - looked > LOOK_S:
            server.look()
            looked = now
        if now > end + 60:
            crowd.errors.append(f"{crowd.num_waiting} clicks are not answered")
            break
    crowd.leave()
    return crowd


def own_compute(server: Server, crowd: Crowd) -> NDArray[np.float64]:
    """Seconds of computing a click at the time of each click of a crowd."""
    made = np.array([one.made for one in crowd.clicks])
    times, seconds, counts = (np.array(column) for column in zip(*server.counters, strict=True))
    before, after = np.maximum(made - WINDOW_S, times[0]), np.minimum(made + WINDOW_S, times[-1])
    passed = [np.interp(after, times, values) - np.interp(before, times, values) for values in (seconds, counts)]
    return np.asarray(passed[0] / passed[1])


def table_of(server: Server, crowd: Crowd, count: int) -> str:
    """What came of it.

    Args:
        server: That was loaded.
        crowd: That loaded it.
        count: Its workers.
    """
    server.look()
    all_s = server.counted("neurosam2_compute_seconds_total")
    own = own_compute(server, crowd)
    waits = np.array([one.wait_s for one in crowd.clicks])
    active = np.array([one.num_active for one in crowd.clicks])
    ratios = waits / (own * np.maximum(1.0, active / count))
    medians = [np.median([one.wait_s for one in crowd.clicks if one.person == who.number]) for who in crowd.people]
    times, held = (np.array(column) for column in zip(*server.memory_gb, strict=True))
    late = held[times > times[0] + (times[-1] - times[0]) / 2]
    kinds = Counter(one.kind for one in crowd.clicks)

    def ms(seconds: float) -> str:
        return f"{1000 * seconds:.0f} ms"

    rows = [
        ("clicks answered", f"{len(crowd.clicks)} ({kinds[NEW]} {NEW})", ""),
        ("slices propagated beside them", str(sum(person.num_slices for person in crowd.people)), ""),
        ("share of the time that a worker computed", f"{all_s / (times[-1] - times[0]) / count:.0%}", ""),
        ("errors", str(len(crowd.errors)), "0"),
        ("people with something to compute, 95th percentile over clicks", f"{np.percentile(active, 95):.0f}", ""),
        ("own compute of a click at that load, mean", ms(float(own.mean())), ""),
        ("wait of a click, median", ms(float(np.median(waits))), ""),
        ("wait of a click, 95th percentile", ms(float(np.percentile(waits, 95))), ""),
        ("wait over fair wait, median", f"{np.median(ratios):.2f}", ""),
        ("wait over fair wait, 95th percentile", f"{np.percentile(ratios, 95):.2f}", f"{MAX_RATIO:g}"),
        ("median wait of a person, the least and the most", f"{ms(min(medians))} to {ms(max(medians))}", ""),
        ("memory of all processes, at most", f"{held.max():.2f} GB", f"{MEMORY_GB:g} GB beside the libraries"),
        ("of that, in the second half, first to last", f"{late[0]:.2f} to {late[-1]:.2f} GB", ""),
    ]
    return as_table(("what", "measured", "must"), rows)


def measure(people: int = 50, minutes: float = 10.0, *, processes: int = 1, think_s: float = 12.0) -> str:
    """The table of a load."""
    with started(people, processes) as server:
        crowd = loaded(server, people, minutes, think_s)
        table = table_of(server, crowd, processes)
    for one in crowd.errors[:20]:
        print(one, file=sys.stderr)
    workers = f"{processes} worker{'s' * (processes > 1)}"
    return f"{people} people, {minutes:g} minutes, {think_s:g} s to think on average, {workers}.\n\n{table}"


def main(words: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--think", type=float, default=12.0, help="seconds between a mask and the next click, on average"
    )
    parser.add_argument("--publish", action="store_true", help="put the table into benchmarks/README.md")
    asked = parser.parse_args(words)
    text = measure(asked.people, asked.minutes, processes=asked.processes, think_s=asked.think)
    print(text)
    if asked.publish:
        words_of = (
            f"--people {asked.people} --minutes {asked.minutes:g} --processes {asked.processes} --think {asked.think:g}"
        )
        publish("serve", f"python -m benchmarks.serve {words_of}", text)


if __name__ == "__main__":
    main()
