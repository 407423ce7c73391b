"""Surfaces in a process of their own: what is sent, and what is seen."""

import asyncio

import numpy as np
import pytest

from Testing.Support.offscreen import missing_libraries

if missing_libraries():
    pytest.skip(missing_libraries(), allow_module_level=True)

from NeuroSAM2Lib.headless.surface_process import SurfaceProcess, crop_mask
from NeuroSAM2Lib.headless.surface_renderer import SurfaceRenderer, make_surface
from NeuroSAM2Lib.scene.segments.layers import Layer
from NeuroSAM2Lib.scene.segments.segment_display import SegmentDisplay

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.sessions import SimulatedUser

PLANE = SlicePlane(Axis.K, 4)
SIZE = 160, 120


def outline(user, box, plane=PLANE):
    user.session.add_box(plane, box)
    user.settle()


@pytest.mark.parametrize("geometry", ["upright", "oblique", "left-handed", "under a shear"])
def test_a_surface_is_where_the_mask_is(app, geometry):
    user = SimulatedUser(app, geometry=geometry)
    outline(user, BoxPrompt(4, 4, 12, 15))
    outline(user, BoxPrompt(3, 6, 14, 17), SlicePlane(Axis.K, 5))
    mask, to_ras = crop_mask(Layer(user.segmentation_node, user.document.objects.segment_id(1)))
    whole = user.voxels_of()
    assert mask.sum() == whole.sum()
    k, j, i = np.nonzero(mask)
    there = np.linalg.inv(user.document.volume.ijk_to_ras) @ to_ras @ [i, j, k, np.ones(len(i))]
    found = np.zeros_like(whole)
    found[tuple(np.rint(there[2::-1]).astype(int))] = True
    assert (found == whole).all()
    bounds = np.reshape(make_surface(mask, to_ras, 0).GetBounds(), (3, 2))
    corners = user.document.volume.to_ras(np.argwhere(whole)[:, ::-1].astype(float))
    slack = np.abs(user.document.volume.ijk_to_ras[:3, :3]).sum(axis=1) + 1e-6
    assert (np.abs(bounds.T - [corners.min(axis=0), corners.max(axis=0)]) <= slack).all()


def test_smoothing_makes_a_surface_smoother_and_keeps_its_size():
    ball = (sum((axis - 15) ** 2 for axis in np.ogrid[:31, :31, :31]) < 12**2).astype(np.uint8)
    sizes = []
    for smoothing in (0, 0.25, 0.5):
        points = make_surface(ball, np.eye(4), smoothing).GetPoints().GetData()
        radius = np.linalg.norm(np.asarray(memoryview(points)).reshape(-1, 3) - 15, axis=1)
        sizes.append((radius.std(), radius.mean()))
    (rough, _), (half, _), (smooth, mean) = sizes
    assert smooth < half < rough
    assert abs(mean - 12) < 0.5


def test_a_large_mask_is_thinned_out_and_stays_in_place(monkeypatch):
    monkeypatch.setattr("NeuroSAM2Lib.headless.surface_renderer.MAX_VOXELS", 1000)
    bounds = make_surface(np.ones((30, 30, 30), np.uint8), np.eye(4), 0).GetBounds()
    assert np.abs(np.reshape(bounds, (3, 2)) - [0, 29]).max() <= 3


def test_the_camera_turns_and_hidden_objects_are_not_drawn():
    renderer = SurfaceRenderer()
    renderer.set_mask("one", np.ones((4, 8, 30), np.uint8), np.eye(4))
    renderer.set_style("one", (1, 0, 0), 1)
    front = renderer.draw(*SIZE)
    is_red = front[..., 0] > front[..., 2].astype(int) + 60
    assert is_red.any()
    renderer.turn(90, 0, 1)
    side = renderer.draw(*SIZE)
    assert (side[..., 0] > side[..., 2].astype(int) + 60).sum() < is_red.sum()
    renderer.set_style("one", (1, 0, 0), 0)
    assert (renderer.draw(*SIZE) == renderer.draw(*SIZE)[0, 0]).all()


def test_the_process_follows_the_scene_and_sends_what_has_changed_only(app):
    user = SimulatedUser(app)
    outline(user, BoxPrompt(4, 4, 9, 9))
    user.session.next_object()
    outline(user, BoxPrompt(12, 12, 18, 20))

    async def look():
        process, sent = SurfaceProcess(), []
        process_send = process._send
        process._send = lambda message, data=b"": (
            sent.append((message["kind"], message.get("name"))),
            process_send(message, data),
        )

        def update():
            sent.clear()
            process._due_s = 0.0
            while process.update(user.segmentation_node):
                process._due_s = 0.0
            return [one for one in sent if one[0] in ("mask", "remove")]

        first, second = (user.document.objects.segment_id(number) for number in (1, 2))
        pictures = [await process.draw(*SIZE)]
        assert update() == [("mask", first), ("mask", second)]
        pictures.append(await process.draw(*SIZE))
        assert update() == []
        outline(user, BoxPrompt(10, 12, 19, 20))
        assert update() == [("mask", second)]
        pictures.append(await process.draw(*SIZE))
        user.session.undo()
        assert ("mask", second) in update()
        SegmentDisplay(user.segmentation_node).show(second, is_shown=False)
        assert update() == []
        pictures.append(await process.draw(*SIZE))
        user.segmentation_node.GetSegmentation().RemoveSegment(second)
        assert update() == [("remove", second)]
        assert len({*pictures}) == 4
        process._process.kill()
        await process._process.wait()
        assert await process.draw(*SIZE) is not None
        await process.close()
        assert not process.is_running

    asyncio.run(look())
