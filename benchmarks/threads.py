"""How OpenMP's threads should wait for each other: on an otherwise idle machine and beside other programs on all cores.

Torch's threads spin for each other at the end of every parallel part. Where another program holds the core that one of them needs, the
others burn theirs in the meantime, slice after slice. Each candidate is a process of its own, since OpenMP reads its variables once.

Usage: python -m benchmarks.run threads
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO

from benchmarks.report import as_table, seconds

CORES = os.cpu_count() or 1
CANDIDATES: dict[str, dict[str, str]] = {
    "default": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=2000": {"GOMP_SPINCOUNT": "2000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
if CORES > 2:
    CANDIDATES["OMP_NUM_THREADS=cores-1"] = {"OMP_NUM_THREADS": str(CORES - 1)}
PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_")
PARTS = {"click": "nano: click", "slice": "nano: slice", "large": "tiny, 256 px: slice"}
LOADS = ("as it is", "busy")
LIMIT_S = 160.0
MIN_ROUNDS = 3
MAX_PART_S = 0.4
"""No part of a measurement takes longer; beside other programs one slice may take seconds."""
SPIN = "while True: pass"


@dataclass(slots=True)
class Candidate:
    """A process with its own variables, and what it took so far."""

    process: "subprocess.Popen[str]"
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Medians of single measurements, ms, by part and load."""

    def measure(self, load: str) -> None:
        """One round."""
        for part, milliseconds in self.ask("measure").items():
            self.samples.setdefault((part, load), []).append(milliseconds)

    def ask(self, word: str) -> dict[str, float]:
        """Sends a line and waits for the answer."""
        sender, receiver = self.process.stdin, self.process.stdout
        assert sender is not None
        assert receiver is not None
        send(sender, word)
        return json.loads(receiver.readline())


def measure() -> str:
    """The table of this file: medians over rounds in which all candidates take turns."""
    began = time.monotonic()
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        candidates = {name: stack.enter_context(started(variables)) for name, variables in CANDIDATES.items()}
        in_turn, rounds = list(candidates.values()), 0
        while rounds < MIN_ROUNDS or (time.monotonic() - began) * (rounds + 1) / rounds < LIMIT_S:
            for load in LOADS:
                with others_on_all_cores(CORES if load == "busy" else 0):
                    for candidate in in_turn[rounds % len(in_turn) :] + in_turn[: rounds % len(in_turn)]:
                        candidate.measure(load)
            rounds += 1
    head = ("ms", *(f"{what}, {load}" for what in PARTS.values() for load in LOADS))
    rows = []
    for name, candidate in candidates.items():
        cells = [candidate.samples[part, load] for part in PARTS for load in LOADS]
        rows.append((name, *(f"{statistics.median(cell):.0f} ({min(cell):.0f} to {max(cell):.0f})" for cell in cells)))
        print(*rows[-1], sep=" | ", flush=True)
    return (
        f"Median over {rounds} rounds (smallest to largest), {CORES} cores. As it is: nothing added, load average before the first round "
        f"{load_before:.1f}; busy: {CORES} plain Python processes that spin, on top.\n\n{as_table(head, rows)}"
    )


@contextmanager
def started(variables: dict[str, str]) -> Iterator[Candidate]:
    """A candidate, warm."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)} | variables
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.threads"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        candidate = Candidate(process)
        candidate.ask("warm")
        yield candidate
    finally:
        process.kill()
        process.wait()


@contextmanager
def others_on_all_cores(count: int) -> Iterator[None]:
    """That many programs that do nothing but compute."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def send(stream: IO[str], text: str) -> None:
    """Writes a line at once."""
    stream.write(text + "\n")
    stream.flush()


def serve() -> None:
    """The process of a candidate: measures whenever it is asked to."""
    from benchmarks.pair import our_model
    from NeuroSAM2Core import EngineOptions, Session, load_model
    from NeuroSAM2Core.model import SAM2
    from Testing.Support.volumes import ball_volume

    volume = ball_volume((20, 256, 256))[0]
    nano, tiny = load_model("nano", device="cpu"), our_model(256)
    options = EngineOptions(stop_after_absent=None)
    clicked = Session(nano, volume)
    cols = itertools.count()

    def click() -> None:
        clicked.add_point(1, "axial", 10, (128, 100 + next(cols) % 40))

    def propagated(model: SAM2) -> Iterator[object]:
        """Slices without end; now and then the box of a new session is among them, which medians do not see."""
        while True:
            session = Session(model, volume, options=options)
            session.add_box(1, "axial", 0, (60, 60, 200, 200))
            yield from session.propagate(1)

    by_nano, by_tiny = propagated(nano), propagated(tiny)

    def once() -> dict[str, float]:
        return {
            "click": median_ms(click, 8),
            "slice": median_ms(lambda: next(by_nano), 6),
            "large": median_ms(lambda: next(by_tiny), 3),
        }

    for line in sys.stdin:
        del line
        send(sys.stdout, json.dumps(once()))


def median_ms(act: Callable[[], object], count: int) -> float:
    """The median of so many times, or of as many as fit."""
    ends = time.monotonic() + MAX_PART_S
    times = [seconds(act)]
    while len(times) < count and time.monotonic() < ends:
        times.append(seconds(act))
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    serve()
