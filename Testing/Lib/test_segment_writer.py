"""One slice of one segment, and nothing else."""

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk
from NeuroSAM2Lib.scene.segments.layers import Grid, Layer, grid_slice
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy, Overwrite, SegmentWriter
from NeuroSAM2Lib.scene.volume_nodes import read_volume

from NeuroSAM2Core.errors import DataError, GeometryError
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume, make_app, turned

SHAPE = (8, 10, 12)
FREE = EditPolicy()
NODE = slicer.vtkMRMLSegmentationNode


class WriterFixture:
    """A volume, its segmentation with three segments, and a writer."""

    def __init__(self, app, name="oblique"):
        self.app = app
        rng = np.random.default_rng(0)
        self.voxels = rng.integers(0, 100, SHAPE).astype(np.int16)
        self.volume_node = add_volume(app, self.voxels, GEOMETRIES[name])
        self.node, self.ids = add_segmentation(app, "a", "b", "c")
        self.node.SetAndObserveTransformNodeID(self.volume_node.GetTransformNodeID())
        self.volume = read_volume(self.volume_node)
        self.writer = SegmentWriter(self.node, self.volume_node, self.volume)

    def whole(self, segment):
        planes = [SlicePlane(Axis.K, k) for k in range(SHAPE[0])]
        return np.stack([self.writer.read(segment, plane) for plane in planes])


def random_mask(plane, seed=0):
    return np.random.default_rng(seed).random(plane.of(np.zeros(SHAPE)).shape) > 0.5


@pytest.mark.parametrize("axis", Axis)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_slice_is_replaced_exactly_and_only_it(app, name, axis):
    fixture = WriterFixture(app, name)
    a, b, _ = fixture.ids
    expected = {segment: np.zeros(SHAPE, bool) for segment in (a, b)}
    for seed, (segment, index) in enumerate([(a, 3), (b, 3), (a, 5), (a, 3), (b, 6), (b, 0)]):
        plane = SlicePlane(axis, index)
        mask = random_mask(plane, seed)
        written = fixture.writer.write(segment, plane, mask, policy=FREE)
        assert written.changed == {segment}
        np.testing.assert_array_equal(written.before, plane.of(expected[segment]))
        np.testing.assert_array_equal(written.after, mask)
        plane.of(expected[segment])[...] = mask
        for one, truth in expected.items():
            np.testing.assert_array_equal(fixture.whole(one), truth)
    again = fixture.writer.write(b, SlicePlane(axis, 0), random_mask(SlicePlane(axis, 0), 5), policy=FREE)
    assert not again.changed


@pytest.mark.parametrize("name", ["oblique", "under a shear", "left-handed"])
def test_slicer_itself_sees_the_mask_on_the_volumes_own_grid(app, name):
    fixture = WriterFixture(app, name)
    expected = np.zeros(SHAPE, bool)
    for k in range(1, 6):
        expected[k] = random_mask(SlicePlane(Axis.K, k), k)
        fixture.writer.write(fixture.ids[0], SlicePlane(Axis.K, k), expected[k], policy=FREE)
    labels = fixture.app.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "export")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsToLabelmapNode(fixture.node, [fixture.ids[0]], labels, fixture.volume_node)
    np.testing.assert_array_equal(read_volume(labels).voxels != 0, expected)


def test_other_segments_give_way_only_where_the_editor_says_so(app):
    fixture = WriterFixture(app)
    a, b, c = fixture.ids
    plane = SlicePlane(Axis.K, 4)
    first, second = random_mask(plane, 1), random_mask(plane, 2)
    fixture.writer.write(a, plane, first, policy=FREE)
    fixture.writer.write(c, SlicePlane(Axis.K, 5), first, policy=FREE)
    fixture.writer.write(b, plane, second, policy=FREE)
    np.testing.assert_array_equal(fixture.writer.read(a, plane), first)  # they overlap
    np.testing.assert_array_equal(fixture.writer.read(b, plane), second)
    editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetOverwriteMode(editor.OverwriteAllSegments)
    fixture.writer.write(b, plane, first | second, policy=EditPolicy.of(editor))
    assert not fixture.writer.read(a, plane).any()
    np.testing.assert_array_equal(fixture.writer.read(c, SlicePlane(Axis.K, 5)), first)


def test_invisible_segments_stay_where_only_visible_ones_give_way(app):
    fixture = WriterFixture(app)
    a, b, c = fixture.ids
    plane = SlicePlane(Axis.K, 4)
    full = np.ones((10, 12), bool)
    left, right = full.copy(), full.copy()
    left[:, 6:] = right[:, :6] = False
    fixture.writer.write(a, plane, left, policy=FREE)
    fixture.writer.write(b, plane, right, policy=FREE)
    fixture.node.GetDisplayNode().SetSegmentVisibility(a, False)
    fixture.writer.write(c, plane, full, policy=EditPolicy(overwrite=Overwrite.VISIBLE))
    np.testing.assert_array_equal(fixture.writer.read(a, plane), left)
    assert not fixture.writer.read(b, plane).any()
    np.testing.assert_array_equal(fixture.writer.read(c, plane), full)


def test_kept_segments_give_nothing_away_whatever_the_editor_says(app):
    fixture = WriterFixture(app)
    a, b, _ = fixture.ids
    plane = SlicePlane(Axis.J, 4)
    first = random_mask(plane, 1)
    fixture.writer.write(a, plane, first, policy=FREE)
    fixture.writer.write(b, plane, np.ones_like(first), policy=EditPolicy(overwrite=Overwrite.ALL), keeping=[a])
    np.testing.assert_array_equal(fixture.writer.read(a, plane), first)
    np.testing.assert_array_equal(fixture.writer.read(b, plane), ~first)


MODES = {
    "inside all": NODE.EditAllowedInsideAllSegments,
    "outside all": NODE.EditAllowedOutsideAllSegments,
    "inside visible": NODE.EditAllowedInsideVisibleSegments,
    "outside visible": NODE.EditAllowedOutsideVisibleSegments,
    "inside one": NODE.EditAllowedInsideSingleSegment,
}


@pytest.mark.parametrize("mode", MODES)
def test_the_editable_area_is_honoured(app, mode):
    fixture = WriterFixture(app)
    a, b, c = fixture.ids
    plane = SlicePlane(Axis.K, 4)
    in_a, in_b, wanted, before = (random_mask(plane, seed) for seed in range(4))
    fixture.writer.write(a, plane, in_a, policy=FREE)
    fixture.writer.write(b, plane, in_b & ~in_a, policy=FREE)
    fixture.writer.write(c, plane, before & ~in_a & ~in_b, policy=FREE)
    before = fixture.writer.read(c, plane)
    fixture.node.GetDisplayNode().SetSegmentVisibility(b, False)
    in_b = fixture.writer.read(b, plane)
    allowed = (
        before
        | {
            "inside all": in_a | in_b,
            "outside all": ~(in_a | in_b),
            "inside visible": in_a,
            "outside visible": ~in_a,
            "inside one": in_a,
        }[mode]
    )  # the segment that is edited is always editable itself
    if mode == "inside one":
        allowed = in_a
    editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetOverwriteMode(editor.OverwriteNone)
    editor.SetMaskMode(MODES[mode])
    editor.SetMaskSegmentID(a)
    fixture.writer.write(c, plane, wanted, policy=EditPolicy.of(editor))
    np.testing.assert_array_equal(fixture.writer.read(c, plane), np.where(allowed, wanted, before))
    np.testing.assert_array_equal(fixture.writer.read(a, plane), in_a)


def test_the_editors_intensity_range_is_honoured(app):
    fixture = WriterFixture(app)
    plane = SlicePlane(Axis.I, 4)
    editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetOverwriteMode(editor.OverwriteNone)
    editor.SourceVolumeIntensityMaskOn()
    editor.SetSourceVolumeIntensityMaskRange(20, 60)
    wanted = random_mask(plane)
    written = fixture.writer.write(fixture.ids[0], plane, wanted, policy=EditPolicy.of(editor))
    np.testing.assert_array_equal(written.after, fixture.writer.read(fixture.ids[0], plane))
    picture = plane.of(fixture.voxels)
    np.testing.assert_array_equal(
        fixture.writer.read(fixture.ids[0], plane), wanted & (picture >= 20) & (picture <= 60)
    )


slices = st.tuples(st.sampled_from(list(Axis)), st.integers(0, 7), st.integers(0, 2), st.integers(0, 99))


@given(st.lists(slices, min_size=1, max_size=8))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_slices_gives_what_plain_arrays_give(tmp_path_factory, steps):
    fixture = WriterFixture(make_app(tmp_path_factory.mktemp("scene")), "anisotropic oblique")
    truth = {segment: np.zeros(SHAPE, bool) for segment in fixture.ids}
    for axis, index, number, seed in steps:
        plane = SlicePlane(axis, index)
        mask = random_mask(plane, seed)
        fixture.writer.write(fixture.ids[number], plane, mask, policy=FREE)
        plane.of(truth[fixture.ids[number]])[...] = mask
    for segment, expected in truth.items():
        np.testing.assert_array_equal(fixture.whole(segment), expected)


class TestOnAnotherGrid:
    """The segmentation was begun on another image."""

    @pytest.fixture(params=["finer", "turned", "shifted"])
    def fixture(self, app, request):
        fixture = WriterFixture(app, "upright")
        matrix = {
            "finer": fixture.volume.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1]),
            "turned": turned(signs=(-1, -1, 1), angles=(0.3, 0.2, 0.1), spacing=(0.4, 0.4, 0.4), origin=(3, 3, -3)),
            "shifted": fixture.volume.ijk_to_ras @ turned(origin=(2, 1, 1)),
        }[request.param]
        other = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")

        image = vtk.vtkImageData()
        set_voxels(image, np.zeros((40, 50, 60), np.uint8))
        other.SetAndObserveImageData(image)
        other.SetIJKToRASMatrix(to_vtk(matrix))
        fixture.node.GetSegmentation().SetConversionParameter("Reference image geometry", "")
        fixture.node.SetReferenceImageGeometryParameterFromVolumeNode(other)
        fixture.writer = SegmentWriter(fixture.node, fixture.volume_node, fixture.volume)
        return fixture

    def test_slices_are_written_in_the_segments_own_grid_and_share_no_voxel(self, fixture):
        a, b, _ = fixture.ids
        for index in (3, 4):
            plane = SlicePlane(Axis.K, index)
            fixture.writer.write(fixture.ids[index - 3], plane, np.ones((10, 12), bool), policy=FREE)
        layers = [Layer(fixture.node, segment) for segment in (a, b)]
        held = [layer.copy_of_block((0, 59, 0, 49, 0, 39)) == layer.label for layer in layers]
        assert all(one.any() for one in held)
        assert not (held[0] & held[1]).any()
        to_volume = np.linalg.inv(fixture.volume.ijk_to_ras) @ layers[0].grid.ijk_to_ras
        for one, index in zip(held, (3, 4), strict=True):
            ijk = np.argwhere(one)[:, ::-1] @ to_volume[:3, :3].T + to_volume[:3, 3]
            assert (np.abs(ijk[:, 2] - index) <= 0.5 + 1e-6).all()

    def test_emptying_a_slice_leaves_the_next_one(self, fixture):
        full, plane, following = np.ones((10, 12), bool), SlicePlane(Axis.K, 3), SlicePlane(Axis.K, 4)
        fixture.writer.write(fixture.ids[0], following, full, policy=FREE)
        there = Layer(fixture.node, fixture.ids[0]).copy_of_block((0, 59, 0, 49, 0, 39)).copy()
        fixture.writer.write(fixture.ids[0], plane, full, policy=FREE)
        fixture.writer.write(fixture.ids[0], plane, ~full, policy=FREE)
        np.testing.assert_array_equal(Layer(fixture.node, fixture.ids[0]).copy_of_block((0, 59, 0, 49, 0, 39)), there)

    def test_what_is_written_is_read_where_the_grid_is_fine_enough(self, fixture):
        plane = SlicePlane(Axis.J, 4)
        mask = np.zeros((8, 12), bool)
        mask[3:6, 4:9] = True
        written = fixture.writer.write(fixture.ids[0], plane, mask, policy=FREE)
        np.testing.assert_array_equal(fixture.writer.read(fixture.ids[0], plane), mask)
        np.testing.assert_array_equal(written.after, mask)
        assert not written.before.any()


def test_every_voxel_of_another_grid_belongs_to_the_slice_nearest_to_it():
    volume = Grid(np.eye(4), (0, 11, 0, 9, 0, 7))
    grid = Grid(turned(spacing=(0.7, 0.9, 0.6), angles=(0.2, 0.1, 0.3), origin=(1, -2, 1)), (0, 15, 0, 15, 0, 15))
    owners = np.zeros((16, 16, 16), int)
    for index in range(8):
        part = grid_slice(grid, volume, SlicePlane(Axis.K, index))
        if part is None:  # nothing of the grid is there
            continue
        i, j, k = (slice(part.extent[2 * a], part.extent[2 * a + 1] + 1) for a in range(3))
        owners[k, j, i] += part.belongs
    ijk = np.argwhere(np.ones((16, 16, 16)))[:, ::-1] @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3]
    is_inside = ((ijk >= -0.5) & (ijk < [11.5, 9.5, 7.5])).all(axis=1).reshape(16, 16, 16)
    np.testing.assert_array_equal(owners, is_inside)


def test_a_segmentation_elsewhere_is_refused_with_the_reason(app):
    fixture = WriterFixture(app)
    other = add_volume(app, np.zeros((3, 3, 3), np.int16), name="far")
    other.SetOrigin(5000, 0, 0)
    fixture.node.SetReferenceImageGeometryParameterFromVolumeNode(other)
    with pytest.raises(GeometryError, match="no voxels on slice 3 along k"):
        fixture.writer.write(fixture.ids[0], SlicePlane(Axis.K, 3), np.ones((10, 12), bool), policy=FREE)


def test_a_segment_that_is_gone_is_refused_with_the_reason(app):
    fixture = WriterFixture(app)
    fixture.node.GetSegmentation().RemoveSegment(fixture.ids[0])
    with pytest.raises(DataError, match="not stored as a labelmap"):
        fixture.writer.write(fixture.ids[0], SlicePlane(Axis.K, 3), np.ones((10, 12), bool), policy=FREE)


def test_more_segments_than_a_byte_can_number(app):
    fixture = WriterFixture(app)
    segment = fixture.ids[0]
    fixture.node.GetSegmentation().GetSegment(segment).SetLabelValue(300)
    plane = SlicePlane(Axis.K, 3)
    mask = random_mask(plane)
    fixture.writer.write(segment, plane, mask, policy=FREE)
    np.testing.assert_array_equal(fixture.writer.read(segment, plane), mask)
