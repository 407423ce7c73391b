"""This engine beside the reference package on the same random weights, slices and prompts, taking turns in one process."""

import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks import memory
from benchmarks.pair import AXIAL, BOX, NAME, OPTIONS, SIDE, drain, load_as_reference, our_model, ours, theirs
from benchmarks.report import HEAD, as_table, beside, seconds
from NeuroSAM2Core import EngineOptions, Session, load_model
from NeuroSAM2Core.inference.precision import fastest_dtype
from NeuroSAM2Core.model import to_model_input
from NeuroSAM2Core.volume import percentile_window
from Testing.Support.reference import ReferenceVideo, reference_model
from Testing.Support.volumes import noise_volume

Row = tuple[str, ...]


def measure() -> str:
    """The table of this file."""
    rows: list[Row] = []

    def add(*more: Row) -> None:
        for row in more:
            print(*row, sep=" | ", flush=True)
            rows.append(row)

    for size, count, repeats, musts in (
        (256, 64, 3, ("1.25x", "3x", "1.5x")),
        (512, 64, 1, ("1.1x", "2.3x", "1.7x")),
        (1024, 12, 1, ("1.0x", "", "2x")),
    ):
        add(*passes(size, count, repeats, musts))
    for size, count, must in ((256, 64, "2.5x"), (512, 64, "2.5x"), (512, 256, "5x")):
        add(first_mask(size, count, must))
    add(session_with_corrections(256, "6x"), session_with_corrections(512, "5x"))
    add(*many_objects(256))
    add(memory.per_slice(512, "0.35 MB"), memory.per_slice(1024, "0.9 MB"))
    add(precision(), *nano())
    return as_table(HEAD, rows)


def passes(size: int, count: int, repeats: int, musts: tuple[str, str, str]) -> list[Row]:
    """First and second propagation and a click, in milliseconds."""
    volume = noise_volume(count, SIDE, SIDE)
    predictor, model = reference_model(NAME, size, video=True), our_model(size)
    first, second, click = ([], []), ([], []), ([], [])  # type: tuple[tuple[list[float], list[float]], ...]
    for _ in range(repeats):
        run, session = theirs(predictor, volume, size), ours(model, volume)
        first[0].append(seconds(run.propagate) / (count - 1))
        first[1].append(seconds(lambda s=session: drain(s)) / (count - 1))
        run.add(count - 1, 1, points=[[100, 100]], labels=[1])
        session.add_point(1, AXIAL, count - 1, (100, 100))
        second[0].append(seconds(run.propagate) / (count - 1))
        second[1].append(seconds(lambda s=session: drain(s)) / (count - 2))
        for place in (90, 110, 130, 150, 170):
            click[0].append(seconds(lambda r=run, x=place: r.add(count - 1, 1, points=[[x, 120]], labels=[1])))
            click[1].append(seconds(lambda s=session, x=place: s.add_point(1, AXIAL, count - 1, (120, x))))
    where = f"{size} px, {count} slices"
    return [
        beside(f"{what}, {where}", 1000 * statistics.median(a), 1000 * statistics.median(b), target=must)
        for what, (a, b), must in zip(
            ("first propagation, per slice", "after a correction, per slice", "click"),
            (first, second, click),
            musts,
            strict=True,
        )
    ]


def first_mask(size: int, count: int, must: str) -> Row:
    """From voxels to the mask of the first box, on the middle slice."""
    volume, index = noise_volume(count, SIDE, SIDE), count // 2
    predictor, model = reference_model(NAME, size, video=True), our_model(size)
    times = [
        (
            seconds(lambda: theirs(predictor, volume, size, index=index)),
            seconds(lambda: ours(model, volume, index=index)),
        )
        for _ in range(3)
    ]
    a, b = (1000 * statistics.median(side) for side in zip(*times, strict=True))
    return beside(f"first mask, {size} px, {count} slices", a, b, target=must)


def session_with_corrections(size: int, must: str) -> Row:
    """64 slices, the object in 20 of them, three corrections; both go over the slices in the same order, so that masks must agree."""
    low, high, places = 22, 41, (30, 38, 25)
    volume = noise_volume(64, SIDE, SIDE)
    keeps_corrections = ("++model.add_all_frames_to_correct_as_cond=true",)
    predictor, model = reference_model(NAME, size, overrides=keeps_corrections, video=True), our_model(size)
    frames = to_model_input(torch.from_numpy(percentile_window(volume.voxels).normalise(volume.voxels)), size)
    run = ReferenceVideo(predictor, frames, SIDE, SIDE, half_memory=True)
    session = Session(model, volume, options=EngineOptions.as_reference())
    masks: dict[int, np.ndarray] = {}

    def reference() -> None:
        run.add(low, 1, box=(BOX[1], BOX[0], BOX[3], BOX[2]))
        for place in (None, *places):
            if place is not None:
                run.add(place, 1, points=[[100, 100]], labels=[1])
            masks.update(run.propagate())
            masks.update(run.propagate(reverse=True))

    def here() -> None:
        session.add_box(1, AXIAL, low, BOX)
        for place in (None, *places):
            if place is not None:
                session.add_point(1, AXIAL, place, (100, 100))
            for _ in session.propagate(1, first=low, last=high):
                pass

    a, b = seconds(reference), seconds(here)
    overlaps = [iou(masks[n][0, 0] > 0, session.slice_mask(1, AXIAL, n).mask) for n in range(low, high + 1)]
    return beside(f"session, {size} px (masks agree: mean IoU {np.mean(overlaps):.3f})", a, b, unit="s", target=must)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap over union; 1 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def many_objects(size: int) -> list[Row]:
    """Sixteen objects and one, over 12 slices."""
    count = 12
    volume = noise_volume(count, SIDE, SIDE)
    predictor, model = reference_model(NAME, size, video=True), our_model(size)
    times: dict[int, tuple[float, float]] = {}
    for objects in (1, 16):
        run = ReferenceVideo(predictor, load_as_reference(volume, size), SIDE, SIDE, half_memory=True)
        session = Session(model, volume, options=OPTIONS)
        for number in range(1, objects + 1):
            run.add(0, number, points=[[10 * number, 100]], labels=[1])
            session.add_point(number, AXIAL, 0, (100, 10 * number))

        def all_of_them(s: Session = session) -> None:
            for _ in s.propagate():
                pass

        times[objects] = seconds(run.propagate), seconds(all_of_them)
    a, b = (times[16][side] / times[1][side] for side in (0, 1))
    return [
        beside(f"sixteen objects, {size} px, {count} slices", times[16][0], times[16][1], unit="s", target="1.5x"),
        (f"sixteen objects over one, {size} px", f"{a:.1f}", f"{b:.1f}", "", "5.5"),
    ]


def precision() -> Row:
    """The number type that is chosen here, in place of the reference, against float32."""
    volume, model = noise_volume(12, SIDE, SIDE), our_model(512)
    times = []
    for options in (OPTIONS, replace(OPTIONS, is_exact=False)):
        session = ours(model, volume, options)
        times.append(seconds(lambda s=session: drain(s)) / 11)
    chosen = str(fastest_dtype(torch.device("cpu"))).removeprefix("torch.")
    name = f"number type chosen ({chosen}) against float32, 512 px, per slice"
    return beside(name, 1000 * times[0], 1000 * times[1], target="1.0x")


def nano() -> list[Row]:
    """The bundled model's own speed. It has other weights than tiny: this compares no quality."""
    volume = noise_volume(32, SIDE, SIDE)
    session = Session(load_model("nano", device="cpu"), volume, options=replace(OPTIONS, is_exact=False))
    session.add_box(1, AXIAL, 16, BOX)
    per_slice = seconds(lambda: drain(session)) / 31
    session.add_point(1, AXIAL, 20, (100, 100))
    click: Callable[[int], object] = lambda i: session.add_point(1, AXIAL, 20, (100 + i, 90))  # noqa: E731
    per_click = statistics.median(seconds(lambda i=i: click(i)) for i in range(9))
    return [
        ("nano, 256 px, per slice", "", f"{1000 * per_slice:.1f} ms", "", "45 ms"),
        ("nano, 256 px, click", "", f"{1000 * per_click:.1f} ms", "", "8 ms"),
    ]
