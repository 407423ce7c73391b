"""What the scene adds: to a click, to a streamed slice, and how long the main thread is ever held while slices stream.

Then the same click, and what the panel reads on every tick, beside a hundred other objects.

An engine that answers at once stands in for the real one, so that everything measured is the scene's and this project's own: prompts as
Markups, the undo state, prompt sets, and masks written into a segment of a 256 x 256 x 180 volume, with a visible display node.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "NeuroSAM2Slicer"))

from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver

from benchmarks.report import as_table
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import LoadModel, PredictSlice, Propagate
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume
from Testing.Support.sessions import place_point

SHAPE = (180, 256, 256)
HEAD = ("what", "median", "longest", "must")
MIDDLE = SHAPE[0] // 2
SMALL = (9, 40, 44)
OBJECTS = 100
TICKS = 20
LONG, NUM_TRACKED = (300, 32, 32), 30
BOX = BoxPrompt(60, 60, 190, 190)


class TimedEngine(FakeEngine):
    """Counts its own time, which is none of the scene's."""

    def __init__(self) -> None:
        super().__init__(is_patient=True)
        self.own_s = 0.0

    def work(self, steps: int | None = None) -> None:
        """As the fake engine, on the clock."""
        started = time.perf_counter()
        super().work(steps)
        self.own_s += time.perf_counter() - started


def measure() -> str:
    """The table of this file."""
    with tempfile.TemporaryDirectory() as folder:
        return as_table(HEAD, rows(Path(folder)) + rows_of_many(Path(folder)) + [row_of_tracking(Path(folder))])


def rows_of_many(folder: Path) -> list[tuple[str, ...]]:
    """A click and a tick of a panel where there are many objects."""
    app = HeadlessApplication(folder)
    engine = TimedEngine()
    presenter = SegmentPresenter(app, EngineChoice(), lambda choice: engine)
    voxels = np.random.default_rng(0).integers(0, 1000, SMALL).astype(np.int16)
    presenter.select(add_volume(app, voxels, GEOMETRIES["oblique"]), presenter.new_segmentation())
    session = presenter.session
    assert session is not None
    for number in range(OBJECTS):
        session.next_object()
        session.add_box(SlicePlane(Axis.K, 4), BoxPrompt(4, 4, 12 + number % 8, 20))
        answer(session, engine)

    def tick() -> None:
        presenter.poll()
        presenter.view()

    ticks = [timed(tick, engine) for _ in range(TICKS)]
    clicks = [timed(lambda n=n: one_click(session, engine, n), engine) for n in range(TICKS)]
    assert len(session.document.objects.segments) == OBJECTS
    return [
        (f"a tick of the panel, {OBJECTS} objects", ms(statistics.median(ticks)), ms(max(ticks)), "5 ms"),
        (f"added to a click, {OBJECTS} objects", ms(statistics.median(clicks)), ms(max(clicks)), "50 ms"),
    ]


def row_of_tracking(folder: Path) -> tuple[str, ...]:
    """What the scene adds to a propagation of many objects through many slices, in all."""
    app = HeadlessApplication(folder)
    volume_node = add_volume(
        app, np.random.default_rng(0).integers(0, 1000, LONG).astype(np.int16), GEOMETRIES["oblique"]
    )
    node, _ = add_segmentation(app)
    engine = TimedEngine()
    session = SessionController(app, EngineLink(lambda: engine, LoadModel(model="nano")), volume_node, node)
    session.warm_up()
    for number in range(NUM_TRACKED):
        session.next_object()
        session.add_box(SlicePlane(Axis.K, LONG[0] // 2), BoxPrompt(4, 4, 12 + number % 8, 20))
        answer(session, engine)

    def propagate() -> None:
        session.propagate(object_ids=tuple(session.document.records))
        while session.engine_sync.propagation.request is not None:
            engine.work(1)
            session.poll()

    whole = timed(propagate, engine)
    assert all(len(record.quality) == LONG[0] for record in session.document.records.values())
    what = f"{NUM_TRACKED} objects propagated through {LONG[0]} slices of {LONG[1]} x {LONG[2]}, in all"
    return what, f"{whole:.2f} s", "", "2 s"


def one_click(session: SessionController, engine: TimedEngine, number: int) -> None:
    """A point on the middle slice of the small volume."""
    place_point(session, SlicePlane(Axis.K, 4), 5 + number % 8, 10 + number % 5)
    answer(session, engine)


def rows(folder: Path) -> list[tuple[str, ...]]:
    """A click, and a propagation through all slices."""
    app = HeadlessApplication(folder)
    voxels = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
    volume_node = add_volume(app, voxels, GEOMETRIES["oblique"])
    node, _ = add_segmentation(app)
    engine = TimedEngine()
    link = EngineLink(lambda: engine, LoadModel(model="nano"))
    session = SessionController(app, link, volume_node, node)
    watch = SessionObserver(session)
    session.warm_up()
    session.add_box(SlicePlane(Axis.K, MIDDLE), BOX)
    answer(session, engine)
    clicks = [timed(lambda n=n: click(session, engine, n), engine) for n in range(30)]
    asked = timed(session.propagate, engine)
    streamed = []
    while session.engine_sync.propagation.request is not None:
        engine.work(1)
        streamed.append(timed(session.poll, engine))
    kinds = [type(one) for one in engine.requests]
    assert kinds.count(Propagate) == 1
    assert kinds.count(PredictSlice) == 31
    assert len(session.document.active_record.quality) == SHAPE[0]
    undo = timed(session.undo, engine)
    watch.end("measured")
    where = "256 x 256 x 180"
    return [
        ("added to a click, " + where, ms(statistics.median(clicks)), ms(max(clicks)), "15 ms"),
        ("added to a streamed slice, " + where, ms(statistics.median(streamed)), ms(max(streamed)), "10 ms"),
        ("main thread held while streaming, " + where, "", ms(max([asked, *streamed])), "50 ms"),
        ("undo of a whole propagation, " + where, ms(undo), "", "100 ms"),
    ]


def click(session: SessionController, engine: TimedEngine, number: int) -> None:
    """One more point on the middle slice, answered and written."""
    place_point(session, SlicePlane(Axis.K, MIDDLE), 70 + 3 * number, 120, positive=number % 2 == 0)
    answer(session, engine)


def answer(session: SessionController, engine: TimedEngine) -> None:
    """Until every prompt is answered."""
    while session.engine_sync.is_waiting:
        engine.work()
        session.poll()


def timed(act: Callable[[], object], engine: TimedEngine) -> float:
    """Seconds of one call without the engine's own."""
    before, started = engine.own_s, time.perf_counter()
    act()
    return time.perf_counter() - started - (engine.own_s - before)


def ms(seconds: float) -> str:
    """Milliseconds for people."""
    return f"{1000 * seconds:.1f} ms"
