"""Label maps become objects with confirmed masks, in one undo step, wherever their grid is."""

import json

import numpy as np
import pytest
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.object_actions import add_objects, read_objects, slice_axis
from NeuroSAM2Lib.segmentation.recovery import recover, unsaved_work
from NeuroSAM2Lib.segmentation.session_view import session_view

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.scenes import GEOMETRIES, make_app
from Testing.Support.sessions import SHAPE, SimulatedUser, place_point

TABLE = LabelTable((LabelEntry(3, "left lesion", (255, 0, 51)), LabelEntry(7, "edema", (0, 102, 204))))
LABELS = np.zeros(SHAPE, np.int16)
LABELS[2:6, 4:12, 5:14] = 3
LABELS[4:8, 10:16, 8:20] = 7
"""The second takes voxels from the first, as values of a label map do."""


def open_labels(user, labels=LABELS, table=TABLE):
    return add_objects(
        user.session, read_objects(user.document.volume, user.document.volume.with_voxels(labels), table)
    )


def whole(user, number):
    axis = user.document.axis_of(number)
    count = user.document.volume.shape[axis.array_axis]
    return np.stack([user.mask(SlicePlane(axis, n), number) for n in range(count)], axis=axis.array_axis)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_value_becomes_an_object_where_it_is_with_name_and_colour(app, geometry):
    user = SimulatedUser(app, geometry=geometry)
    one, other = open_labels(user)
    np.testing.assert_array_equal(whole(user, one), LABELS == 3)
    np.testing.assert_array_equal(whole(user, other), LABELS == 7)
    shown = [user.document.objects.display_properties(number) for number in (one, other)]
    assert [one.name for one in shown] == ["left lesion", "edema"]
    assert shown[0].colour == pytest.approx((1, 0, 0.2))
    axis = user.document.axis_of(one)
    there = np.flatnonzero((LABELS == 3).any(axis=tuple(n for n in range(3) if n != axis.array_axis)))
    assert user.document.objects.record(one).prompts.kept == set(there.tolist())
    assert not list(user.document.slice_io.edited_by_hand(one))


def test_opening_is_one_step_that_is_undone_and_redone_bit_exact(app):
    user = SimulatedUser(app)
    user.session.add_box(SlicePlane(Axis.K, 4), BoxPrompt(4, 4, 12, 15))
    user.settle()
    before = user.bytes()
    open_labels(user)
    after = user.bytes()
    assert session_view(user.session).undo_name == "Open label map"
    assert user.session.undo()
    assert user.bytes() == before
    assert user.session.redo()
    assert user.bytes() == after
    assert user.document.objects.record(2).prompts.kept == {2, 3, 4, 5}


def test_the_model_goes_on_from_the_masks(app):
    user = SimulatedUser(app)
    one, _ = open_labels(user)
    user.session.choose(user.document.objects.segment_id(one))
    user.session.propagate(first=0, last=8)
    user.settle()
    np.testing.assert_array_equal(whole(user, one)[2:6], (LABELS == 3)[2:6])
    assert {plane.index for plane in user.document.objects.record(one).quality} >= {1, 6}
    place_point(user.session, SlicePlane(Axis.K, 3), 6, 7)
    user.settle()
    assert 3 not in user.document.objects.record(one).prompts.kept


def test_what_was_opened_comes_back_after_a_crash(app, tmp_path):
    user = SimulatedUser(app)
    open_labels(user)
    path = user.document.journal.path
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    gone = json.loads(head)
    gone["head"]["owner"] = "gone"
    path.write_text("\n".join([json.dumps(gone), *lines]) + "\n", encoding="utf-8")
    (tmp_path / "another").mkdir()
    other = SimulatedUser(make_app(tmp_path / "another"))
    (unsaved,) = unsaved_work(path.parent, other.document.volume)
    assert recover(other.document, unsaved) == 2
    np.testing.assert_array_equal(whole(other, 2), LABELS == 7)


def test_without_a_table_values_have_numbers_or_freesurfers_names(app):
    user = SimulatedUser(app)
    open_labels(user, table=None)
    assert [row.name for row in session_view(user.session).objects] == ["label 3", "label 7"]
    aseg = np.where(LABELS == 3, 17, np.where(LABELS == 7, 53, 0)).astype(np.int16)
    aseg[0, 0, 0] = 41
    open_labels(user, aseg, None)
    names = [row.name for row in session_view(user.session).objects]
    assert names[2:] == ["Left-Hippocampus", "Right-Cerebral-White-Matter", "Right-Hippocampus"]


def test_a_name_that_is_taken_gets_a_number(app):
    user = SimulatedUser(app)
    open_labels(user)
    open_labels(user)
    assert [row.name for row in session_view(user.session).objects][2:] == ["left lesion (2)", "edema (2)"]


def test_labels_on_another_grid_are_resampled_and_that_is_reported(app):
    user = SimulatedUser(app)
    finer = user.document.volume.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1.0])
    finer[:3, 3] -= 0.25 * user.document.volume.ijk_to_ras[:3, :3].sum(axis=1)
    label = Volume(LABELS.repeat(2, 0).repeat(2, 1).repeat(2, 2), finer, name="fine")
    add_objects(user.session, read_objects(user.document.volume, label, TABLE))
    assert "fine is on another grid" in user.session.notice
    np.testing.assert_array_equal(whole(user, 1), LABELS == 3)


def test_what_cannot_become_objects_is_refused_and_changes_nothing(app):
    user = SimulatedUser(app)
    before = user.bytes()
    with pytest.raises(DataError, match="400 labels; at most 300"):
        open_labels(user, np.arange(LABELS.size).reshape(SHAPE).clip(0, 400).astype(np.int16))
    far = user.document.volume.ijk_to_ras.copy()
    far[0, 3] += 900
    with pytest.raises(DataError, match="lies outside"):
        read_objects(user.document.volume, Volume(LABELS, far, name="far"))
    assert user.bytes() == before


def test_objects_are_segmented_along_the_thickest_slices():
    volume = Volume(np.zeros((4, 5, 6), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert slice_axis(volume) is Axis.K
    assert slice_axis(Volume(volume.voxels, np.diag([-5.0, -1.0, 1.0, 1.0]))) is Axis.I


def test_the_image_is_left_as_it_is(app):
    user = SimulatedUser(app)
    open_labels(user)
    np.testing.assert_array_equal(read_volume(user.volume_node).voxels, user.voxels)
