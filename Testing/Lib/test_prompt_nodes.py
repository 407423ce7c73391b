"""Prompts as Markups nodes, there and back."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from NeuroSAM2Lib.scene.arrays import to_vtk
from NeuroSAM2Lib.scene.views.slice_views import nearest_slice
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import PromptNodes

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt, LassoPrompt, ObjectPrompts, PointPrompt, ScribblePrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume, make_app, turned

SHAPE = (10, 20, 30)


class Place:
    """A volume with its prompt nodes."""

    def __init__(self, app, name="oblique"):
        self.app = app
        self.volume_node = add_volume(app, np.zeros(SHAPE, np.int16), GEOMETRIES[name])
        self.segmentation_node, _ = add_segmentation(app)
        self.volume = read_volume(self.volume_node)
        self.nodes = PromptNodes(app.scene, self.volume_node, self.segmentation_node)
        self.nodes.follow_volume()


def some_prompts(axis=Axis.K):
    plane, other = SlicePlane(axis, 3), SlicePlane(axis, 5)
    return (
        ObjectPrompts()
        .with_point(plane, PointPrompt(4.123, 7.5))
        .with_point(plane, PointPrompt(2, 8.25, False))
        .with_point(other, PointPrompt(5, 9))
        .with_box(other, BoxPrompt(1, 2.5, 8, 17.125))
        .with_scribble(plane, ScribblePrompt(((2.0, 3.5), (6.125, 9.0), (4.0, 8.0))))
        .with_scribble(other, ScribblePrompt(((1.5, 2.0),), False))
        .with_lasso(SlicePlane(axis, 6), LassoPrompt(((1.0, 2.0), (5.5, 3.0), (4.0, 8.875))))
        .with_lasso(SlicePlane(axis, 6), LassoPrompt(((2.0, 2.0), (3.0, 3.0), (4.0, 8.0), (3.0, 9.0))))
        .with_confirmed(SlicePlane(axis, 7))
        .with_reading(plane, 2)
    )


@pytest.mark.parametrize("axis", Axis)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_what_is_written_is_read(app, name, axis):
    place = Place(app, name)
    prompts = some_prompts(axis)
    place.nodes.write(1, prompts, place.volume)
    assert place.nodes.read(1, place.volume) == prompts
    assert place.nodes.read(2, place.volume) == ObjectPrompts()


indices = st.integers(0, 9)
prompt_steps = st.lists(
    st.tuples(st.sampled_from(["point", "box", "kept", "clear"]), indices, st.floats(0, 18), st.booleans()), max_size=6
)


@given(prompt_steps)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_way_of_writing_leads_to_the_same_nodes(tmp_path_factory, steps):
    place = Place(make_app(tmp_path_factory.mktemp("scene")))
    prompts = ObjectPrompts()
    for what, index, where, positive in steps:
        plane = SlicePlane(Axis.K, index)
        if what == "point":
            prompts = prompts.with_point(plane, PointPrompt(where, where / 2, positive))
        elif what == "box":
            prompts = prompts.with_box(plane, BoxPrompt(where / 2, 0, where, 3))
        elif what == "kept":
            prompts = prompts.with_confirmed(plane)
        else:
            prompts = prompts.without(index)
        place.nodes.write(1, prompts, place.volume)
        assert place.nodes.read(1, place.volume) == prompts


def test_a_point_placed_by_hand_goes_to_the_nearest_slice_and_comes_last(app):
    place = Place(app)
    place.nodes.write(1, some_prompts(), place.volume)
    node = place.nodes.points_node(1, positive=True)
    node.AddControlPointWorld(*place.volume.to_ras(np.array([12.0, 6.0, 4.3])))
    read = place.nodes.read(1, place.volume)
    assert read.points[:-1] == some_prompts().points
    assert (read.points[-1].index, read.points[-1].point) == (4, PointPrompt(6, 12))
    place.nodes.write(1, read, place.volume)
    there = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(node.GetNumberOfControlPoints() - 1, there)
    np.testing.assert_allclose(place.volume.to_ijk(np.array(there)), [12, 6, 4], atol=1e-3)


def test_prompts_move_with_the_volume(app):
    place = Place(app, "under a turn")
    place.nodes.write(1, some_prompts(), place.volume)
    place.volume_node.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(turned(angles=(0.9, -0.4, 0.2))))
    assert place.nodes.read(1, read_volume(place.volume_node)) == some_prompts()


def test_a_point_outside_the_volume_is_no_prompt_and_is_left_alone(app):
    place = Place(app)
    place.nodes.write(1, some_prompts(), place.volume)
    node = place.nodes.points_node(1, positive=True)
    node.AddControlPointWorld(*place.volume.to_ras(np.array([500.0, 6.0, 4.0])))
    count = node.GetNumberOfControlPoints()
    assert place.nodes.read(1, place.volume) == some_prompts()
    place.nodes.write(1, some_prompts().without(5), place.volume)
    assert node.GetNumberOfControlPoints() == count - 1


def test_two_segmentations_do_not_see_each_others_prompts(app):
    place = Place(app)
    place.nodes.write(1, some_prompts(), place.volume)
    other, _ = add_segmentation(app)
    nodes = PromptNodes(app.scene, place.volume_node, other)
    assert nodes.read(1, place.volume) == ObjectPrompts()
    assert place.nodes.read(1, place.volume) == some_prompts()


@pytest.mark.parametrize("suffix", [".mrml", ".mrb"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_prompts_come_back_with_the_scene(app, tmp_path, name, suffix):
    place = Place(app, name)
    place.nodes.write(1, some_prompts(), place.volume)
    app.save(tmp_path / f"scene{suffix}")
    again = make_app(tmp_path)
    again.load(tmp_path / f"scene{suffix}")
    volume_node = again.scene.GetFirstNodeByName("T1")
    volume = read_volume(volume_node)
    nodes = PromptNodes(again.scene, volume_node, again.scene.GetFirstNodeByName("Segmentation"))
    assert_same_places(nodes.read(1, volume), volume, some_prompts(), place.volume)


def assert_same_places(one, one_volume, other, other_volume):
    """The same prompts at the same places in the world; a file may turn the grid around."""
    for a, b in zip(one.points, other.points, strict=True):
        assert a.point.positive == b.point.positive
        np.testing.assert_allclose(
            point_in_world(one, a, one_volume), point_in_world(other, b, other_volume), atol=1e-2
        )
    middles = [
        sorted(one_volume_middle(prompts, volume, index).tolist() for index in prompts.kept)
        for prompts, volume in ((one, one_volume), (other, other_volume))
    ]
    np.testing.assert_allclose(*middles, atol=1e-2)
    read = [[prompts.reading_on(placed.index) for placed in prompts.points] for prompts in (one, other)]
    assert read[0] == read[1]
    for a, b in zip(corners(one, one_volume), corners(other, other_volume), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-2)


def point_in_world(prompts, placed, volume):
    return volume.to_ras(np.array(SlicePlane(prompts.axis, placed.index).to_ijk(placed.point.row, placed.point.col)))


def one_volume_middle(prompts, volume, index):
    height, width = SlicePlane(prompts.axis, index).of(volume.voxels).shape
    return volume.to_ras(np.array(SlicePlane(prompts.axis, index).to_ijk((height - 1) / 2, (width - 1) / 2)))


def corners(prompts, volume):
    found = []
    for placed in prompts.boxes:
        box, plane = placed.box, SlicePlane(prompts.axis, placed.index)
        places = [plane.to_ijk(row, col) for row in (box.row0, box.row1) for col in (box.col0, box.col1)]
        found.append(np.array(sorted(np.round(volume.to_ras(np.array(places)), 3).tolist())))
    return found


def test_an_object_is_prompted_along_one_axis():
    with pytest.raises(PromptError, match="segmented along k"):
        some_prompts().with_point(SlicePlane(Axis.J, 1), PointPrompt(1, 1))


def test_taking_everything_back_frees_the_axis():
    prompts = ObjectPrompts().with_point(SlicePlane(Axis.K, 3), PointPrompt(1, 1)).without(3)
    assert prompts == ObjectPrompts()
    assert prompts.with_point(SlicePlane(Axis.J, 1), PointPrompt(1, 1)).axis == Axis.J


def test_changes_name_the_slices_that_must_be_stated_again():
    before = some_prompts()
    after = before.without(3).with_point(SlicePlane(Axis.K, 6), PointPrompt(1, 1))
    assert {plane.index for plane in after.changed_since(before)} == {3, 6}
    assert after.changed_since(after) == ()
    assert {plane.index for plane in ObjectPrompts().changed_since(before)} == {3, 5, 6, 7}


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("axis", Axis)
def test_a_view_along_an_axis_shows_that_slice(app, name, axis):
    volume = Place(app, name).volume
    number = "ijk".index(axis)
    across = volume.ras_to_ijk[number, :3]
    ijk = np.array([7.0, 8.0, 4.0])
    shown = nearest_slice(volume, across / np.linalg.norm(across), volume.to_ras(ijk))
    assert shown.plane == SlicePlane(axis, int(ijk[number]))
    assert shown.notice == ""


def test_an_oblique_view_snaps_to_the_nearest_axis_and_says_so(app):
    volume = Place(app, "upright").volume
    normal = np.array([np.sin(0.3), 0, np.cos(0.3)])
    shown = nearest_slice(volume, normal, volume.to_ras(np.array([7, 8, 4])))
    assert shown.plane == SlicePlane(Axis.K, 4)
    assert "17 degrees" in shown.notice
