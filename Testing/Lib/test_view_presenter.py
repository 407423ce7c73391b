"""What a person reads and does in views: window and level, read-out, crosshair, second image, measurements."""

import numpy as np
import pytest
import slicer
import vtk
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.view_presenter import ViewPresenter
from NeuroSAM2Lib.scene.arrays import to_vtk
from NeuroSAM2Lib.scene.views.image_display import CT_PRESETS, WindowLevel, show_only_what_belongs
from NeuroSAM2Lib.scene.views.readout import Readout, ellipse_mask, read_at, region_values
from NeuroSAM2Lib.scene.views.rulers import RulerKind, angle_deg, distance_mm
from NeuroSAM2Lib.scene.views.slice_views import shown_slice

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_volume

SHAPE = (9, 20, 24)
VOXEL = (11, 7, 4)


class Viewer:
    """A person with a volume of a geometry, and with an object around its middle."""

    def __init__(self, app, geometry="oblique"):
        self.app, self.engine = app, FakeEngine()
        self.presenter = SegmentPresenter(app, EngineChoice(), lambda choice: self.engine)
        self.voxels = np.random.default_rng(0).integers(-500, 500, SHAPE).astype(np.int16)
        self.volume_node = add_volume(app, self.voxels, GEOMETRIES[geometry], name="T1")
        self.presenter.select(self.volume_node, self.presenter.new_segmentation())
        self.views = ViewPresenter(self.presenter)
        self.slice_nodes = [self._add_view(column) for column in (2, 1, 0)]

    @property
    def session(self):
        return self.presenter.session

    @property
    def volume(self):
        return self.session.document.volume

    def outline(self, box=(3, 6, 12, 16)):
        self.session.add_box(SlicePlane(Axis.K, VOXEL[2]), BoxPrompt(*box))
        self.engine.work()
        self.presenter.poll()

    def ras(self, *ijk):
        return self.volume.to_ras(np.array(ijk, float))

    def shown(self):
        return [shown_slice(self.volume, node).plane for node in self.slice_nodes]

    def _add_view(self, column):
        """A view along an axis of the volume, through its middle."""
        node = slicer.vtkMRMLSliceNode()
        node.SetLayoutName("RGY"[column])
        node.SetMappedInLayout(1)
        self.app.scene.AddNode(node)
        columns = np.roll(self.volume.ijk_to_ras[:, :3], 2 - column, axis=1)
        matrix = np.column_stack([columns / np.linalg.norm(columns, axis=0), [*self.ras(12, 10, 4), 1.0]])
        node.GetSliceToRAS().DeepCopy(to_vtk(matrix))
        node.UpdateMatrices()
        return node


@pytest.fixture
def viewer(app):
    return Viewer(app)


@pytest.mark.parametrize("geometry", ["upright", "oblique", "left-handed", "anisotropic oblique", "under a turn"])
def test_the_readout_has_position_voxel_values_and_object(app, geometry):
    viewer = Viewer(app, geometry)
    viewer.outline()
    add_volume(app, viewer.voxels[::-1].copy(), GEOMETRIES[geometry], name="FLAIR")
    ras = viewer.ras(*VOXEL)
    found = viewer.views.readout(ras)
    i, j, k = VOXEL
    np.testing.assert_allclose(found.ras, ras)
    assert found.ijk == VOXEL
    assert found.values == (("T1", viewer.voxels[k, j, i]), ("FLAIR", viewer.voxels[::-1][k, j, i]))
    assert found.objects == ("object 1",)
    viewer.presenter.edit_objects(lambda objects: objects.display.toggle_all())
    assert viewer.views.readout(ras).objects == ()


def test_half_a_voxel_outside_there_is_no_value(viewer):
    assert viewer.views.readout(viewer.ras(-0.4, 0, 0)).ijk == (0, 0, 0)
    outside = viewer.views.readout(viewer.ras(-0.6, 0, 0))
    assert outside.ijk is None
    assert outside.values == ()


def test_an_image_that_cannot_be_read_is_left_out(viewer):
    warp = viewer.app.scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    other = add_volume(viewer.app, viewer.voxels, GEOMETRIES["upright"], name="warped")
    other.SetAndObserveTransformNodeID(warp.GetID())
    values = read_at(viewer.app.scene, viewer.volume, viewer.ras(*VOXEL)).values
    assert [name for name, _ in values] == ["T1"]


def test_the_lines_of_a_readout():
    found = Readout(ras=(-12.34, 5, 0), ijk=(1, 2, 3), values=(("T1", 7.0),), objects=("left", "tumour"))
    assert found.lines == ("L 12.3  A 5.0  S 0.0  mm  (1, 2, 3)", "T1: 7", "left, tumour")


def test_window_and_level_are_typed_and_refused_with_a_sentence(viewer):
    viewer.views.change_window(lambda one: one.set_text("80", "40,5"))
    assert (viewer.views.settings.window, viewer.views.settings.level) == (80, 40.5)
    for window, level in (("0", "1"), ("-3", "1"), ("x", "1"), ("inf", "1"), ("5", "nan")):
        viewer.session.notice = ""
        viewer.views.change_window(lambda one, w=window, v=level: one.set_text(w, v))
        assert viewer.session.notice
        assert (viewer.views.settings.window, viewer.views.settings.level) == (80, 40.5)


def test_presets_auto_and_invert(viewer):
    for preset in CT_PRESETS:
        viewer.views.change_window(lambda one, name=preset.name: one.set_preset(name))
        assert (viewer.views.settings.window, viewer.views.settings.level) == (preset.window, preset.level)
    viewer.views.change_window(WindowLevel.set_auto)
    settings = viewer.views.settings
    low, high = np.percentile(viewer.voxels, (0.5, 99.5))
    np.testing.assert_allclose((settings.window, settings.level), (high - low, (high + low) / 2), rtol=0.02, atol=1)
    for is_inverted in (True, False):
        viewer.views.change_window(WindowLevel.invert)
        assert viewer.views.settings.is_inverted is is_inverted
    assert (viewer.volume.voxels == viewer.voxels).all()


def test_go_there_moves_the_other_views_to_the_slices_through_the_pointer(viewer):
    before = viewer.shown()
    ras = viewer.ras(5, 17, 4)
    viewer.views.go_there(ras, viewer.slice_nodes[0])
    assert [plane.index for plane in viewer.shown()] == [before[0].index, 17, 5]
    assert viewer.views.settings.has_crosshair
    np.testing.assert_allclose(viewer.app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS(), ras)
    viewer.views.show_crosshair(is_shown=False)
    assert not viewer.views.settings.has_crosshair


def test_go_there_outside_the_volume_moves_nothing(viewer):
    before = viewer.shown()
    viewer.views.go_there(viewer.ras(500, 17, 4), viewer.slice_nodes[0])
    assert viewer.shown() == before
    assert not viewer.views.settings.has_crosshair


def test_distances_and_angles_are_those_of_the_points(viewer):
    one, corner, other = viewer.ras(2, 2, 4), viewer.ras(2, 12, 4), viewer.ras(12, 12, 4)
    assert not viewer.views.place_ruler(RulerKind.DISTANCE, one)
    assert viewer.views.settings.rulers == ()
    assert viewer.views.place_ruler(RulerKind.DISTANCE, corner)
    for place, is_last in ((one, False), (corner, False), (other, True)):
        assert viewer.views.place_ruler(RulerKind.ANGLE, place) is is_last
    distance, angle = viewer.views.settings.rulers
    assert distance.sentence == "10.0 mm"
    assert angle.sentence == "90.0°"
    viewer.views.rulers.remove(distance.node_id)
    assert viewer.views.settings.rulers == (angle,)
    viewer.views.rulers.remove(viewer.volume_node.GetID())
    assert viewer.app.scene.IsNodePresent(viewer.volume_node)


def test_an_unfinished_ruler_does_not_stay(viewer):
    viewer.views.place_ruler(RulerKind.DISTANCE, viewer.ras(2, 2, 4))
    viewer.views.place_ruler(RulerKind.ANGLE, viewer.ras(2, 2, 4))
    viewer.views.rulers.cancel()
    assert viewer.app.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == 0
    assert viewer.app.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsAngleNode") == 0


def test_rulers_are_no_prompts(viewer):
    viewer.outline()
    before = viewer.session.document.active_record.prompts
    for place in ((2, 2, 4), (8, 8, 4)):
        viewer.views.place_ruler(RulerKind.DISTANCE, viewer.ras(*place))
    viewer.session.sync_prompts()
    assert viewer.session.document.active_record.prompts == before


def test_angles_and_distances_of_degenerate_points():
    assert angle_deg([1, 0, 0], [0, 0, 0], [-2, 0, 0]) == 180
    assert angle_deg([0, 0, 0], [0, 0, 0], [1, 0, 0]) == 0
    assert distance_mm([0, 0, 0], [3, 4, 0]) == 5


@pytest.mark.parametrize("axis", list(Axis))
def test_region_values_are_those_of_the_pixels(viewer, axis):
    plane = SlicePlane(axis, 4)
    pixels = plane.of(viewer.voxels)
    mask = ellipse_mask(pixels.shape, BoxPrompt(1, 1, 7, 6))
    found, inside = region_values(viewer.volume, plane, mask), pixels[mask].astype(float)
    assert found.num_pixels == mask.sum()
    np.testing.assert_allclose(
        (found.mean, found.sd, found.lowest, found.highest),
        (inside.mean(), inside.std(), inside.min(), inside.max()),
    )


@pytest.mark.parametrize(("axis", "pixel_mm2"), [(Axis.I, 15), (Axis.J, 10), (Axis.K, 6)])
def test_the_area_of_a_region_counts_the_spacing_of_its_slice(axis, pixel_mm2):
    volume = Volume(np.zeros((6, 6, 6), np.int16), np.diag([2.0, 3.0, 5.0, 1.0]))
    mask = np.zeros((6, 6), bool)
    mask[1:3, 1:4] = True
    assert region_values(volume, SlicePlane(axis, 2), mask).area_mm2 == pytest.approx(6 * pixel_mm2)


def test_an_ellipse_has_the_area_of_an_ellipse():
    assert ellipse_mask((200, 200), BoxPrompt(20, 40, 180, 140)).sum() == pytest.approx(np.pi * 80 * 50, rel=0.01)


def test_a_region_without_pixels_is_refused(viewer):
    with pytest.raises(PromptError, match="no pixel"):
        region_values(viewer.volume, SlicePlane(Axis.K, 4), np.zeros((20, 24), bool))


def test_a_region_is_listed_with_its_values_and_lies_where_it_was_drawn(viewer):
    start, end = viewer.ras(4, 3, 4), viewer.ras(16, 11, 4)
    viewer.views.measure_region(start, end, viewer.slice_nodes[0])
    (row,) = viewer.views.settings.rulers
    mask = ellipse_mask((20, 24), BoxPrompt(3, 4, 11, 16))
    assert f"mean {viewer.voxels[4][mask].mean():.6g}" in row.sentence
    node = viewer.app.scene.GetNodeByID(row.node_id)
    places = np.array([node.GetNthControlPointPositionWorld(n) for n in range(node.GetNumberOfControlPoints())])
    ijk = viewer.volume.to_ijk(places)
    np.testing.assert_allclose(ijk.min(axis=0), (4, 3, 4), atol=1e-6)
    np.testing.assert_allclose(ijk.max(axis=0), (16, 11, 4), atol=1e-6)


def test_the_values_of_an_object_on_the_slice(viewer):
    viewer.views.object_values()
    assert "no object yet" in viewer.session.notice
    viewer.outline()
    viewer.views.object_values()
    mask = viewer.session.document.slice_io.read(1, SlicePlane(Axis.K, 4))
    assert f"object 1 on slice 4: mean {viewer.voxels[4][mask].mean():.6g}" in viewer.session.notice


def test_segments_and_prompts_of_another_image_are_hidden_and_come_back(viewer):
    viewer.outline()
    first = viewer.presenter.chosen
    other = add_volume(viewer.app, viewer.voxels, GEOMETRIES["upright"], name="FLAIR")
    viewer.presenter.select(other, viewer.presenter.new_segmentation())
    viewer.outline((2, 2, 9, 9))

    def visible(node):
        return bool(node.GetDisplayNode().GetVisibility2D())

    def boxes():
        found = viewer.app.scene.GetNodesByClass("vtkMRMLMarkupsROINode")
        nodes = [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]
        return {node.GetNodeReferenceID("NeuroSAM2.volume"): visible(node) for node in nodes}

    show_only_what_belongs(viewer.app.scene, *viewer.presenter.chosen)
    assert not visible(first[1])
    assert visible(viewer.presenter.chosen[1])
    assert boxes() == {first[0].GetID(): False, other.GetID(): True}
    show_only_what_belongs(viewer.app.scene, *first)
    assert visible(first[1])
    assert boxes() == {first[0].GetID(): True, other.GetID(): False}
    viewer.presenter.select(first[0], viewer.presenter.new_segmentation())
    show_only_what_belongs(viewer.app.scene, *viewer.presenter.chosen)
    assert boxes() == {first[0].GetID(): False, other.GetID(): False}
