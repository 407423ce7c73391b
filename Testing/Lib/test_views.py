"""The mouse in Slicer's own slice views, and what the person sees afterwards."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.Support.offscreen import missing_libraries

if missing_libraries():
    pytest.skip(missing_libraries(), allow_module_level=True)

from NeuroSAM2Lib.presenters.mouse_tools import BoxDrag
from NeuroSAM2Lib.scene.arrays import to_matrix
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver

from NeuroSAM2Core.synth import render, sample_anatomy
from NeuroSAM2Core.volume import Axis, SlicePlane, resolve_axis
from Testing.Support.live import nano_link, wait_quiet
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume
from Testing.Support.sessions import SimulatedUser, place_at, place_point
from Testing.Support.slice_views import SliceView, start_placing, stop_placing
from Testing.Support.volumes import ball_volume

SHAPE = (40, 56, 60)
MIDDLE = np.array([29.0, 27.0, 19.0])
SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
SPACING = np.diag([3.0, 3.0, 3.0, 1.0])


class ViewUser:
    """A person in front of three views."""

    def __init__(self, app, geometry="oblique"):
        self.app = app
        self.user = SimulatedUser(app, geometry=geometry, shape=SHAPE)
        voxels = np.array(ball_volume(SHAPE)[0].voxels)
        self.user.volume_node = add_volume(app, voxels, GEOMETRIES[geometry], name="phantom")
        self.user.begin()
        self.volume = self.user.document.volume
        self.middle = self.volume.to_ras(MIDDLE)
        self.views = {name: SliceView(app, name, name) for name in ("Axial", "Coronal", "Sagittal")}
        for view in self.views.values():
            view.show(self.user.volume_node, self.middle)

    def place(self, *, positive=True):
        if self.user.document.active is None:
            self.user.session.next_object()
        start_placing(self.app, self.user.watch.expect_point(self.user.document.active, positive=positive))


@pytest.mark.parametrize("geometry", ["upright", "oblique", "anisotropic", "sagittal storage", "under a quarter turn"])
@pytest.mark.parametrize("name", ["Axial", "Coronal", "Sagittal"])
def test_a_mouse_click_in_a_view_becomes_a_prompt_and_a_coloured_mask(app, name, geometry):
    view_user = ViewUser(app, geometry)
    view = view_user.views[name]
    before = view.draw()
    view_user.place()
    x, y = view.to_xy(view_user.middle)
    view.click(x, y)
    stop_placing(app)
    view_user.user.settle()
    (point,) = view_user.user.document.active_record.prompts.points
    axis = view_user.user.document.active_record.prompts.axis
    assert axis == resolve_axis(view_user.volume, name.lower())
    plane = SlicePlane(axis, point.index)
    clicked = view_user.volume.to_ijk(view.to_ras(x, y))
    np.testing.assert_allclose(plane.to_pixel(*clicked), (point.point.row, point.point.col), atol=0.01)
    assert view_user.user.mask(plane)[round(point.point.row), round(point.point.col)]
    after = view.draw().astype(int)
    changed = np.abs(after - before).max(axis=2) > 30
    assert changed[y - 3 : y + 4, x - 3 : x + 4].any()
    assert changed.mean() < 0.5


def test_points_of_both_signs_are_placed_one_after_the_other(app):
    view_user = ViewUser(app, "upright")
    view = view_user.views["Axial"]
    view_user.place()
    x, y = view.to_xy(view_user.middle)
    view.click(x, y)
    view.click(x + 12, y)
    view_user.place(positive=False)
    view.click(x, y + 12)
    stop_placing(app)
    view_user.user.settle()
    assert [p.point.positive for p in view_user.user.document.active_record.prompts.points] == [True, True, False]
    assert list(iter(view_user.user.session.undo, False)) == [True] * 4


def test_a_click_beside_the_volume_is_refused_and_the_next_one_counts(app):
    view_user = ViewUser(app, "upright")
    view, session = view_user.views["Axial"], view_user.user.session
    view_user.place()
    view.click(view.size[0] // 2, 2)
    assert "outside the volume" in session.notice
    assert session.document.active_record.prompts.points == ()
    view.click(*view.to_xy(view_user.middle))
    stop_placing(app)
    view_user.user.settle()
    assert session.notice == ""
    assert len(session.document.active_record.prompts.points) == 1
    node = session.document.nodes.points_node(1, positive=True)
    assert node.GetNumberOfDefinedControlPoints() == 1


def test_a_later_click_in_a_view_across_the_object_says_so(app):
    view_user = ViewUser(app, "upright")
    view_user.place()
    for name in ("Axial", "Coronal"):
        view = view_user.views[name]
        view.click(*view.to_xy(view_user.middle))
    stop_placing(app)
    assert "segmented along k" in view_user.user.session.notice
    assert {p.index for p in view_user.user.document.active_record.prompts.points} == {19}


def test_a_dragged_box_becomes_a_prompt_with_its_corners_where_the_mouse_was(app):
    view_user = ViewUser(app)
    view = view_user.views["Coronal"]
    x, y = view.to_xy(view_user.middle)
    drag = BoxDrag(view_user.user.session, view.node, view.interactor)
    view.drag((x - 40, y - 30), (x + 50, y + 35))
    assert drag.is_done
    view_user.user.settle()
    (placed,) = view_user.user.document.active_record.prompts.boxes
    axis = view_user.user.document.active_record.prompts.axis
    plane = SlicePlane(axis, placed.index)
    corners = [
        plane.to_pixel(*view_user.volume.to_ijk(view.to_ras(*xy))) for xy in ((x - 40, y - 30), (x + 50, y + 35))
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    np.testing.assert_allclose([placed.box.row0, placed.box.col0], low, atol=0.01)
    np.testing.assert_allclose([placed.box.row1, placed.box.col1], high, atol=0.01)
    assert view_user.user.mask(plane).any()


def test_a_click_is_no_box(app):
    view_user = ViewUser(app)
    view = view_user.views["Axial"]
    drag = BoxDrag(view_user.user.session, view.node, view.interactor)
    view.drag((100, 100), (101, 101))
    assert not drag.is_done
    assert view_user.user.document.active is None
    drag.cancel()


def test_the_overlay_is_where_the_mask_is_and_nowhere_else(app):
    view_user = ViewUser(app, "upright")
    view = view_user.views["Axial"]
    before = view.draw().astype(int)
    plane = SlicePlane(Axis.K, 19)
    place_point(view_user.user.session, plane, 27, 29)
    view_user.user.settle()
    for node in view_user.user.document.nodes.all_nodes():
        node.GetDisplayNode().SetVisibility(False)
    changed = np.abs(view.draw().astype(int) - before).max(axis=2) > 12
    mask = view_user.user.mask(plane)
    height, width = changed.shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    screen = np.stack([x, y, np.zeros_like(x), np.ones_like(x)], axis=-1)
    ras = screen @ to_matrix(view.node.GetXYToRAS()).T
    i, j, _ = np.moveaxis(np.floor(view_user.volume.to_ijk(ras[..., :3]) + 0.5).astype(int), -1, 0)
    is_in_volume = (i >= 0) & (i < mask.shape[1]) & (j >= 0) & (j < mask.shape[0])
    inside = np.zeros_like(changed)
    inside[is_in_volume] = mask[j[is_in_volume], i[is_in_volume]]
    overlap = (changed & inside).sum() / (changed | inside).sum()
    assert overlap > 0.8


def test_a_view_that_is_turned_away_snaps_and_says_so(app):
    view_user = ViewUser(app, "oblique")
    view = view_user.views["Axial"]
    place_at(view_user.user.session, view_user.middle, view=view.node)
    assert "turned" in view_user.user.session.notice


def test_pictures_of_a_session(app, tmp_path):
    """A synthetic head, the real worker, the mouse. Kept in docs/screenshots where NEUROSAM2_SCREENSHOTS is set."""
    folder = SCREENSHOTS if os.environ.get("NEUROSAM2_SCREENSHOTS") else tmp_path
    voxels, truth = synthetic_head()
    volume_node = add_volume(app, voxels, GEOMETRIES["upright"], name="head")
    node, _ = add_segmentation(app)
    link = nano_link()
    session = SessionController(app, link, volume_node, node)
    watch = SessionObserver(session)
    index = int(truth.sum(axis=(1, 2)).argmax())
    rows, cols = (np.flatnonzero(truth[index].any(axis=axis)) for axis in (1, 0))
    volume = session.document.volume
    corners = [volume.to_ras(np.array([cols[n], rows[n], index])) for n in (0, -1)]
    axial, coronal = (SliceView(app, name, name, (420, 420)) for name in ("Axial", "Coronal"))
    axial.show(volume_node, corners[0])
    drag = BoxDrag(session, axial.node, axial.interactor)
    axial.drag(*(axial.to_xy(corner) for corner in corners))
    assert drag.is_done
    wait_quiet(session)
    axial.save(folder / "view-box.png")
    start_placing(app, watch.expect_point(1, positive=False))
    axial.click(*axial.to_xy(volume.to_ras(np.array([cols[0] + 2, rows[0] + 2, index]))))
    stop_placing(app)
    session.propagate(first=index - 6, last=index + 6)
    wait_quiet(session)
    done = range(index - 6, index + 7)
    found = np.stack([session.document.slice_io.read(1, SlicePlane(Axis.K, k)) for k in done])
    assert 2 * (found & truth[done]).sum() / (found.sum() + truth[done].sum()) > 0.7
    axial.save(folder / "view-corrected.png")
    coronal.show(volume_node, volume.to_ras(np.array([cols.mean(), rows.mean(), index])))
    coronal.save(folder / "view-propagated.png")
    assert all((folder / f"view-{what}.png").stat().st_size > 5000 for what in ("box", "corrected", "propagated"))
    link.close()


def synthetic_head():
    """A head of this project's own making, and the brain in it."""
    generator = torch.Generator().manual_seed(7)
    while not (anatomy := sample_anatomy((72, 96, 96), generator)).is_head:
        pass
    picture = render(anatomy, generator)
    (brain,) = (one for one in picture.objects if one.name == "whole brain")
    truth = np.isin(picture.labels.numpy(), list(brain.labels))
    return (1000 * picture.image.numpy()).astype(np.int16), truth
