"""The picture of all segments agrees with what Slicer's displayable manager draws, and follows every change."""

import numpy as np
import pytest
import vtk

from Testing.Support.offscreen import missing_libraries

if missing_libraries():
    pytest.skip(missing_libraries(), allow_module_level=True)

from NeuroSAM2Lib.headless.segment_overlay import LabelStyle, SegmentOverlay, blend_labels
from NeuroSAM2Lib.headless.views import SliceView, lay_over
from NeuroSAM2Lib.scene.segments.segment_display import Fill, SegmentDisplay

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.sessions import SimulatedUser, place_point

PLANE = SlicePlane(Axis.K, 4)
SIZE = 240, 200
DIFFERS = 60
"""Of red, green and blue together."""


class Viewer:
    """A person who sees the same slice twice: as Slicer draws it, and with the overlay."""

    def __init__(self, app, geometry="upright", orientation="Axial", *, is_along=True):
        self.user = SimulatedUser(app, geometry=geometry)
        self.num_changes = 0
        self.overlay = SegmentOverlay(app.scene, self._note)
        self.slicers = SliceView(app, "Red", orientation, SIZE)
        self.ours = SliceView(app, "Green", orientation, SIZE, self.overlay)
        for view in (self.slicers, self.ours):
            if is_along:
                view.node.RotateToVolumePlane(self.user.volume_node)
            view.show(self.user.volume_node)
        self.outline(BoxPrompt(4, 4, 12, 15))
        self.user.session.next_object()
        self.outline(BoxPrompt(8, 8, 16, 20))
        ras = self.user.document.volume.to_ras(np.array(PLANE.to_ijk(8, 9)))
        for view in (self.slicers, self.ours):
            view.node.JumpSliceByOffsetting(*map(float, ras))

    def outline(self, box):
        self.user.session.add_box(PLANE, box)
        self.user.settle()

    def _note(self):
        self.num_changes += 1

    def differing(self):
        """The part of the pixels that differ between the two, and the part that any segment colours."""
        one, other = self.slicers.draw().astype(int), self.ours.draw().astype(int)
        is_coloured = np.ptp(one, axis=2) > DIFFERS
        return (np.abs(one - other).sum(axis=2) > DIFFERS).mean(), is_coloured.mean()


GEOMETRIES = ["upright", "oblique", "left-handed oblique", "sagittal storage", "anisotropic", "under a turn"]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("orientation", ["Axial", "Coronal"])
def test_the_segments_are_where_slicer_draws_them(app, geometry, orientation):
    viewer = Viewer(app, geometry, orientation)
    differing, coloured = viewer.differing()
    assert coloured > 0.01
    assert differing < 0.01 + 0.05 * coloured


def test_a_view_across_the_grid_shows_them_too(app):
    viewer = Viewer(app, "oblique", is_along=False)
    differing, coloured = viewer.differing()
    assert coloured > 0.01
    assert differing < 0.01 + 0.05 * coloured


def test_every_change_of_the_display_is_followed_and_announced(app):
    viewer = Viewer(app)
    display = SegmentDisplay(viewer.user.segmentation_node)
    first = viewer.user.document.objects.segment_id(1)
    plain = viewer.ours.draw()
    for change in (
        lambda: display.show(first, is_shown=False),
        lambda: display.set_fill(Fill.OUTLINE),
        lambda: display.set_opacity(0.5),
        lambda: viewer.user.segmentation_node.GetSegmentation().GetSegment(first).SetColor(1, 0, 0),
        lambda: display.show(first, is_shown=True),
        lambda: display.toggle_all(),
        lambda: display.toggle_all(),
        lambda: viewer.outline(BoxPrompt(5, 5, 15, 18)),
        viewer.user.session.undo,
    ):
        viewer.num_changes = 0
        change()
        assert viewer.num_changes
        assert viewer.differing()[0] < 0.02
    assert (viewer.ours.draw() != plain).any()


def test_the_preview_is_an_outline_without_a_fill(app):
    viewer = Viewer(app)
    mask = np.zeros((20, 24), bool)
    mask[3:17, 3:20] = True
    before = viewer.ours.draw().astype(int)
    viewer.user.session.preview.outline.show(viewer.user.document.volume, PLANE, mask)
    changed = np.abs(viewer.ours.draw() - before).sum(axis=2) > DIFFERS
    assert changed.any()
    height, width = changed.shape
    assert not changed[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5].any()
    viewer.user.session.preview.outline.hide()
    assert (viewer.ours.draw() == before).all()


def test_labels_are_blended_by_their_opacity():
    picture = np.full((6, 6, 3), 100, np.uint8)
    labels = np.zeros((6, 6), np.uint8)
    labels[1:5, 1:5] = 3
    blend_labels(picture, labels, (LabelStyle(3, (1, 0, 0), 0.5, 1.0),))
    assert picture[0, 0].tolist() == [100, 100, 100]
    assert picture[1, 1].tolist() == [255, 0, 0]
    assert picture[2, 2].tolist() == [178, 50, 50]


def test_labels_without_a_style_are_not_drawn():
    picture = np.full((4, 4, 3), 100, np.uint8)
    blend_labels(picture, np.ones((4, 4), np.uint8), (LabelStyle(2, (1, 0, 0), 1, 1),))
    assert (picture == 100).all()


def test_segments_under_a_warp_are_left_out_and_the_view_is_drawn(app):
    viewer = Viewer(app)
    warp = app.scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    viewer.user.segmentation_node.SetAndObserveTransformNodeID(warp.GetID())
    assert viewer.overlay.layers == []
    assert viewer.ours.draw().shape == (SIZE[1], SIZE[0], 3)


def grey(viewer):
    """A window in which what is beside the volume would be grey; no segment is shown, so that only prompts have colours."""
    display = viewer.user.volume_node.GetDisplayNode()
    display.SetAutoWindowLevel(0)
    display.SetWindowLevel(300.0, 50.0)
    SegmentDisplay(viewer.user.segmentation_node).toggle_all()
    for view in (viewer.slicers, viewer.ours):
        width, height, depth = view.node.GetFieldOfView()
        view.node.SetFieldOfView(2 * width, 2 * height, depth)


@pytest.mark.parametrize("geometry", ["upright", "oblique", "anisotropic"])
def test_the_image_what_lies_beside_it_and_the_prompts_over_it_are_as_slicer_draws_them_on_every_slice(app, geometry):
    viewer, coloured = Viewer(app, geometry), []
    place_point(viewer.user.session, SlicePlane(Axis.K, 6), 9, 12)
    viewer.user.settle()
    grey(viewer)
    for k in range(9):
        ras = viewer.user.document.volume.to_ras(np.array(SlicePlane(Axis.K, k).to_ijk(8, 9)))
        for view in (viewer.slicers, viewer.ours):
            view.node.JumpSliceByOffsetting(*map(float, ras))
        wanted, found = viewer.slicers.draw().astype(int), viewer.ours.draw().astype(int)
        assert (wanted[:, 0] == 0).all()
        assert np.abs(wanted - found).max() <= 2, k
        coloured.append(bool((np.ptp(wanted, axis=2) > DIFFERS).any()))
    assert coloured[4]
    assert coloured[6]
    assert not coloured[0]


def test_vtk_draws_only_where_it_has_something_to_draw(app):
    viewer = Viewer(app)
    viewer.ours.draw()
    rendered = []
    viewer.ours.window.AddObserver("StartEvent", lambda *_: rendered.append(1))
    empty, prompted = (viewer.user.document.volume.to_ras(np.array(SlicePlane(Axis.K, k).to_ijk(8, 9))) for k in (0, 4))
    viewer.ours.node.JumpSliceByOffsetting(*map(float, empty))
    viewer.ours.draw()
    assert not rendered
    viewer.ours.node.JumpSliceByOffsetting(*map(float, prompted))
    viewer.ours.draw()
    assert len(rendered) == 1
    viewer.ours.node.JumpSliceByOffsetting(*map(float, empty))
    crosshair = app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairMode(crosshair.ShowBasic)
    crosshair.SetCrosshairRAS(*map(float, empty))
    viewer.ours.draw()
    assert len(rendered) == 2


def test_what_is_drawn_lies_over_a_picture_by_its_opacity():
    picture = np.full((3, 4, 3), 200, np.uint8)
    drawn = np.zeros((3, 4, 4), np.uint8)
    drawn[1, 2] = (255, 0, 0, 255)
    drawn[2, 3] = (0, 128, 0, 128)
    lay_over(picture, drawn)
    assert picture[1, 2].tolist() == [255, 0, 0]
    assert picture[2, 3].tolist() == [100, 228, 100]
    picture[1, 2] = picture[2, 3] = 200
    assert (picture == 200).all()
