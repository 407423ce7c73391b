"""Compares the workers of two source trees: clicks and propagations in turn, so that a busy machine slows both alike.

Usage: python -m benchmarks.paired BASE_TREE [--clicks N] [--propagations N]

Each tree answers from a process of its own, with its own `benchmarks.worker`. CPU time is that of client and worker together; what else
the machine does changes it less than wall time.
"""

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.report import as_table

CLICK, PROPAGATION = "click", "propagation, per slice"
HEAD = ("what", "base", "this tree", "median of ratios")
WARM_UP = 0.05
"""The first of all repeats, as a share, which are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one click, or one slice of a propagation, took; milliseconds."""

    wall: float
    cpu: float


class Tree:
    """The process that measures one source tree."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests, self._answers = requests, answers

    def cost(self, what: str) -> Cost:
        """Has one click or propagation done."""
        print(what, file=self._requests, flush=True)
        wall, cpu = map(float, self._answers.readline().split())
        return Cost(wall=wall, cpu=cpu)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=__doc__)
    parser.add_argument("base", type=Path, help="the source tree that this one is compared with")
    parser.add_argument("--clicks", type=int, default=300)
    parser.add_argument("--propagations", type=int, default=10)
    arguments = parser.parse_args()
    with measuring(arguments.base.resolve()) as base, measuring(Path(__file__).resolve().parents[1]) as ours:
        rows = [*compared(CLICK, arguments.clicks, base, ours)]
        rows += compared(PROPAGATION, arguments.propagations, base, ours)
    print(as_table(HEAD, rows))


def compared(what: str, count: int, base: Tree, ours: Tree) -> Iterator[tuple[str, ...]]:
    """The rows of one measurement: medians, and the median of the ratios of neighbours in time."""
    pairs = []
    for number in range(count):
        if number % 2:
            pairs.append((base.cost(what), ours.cost(what)))
        else:
            pairs.append((ours.cost(what), base.cost(what))[::-1])
    pairs = pairs[int(WARM_UP * count) + 1 :]
    for name, times in (
        ("wall time", [(a.wall, b.wall) for a, b in pairs]),
        ("CPU time", [(a.cpu, b.cpu) for a, b in pairs]),
    ):
        before, after = (statistics.median(one) for one in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        yield f"{what}, {name}", f"{before:.2f} ms", f"{after:.2f} ms", f"{ratio:.3f}"


@contextmanager
def measuring(tree: Path) -> Iterator[Tree]:
    """A source tree whose worker runs, and is ended afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", f"import runpy; runpy.run_path({__file__!r})['answer']()"],
        cwd=tree,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield Tree(process.stdin, process.stdout)
        process.stdin.close()


def answer() -> None:
    """Measures what is asked for on standard input, until that ends."""
    bench: Any = importlib.import_module(
        "benchmarks.worker"
    )  # of the tree, whose packages may have other names than ours
    prompts = getattr(bench, "prompts", None) or bench.said
    volume = bench.ball_volume(bench.SHAPE)[0]
    volume = bench.Volume(volume.voxels.astype(np.int16), volume.ijk_to_ras)
    with bench.Worker(bench.EngineClient.launch()) as worker:
        worker.start(volume, time.perf_counter())
        for number, line in enumerate(sys.stdin):
            request = bench.PredictSlice(volume_id=worker.volume_id, prompts=prompts(number % 8))
            num_slices = 1
            if line.strip() == CLICK:
                before = now(worker.client.worker.process.pid)
                worker.ask(request)
            else:
                worker.ask(request)
                events: list[object] = []
                before = now(worker.client.worker.process.pid)
                worker.until_ended(worker.propagate(), events.append)
                num_slices = sum(isinstance(event, bench.SliceTracked) for event in events)
            after = now(worker.client.worker.process.pid)
            print(*(1000 * (b - a) / num_slices for a, b in zip(before, after, strict=True)), flush=True)


def now(worker_pid: int) -> tuple[float, float]:
    """The time, and the CPU time that this process and its worker have taken so far; seconds."""
    nanoseconds = sum(
        int((thread / "schedstat").read_text(encoding="utf-8").split()[0])
        for pid in (os.getpid(), worker_pid)
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )
    return time.perf_counter(), nanoseconds / 1e9


if __name__ == "__main__":
    main()
