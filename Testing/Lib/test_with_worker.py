"""The whole way: a click in the scene, the real worker, a mask in the segment; the same mask as the command line's."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver

from NeuroSAM2Core import Volume
from NeuroSAM2Core.catalog import find
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import EngineSwitches, LoadModel
from NeuroSAM2Core.volume import Axis, SlicePlane, resolve_axis
from Testing.Support.live import nano_link, wait_quiet, wait_until
from Testing.Support.reopen import masks
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume
from Testing.Support.sessions import place_point
from Testing.Support.volumes import ball_volume

ROOT = Path(__file__).parents[2]
SHAPE = (24, 48, 56)
CENTRE = (28, 24, 12)
FLAT = (9, 48, 56)
CASES = [(name, list(Axis)[number % 3]) for number, name in enumerate(GEOMETRIES)]
CASES += [("oblique", axis) for axis in Axis]


@pytest.fixture(scope="module")
def link():
    link = nano_link()
    yield link
    link.close()


def sit(app, link, geometry="upright", shape=SHAPE):
    voxels = np.array(ball_volume(shape)[0].voxels)
    volume_node = add_volume(app, voxels, GEOMETRIES[geometry])
    node, _ = add_segmentation(app)
    session = SessionController(app, link, volume_node, node)
    session.observer = SessionObserver(session)  # lives as long
    return session


def command_line(volume: Volume, folder: Path, *words: str) -> np.ndarray:
    volume.write(folder / "image.nii.gz")
    out = folder / "mask.nii.gz"
    assert main(["segment", str(folder / "image.nii.gz"), *words, "--device", "cpu", "--out", str(out)]) == 0
    return Volume.read(out).voxels != 0


@pytest.mark.parametrize(("name", "axis"), CASES)
def test_a_click_on_a_world_point_gives_the_command_lines_mask_there(app, link, tmp_path, name, axis):
    session = sit(app, link, name)
    volume = session.document.volume
    plane = SlicePlane(axis, CENTRE["ijk".index(axis)])
    place_point(session, plane, *plane.to_pixel(*CENTRE))
    wait_quiet(session)
    mask = session.document.slice_io.read(1, plane)
    row, col = (round(place) for place in plane.to_pixel(*CENTRE))
    assert mask[row, col]
    words = ("--point", f"{axis}:{plane.index}:{row},{col},+", "--range", f"{plane.index}:{plane.index}")
    np.testing.assert_array_equal(plane.of(command_line(volume, tmp_path, *words)), mask)


def test_the_readings_of_a_click_outlive_an_undo_and_the_worker_and_are_propagated(app, link):
    session = sit(app, link)
    plane = SlicePlane(Axis.K, CENTRE[2])
    session.engine_sync.switches = EngineSwitches(crops=True, ends_by_shape=True)
    place_point(session, plane, CENTRE[1], CENTRE[0])
    wait_quiet(session)
    _, count = session.document.active_record.open_reading(plane)
    masks = [session.document.slice_io.read(1, plane)]

    def take_next():
        session.next_reading(plane)
        wait_quiet(session)
        return session.document.slice_io.read(1, plane)

    masks += [take_next() for _ in range(count)]
    assert len({mask.tobytes() for mask in masks}) == count > 1
    np.testing.assert_array_equal(masks[-1], masks[0])
    session.undo()
    wait_quiet(session)
    np.testing.assert_array_equal(take_next(), masks[0])
    link.engine.worker.process.kill()
    wait_until(session, lambda: link.engine is None or link.engine.is_closed)
    np.testing.assert_array_equal(take_next(), masks[1])
    session.propagate()
    wait_quiet(session)
    np.testing.assert_array_equal(session.document.slice_io.read(1, plane), masks[1])
    assert len(session.document.active_record.quality) > 1


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_a_volume_of_one_slice_and_every_view(app, link, tmp_path, view):
    shape = {"axial": (1, 48, 56), "coronal": (24, 1, 56), "sagittal": (24, 48, 1)}[view]
    whole = np.array(ball_volume(SHAPE)[0].voxels)
    middle = tuple(slice(n // 2, n // 2 + 1) if m == 1 else slice(None) for n, m in zip(SHAPE, shape, strict=True))
    volume_node = add_volume(app, np.ascontiguousarray(whole[middle]), GEOMETRIES["oblique"])
    session = SessionController(app, link, volume_node, add_segmentation(app)[0])
    axis = resolve_axis(session.document.volume, view)
    plane = SlicePlane(axis, 0)
    height, width = plane.of(session.document.volume.voxels).shape
    session.add_box(plane, BoxPrompt(height * 0.2, width * 0.2, height * 0.8, width * 0.8))
    wait_quiet(session)
    mask = session.document.slice_io.read(1, plane)
    assert mask[height // 2, width // 2]
    session.propagate()
    wait_quiet(session)
    box = session.document.active_record.prompts.boxes[0].box
    text = f"{axis}:0:{box.row0},{box.col0},{box.row1},{box.col1}"
    np.testing.assert_array_equal(
        command_line(session.document.volume, tmp_path, "--box", text), plane_voxels(mask, plane, shape)
    )


def plane_voxels(mask, plane, shape):
    voxels = np.zeros(shape, bool)
    plane.of(voxels)[...] = mask
    return voxels


@pytest.mark.parametrize("name", ["left-handed oblique", "under a shear"])
def test_propagation_gives_the_command_lines_volume(app, link, tmp_path, name):
    session = sit(app, link, name, FLAT)
    plane = SlicePlane(Axis.K, 4)
    session.add_box(plane, BoxPrompt(12, 14, 35, 41))
    wait_quiet(session)
    session.propagate()
    wait_quiet(session)
    expected = command_line(session.document.volume, tmp_path, "--box", "k:4:12,14,35,41")
    found = np.stack([session.document.slice_io.read(1, SlicePlane(Axis.K, k)) for k in range(FLAT[0])])
    np.testing.assert_array_equal(found, expected)
    assert found.any(axis=(1, 2)).sum() > 3


def test_undo_after_a_propagation_and_another_one_give_the_same(app, link):
    session = sit(app, link)
    session.add_box(SlicePlane(Axis.K, 12), BoxPrompt(12, 14, 35, 41))
    wait_quiet(session)
    once = masks(session, SHAPE[0])
    session.propagate(first=8, last=16)
    wait_quiet(session)
    twice = masks(session, SHAPE[0])
    session.undo()
    assert masks(session, SHAPE[0]) == once
    session.propagate(first=8, last=16)
    wait_quiet(session)
    assert masks(session, SHAPE[0]) == twice


def test_another_model_in_mid_session_is_notified_everything(app, link, tmp_path):
    session = sit(app, link)
    plane = SlicePlane(Axis.K, 12)
    session.add_box(plane, BoxPrompt(12, 14, 35, 41))
    wait_quiet(session)
    assert session.document.node.model.name == "nano"
    before = masks(session, SHAPE[0])
    path = tmp_path / "mine.safetensors"
    shutil.copy(find("nano").installed(), path)
    model = link.model
    link.use(LoadModel(model=str(path), device="cpu"))
    session.propagate(first=10, last=14)
    wait_quiet(session)
    assert session.document.node.model.name == "mine"
    after = masks(session, SHAPE[0])
    assert after[12] == before[12]
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 4
    link.use(model)


def test_random_kills_lose_nothing(app):
    link = nano_link()
    session = sit(app, link, shape=FLAT)
    rng = random.Random(5)
    plane = SlicePlane(Axis.K, 4)
    session.add_box(plane, BoxPrompt(12, 14, 35, 41))
    wait_quiet(session)
    session.propagate()
    for _ in range(3):
        kept = rng.randrange(3)
        before = len(session.document.active_record.quality)
        wait_until(session, lambda goal=before + kept: has_done(session, goal))
        there = masks(session, FLAT[0])
        done = {p.index for p in session.document.active_record.quality}
        engine = link.engine
        engine.worker.process.kill()
        wait_until(session, lambda dead=engine: link.engine is not dead)
        after = masks(session, FLAT[0])
        assert all(after[index] == there[index] for index in done)
        assert len(session.document.nodes.read(1, session.document.volume).boxes) == 1
    place_point(session, SlicePlane(Axis.K, 6), 24, 28)
    wait_quiet(session)
    assert session.document.slice_io.read(1, plane)[24, 28]
    assert len(session.document.active_record.prompts.indices) == 2
    link.close()


def has_done(session, goal):
    return session.engine_sync.propagation.request is None or len(session.document.active_record.quality) >= goal


def test_a_saved_scene_goes_on_in_another_process(app, link, tmp_path):
    session = sit(app, link)
    plane = SlicePlane(Axis.K, 12)
    session.add_box(plane, BoxPrompt(12, 14, 35, 41))
    place_point(session, plane, 24, 28)
    wait_quiet(session)
    session.propagate(first=8, last=16)
    wait_quiet(session)
    session.document.remember(session.engine_sync.revision)
    scene = tmp_path / "scene.mrb"
    app.save(scene)
    folder = tmp_path / "again"
    folder.mkdir()
    path = os.pathsep.join([str(ROOT), str(ROOT / "NeuroSAM2Slicer")])
    again = subprocess.run(
        [sys.executable, "-m", "Testing.Support.reopen", str(scene), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        encoding="utf-8",
    )
    line = next((line for line in again.stdout.splitlines() if line.startswith("FOUND")), None)
    assert line is not None, again.stderr[-2000:]
    found = json.loads(line.removeprefix("FOUND"))
    assert found["points"] == [[12, 24, 28, True]]
    assert found["boxes"] == [[12, 12, 14, 35, 41]]
    assert found["masks"] == masks(session, SHAPE[0])
    assert found["quality"] == list(range(8, 17))
    assert found["correction_changes"] > 0
    assert found["others_stay"]
