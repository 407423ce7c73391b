"""What the browser app's views cost on a CT with many objects: a click until its mask is seen, another slice, and the 3D view.

An engine that answers at once stands in for the real one. Everything else is the app's own: scene, undo, masks, pictures as JPEG, and
surfaces in their process. CPU time of all threads stands beside the time by the clock, because it does not grow when the machine has
other work. The last rows draw the same slices as Slicer's views do, with its displayable manager.
"""

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "NeuroSAM2Slicer"))

from NeuroSAM2Lib.headless.surface_process import PAUSE_S, SurfaceProcess
from NeuroSAM2Lib.headless.views import ORIENTATIONS, SliceView
from NeuroSAM2Lib.presenters.tools import BY_NAME
from NeuroSAM2Lib.scene.segments.layers import Layer, reference_grid
from NeuroSAM2Web.bridge import BUSY_S

from benchmarks.report import as_table
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import GEOMETRIES, add_volume
from Testing.Web.app_user import AppUser

SHAPE = (400, 512, 512)
WIDTH, HEIGHT = 900, 700
MIDDLE, REACH = SHAPE[0] // 2, 30
TIMES = 9
PATCH = 12
"""Voxels."""
HEAD = ("what", "by the clock, median", "longest", "CPU, median", "must")
REPAIRED = ("grow", "smooth", "holes", "largest", "split")
COLUMNS, ROW_PX, COLUMN_PX, OBJECT_PX = 5, 115, 95, 80


def patches() -> NDArray[np.int16]:
    """A CT of tissues of a few mm, with noise."""
    rng = np.random.default_rng(0)
    tissues = rng.integers(-100, 400, [-(-size // PATCH) for size in SHAPE], dtype=np.int16)
    for axis, size in enumerate(SHAPE):
        tissues = tissues.repeat(PATCH, axis).take(range(size), axis)
    tissues += rng.integers(-12, 13, SHAPE[1:], dtype=np.int16)
    return tissues


def ellipsoid(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The one that fills a box."""
    parts = [np.linspace(-1, 1, size) ** 2 for size in shape]
    return np.asarray(parts[0][:, None, None] + parts[1][:, None] + parts[2] <= 1)


@dataclass(frozen=True, slots=True)
class Times:
    """Of one thing that was done several times, in seconds."""

    clock: list[float]
    cpu: list[float]


class Reader:
    """A person who has outlined so many objects."""

    def __init__(self, folder: Path, num_objects: int) -> None:
        voxels = patches()
        self.user = AppUser(folder, lambda host: add_volume(host, voxels, GEOMETRIES["upright"], name="CT"))
        self.session, self.views = self.user.presenter.session, self.user.app_state.views
        for number in range(num_objects):
            self.outline(number)
        for name in ORIENTATIONS:
            self.views.picture(name, WIDTH, HEIGHT)

    def outline(self, number: int) -> None:
        """One more object through 61 slices: one is asked for, the others are written into its labelmap."""
        self.session.next_object()
        row, column = 20 + number // COLUMNS * ROW_PX, 20 + number % COLUMNS * COLUMN_PX
        box = BoxPrompt(row, column, row + OBJECT_PX, column + OBJECT_PX)
        self.session.add_box(SlicePlane(Axis.K, MIDDLE), box)
        self.answer()
        node = self.user.app_state.segmentation_node
        layer, grid = Layer(node, self.session.document.objects.segment_id(number + 1)), reference_grid(node)
        assert grid is not None
        extent = column, column + OBJECT_PX, row, row + OBJECT_PX, MIDDLE - REACH, MIDDLE + REACH
        layer.reserve(extent, grid)
        block = layer.block(extent)
        block[ellipsoid(block.shape) & (block == 0)] = layer.label
        layer.announce()

    def answer(self) -> None:
        """Until every prompt is answered."""
        while self.session.engine_sync.is_waiting:
            self.user.engines[-1].work()
            self.user.wake()

    def click(self, number: int) -> None:
        """One more click, and the picture that shows its mask."""
        self.views.click("Red", WIDTH / 2 + 5 * number, HEIGHT / 2, WIDTH, HEIGHT, True)
        self.answer()
        self.views.picture("Red", WIDTH, HEIGHT)

    def outline_all(self) -> None:
        """One more object, as large as the image, with a hole, and two parts."""
        self.session.next_object()
        node = self.user.app_state.segmentation_node
        layer, grid = (
            Layer(node, self.session.document.objects.segment_id(self.session.document.active)),
            reference_grid(node),
        )
        assert grid is not None
        layer.reserve(grid.extent, grid)
        block = layer.block(grid.extent)
        block[ellipsoid(block.shape)] = layer.label
        middle = tuple(slice(size // 2 - PATCH, size // 2 + PATCH) for size in block.shape)
        block[middle] = 0
        block[:PATCH, :PATCH, :PATCH] = layer.label
        layer.announce()

    def repair(self, name: str) -> tuple[Times, Times]:
        """A repair of the active object, and its undo: how long the main thread is held at a time, and how long all of it takes."""
        held, whole = Times([], []), time.perf_counter()

        def does(act: Callable[[], object]) -> None:
            one = timed(act, 1)
            held.clock.extend(one.clock)
            held.cpu.extend(one.cpu)

        does(lambda: self.user.presenter.repair(name))
        while self.session.background.is_running:
            time.sleep(BUSY_S)
            does(self.user.wake)
        whole = time.perf_counter() - whole
        assert self.session.undo(), self.session.notice
        self.user.wake()
        return held, Times([whole], [])

    def turn(self, number: int) -> None:
        """Another slice and its picture."""
        self.views.wheel("Red", 1 if number % 2 else -1)
        self.views.picture("Red", WIDTH, HEIGHT)

    async def solid(self) -> tuple[Times, Times]:
        """A new slice until it is seen in 3D, and how long the main thread is held for it."""
        process, whole, held = SurfaceProcess(), Times([], []), Times([], [])
        await process.draw(WIDTH, HEIGHT)
        while process.update(self.user.app_state.segmentation_node):
            await process.draw(WIDTH, HEIGHT)
        for number in range(TIMES):
            self.session.add_box(SlicePlane(Axis.K, MIDDLE + REACH + 1 + number), BoxPrompt(20, 20, 90, 90))
            self.answer()
            await asyncio.sleep(PAUSE_S)
            held_now = timed(lambda: process.update(self.user.app_state.segmentation_node), 1)
            started, cpu = time.perf_counter(), cpu_of_children()
            assert await process.draw(WIDTH, HEIGHT)
            held.clock.extend(held_now.clock)
            held.cpu.extend(held_now.cpu)
            whole.clock.append(held_now.clock[0] + time.perf_counter() - started)
            whole.cpu.append(held_now.cpu[0] + cpu_of_children() - cpu)
        await process.close()
        return whole, held


def measure() -> str:
    """The table of this file."""
    rows = []
    for num_objects in (1, 10, 20):
        with tempfile.TemporaryDirectory() as folder:
            rows.extend(rows_of(Path(folder), num_objects))
    with tempfile.TemporaryDirectory() as folder:
        rows.extend(rows_of_repairs(Path(folder)))
    return as_table(HEAD, rows)


def rows_of_repairs(folder: Path) -> Iterator[tuple[str, ...]]:
    """Of an object as large as the image."""
    reader = Reader(folder, 1)
    reader.outline_all()
    for name in REPAIRED:
        held, whole = reader.repair(name)
        title = BY_NAME[name].title
        yield row(f"{title}, of the whole image: the main thread is held", held, "100 ms")
        yield row(f"{title}, until it is done", whole, "")


def rows_of(folder: Path, num_objects: int) -> list[tuple[str, ...]]:
    """With so many objects."""
    reader = Reader(folder, num_objects)
    where = f"{num_objects} object{'s' * (num_objects > 1)}"
    numbers = itertools.count()
    rows = [
        row(f"click to visible mask, {where}", timed(lambda: reader.click(next(numbers)), TIMES), "500 ms"),
        row(f"another slice, {where}", timed(lambda: reader.turn(next(numbers)), TIMES), "50 ms"),
    ]
    whole, held = asyncio.run(reader.solid())
    rows.append(row(f"a new slice until it is seen in 3D, {where}", whole, "1000 ms"))
    rows.append(row(f"of that, the main thread is held, {where}", held, "100 ms"))
    app = reader.user.host
    view = SliceView(app, "Blue", "Axial", (WIDTH, HEIGHT))
    view.show(reader.user.app_state.volume_node)
    view.draw()

    def turn() -> None:
        view.node.SetSliceOffset(view.node.GetSliceOffset() + 1)
        view.draw()

    rows.append(row(f"another slice in a view of Slicer's, {where}", timed(turn, TIMES), ""))
    return rows


def cpu_of_children() -> float:
    """Seconds that the processes that were started have computed so far."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


def timed(act: Callable[[], object], times: int) -> Times:
    """How long it takes, several times."""
    found = Times([], [])
    for _ in range(times):
        clock, cpu = time.perf_counter(), time.process_time()
        act()
        found.clock.append(time.perf_counter() - clock)
        found.cpu.append(time.process_time() - cpu)
    return found


def row(what: str, times: Times, must: str) -> tuple[str, ...]:
    """A row of the table."""
    cpu = ms(statistics.median(times.cpu)) if times.cpu else ""
    return what, ms(statistics.median(times.clock)), ms(max(times.clock)), cpu, must


def ms(seconds: float) -> str:
    """Milliseconds for people."""
    return f"{1000 * seconds:.0f} ms"
