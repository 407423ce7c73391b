"""What a person can rely on while outlining objects in a scene."""

import sys
import time

import numpy as np
import pytest
from NeuroSAM2Lib.scene.arrays import to_vtk, voxels_of
from NeuroSAM2Lib.scene.segments import layers
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy, SegmentWriter
from NeuroSAM2Lib.segmentation.objects import prompt_nodes, scene_objects
from NeuroSAM2Lib.segmentation.session_view import session_view

from NeuroSAM2Core.errors import DataError, PromptError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import PredictSlice, Propagate, RestoreSlice
from NeuroSAM2Core.volume import Axis, Direction, SlicePlane
from Testing.Support.fake_engine import FakeEngine, answer_to, tracked_from
from Testing.Support.pace import slowness
from Testing.Support.scenes import add_segmentation, world
from Testing.Support.sessions import SimulatedUser, place_at, place_point

PLANE = SlicePlane(Axis.K, 4)


@pytest.fixture
def user(app):
    return SimulatedUser(app)


@pytest.fixture
def patient(app):
    return SimulatedUser(app, is_patient=True)


def answer(user, plane=PLANE, number=1):
    prompts = user.document.objects.record(number).prompts.prompt_set(number, plane, revision=1, mask=None)
    return answer_to(prompts, plane.of(user.voxels).shape)


def test_a_click_makes_an_object_and_shows_its_mask(user):
    place_at(user.session, world(user.document.volume, 10, 7, 4))
    user.settle()
    assert user.mask(PLANE)[7, 10]
    np.testing.assert_array_equal(user.mask(PLANE), answer(user))
    assert user.voxels_of().sum() == user.mask(PLANE).sum()
    assert user.document.nodes.points_node(1, positive=True).GetNumberOfControlPoints() == 1


def test_one_more_click_corrects_and_a_negative_one_takes_away(user):
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    place_point(user.session, PLANE, 8, 10, positive=False)
    user.settle()
    assert not user.mask(PLANE)[8, 10]
    assert user.mask(PLANE)[5, 5]


def test_an_answer_to_what_is_no_longer_reported_is_dropped(patient):
    place_point(patient.session, PLANE, 7, 10)
    patient.engines.last.work()
    place_point(patient.session, PLANE, 15, 20)
    patient.session.poll()
    assert not patient.voxels_of().any()
    patient.settle()
    np.testing.assert_array_equal(patient.mask(PLANE), answer(patient))


def test_propagation_streams_slice_by_slice_and_stop_keeps_what_is_done(patient):
    session = patient.session
    place_point(session, PLANE, 7, 10)
    patient.settle()
    session.propagate()
    patient.engines.last.work(3)
    patient.take_in()
    assert patient.voxels_of().any(axis=(1, 2)).sum() == 4
    session.stop()
    patient.settle()
    assert session.engine_sync.propagation.request is None
    assert "what is done stays" in session.notice
    assert patient.voxels_of().any(axis=(1, 2)).sum() == 4
    session.resume()
    patient.settle()
    assert patient.voxels_of().any(axis=(1, 2)).all()
    np.testing.assert_array_equal(patient.mask(SlicePlane(Axis.K, 6)), tracked_from(answer(patient), 2))


def test_range_and_direction_are_passed_on(user):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    user.session.propagate(first=2, last=7, direction=Direction.UP)
    user.settle()
    assert np.flatnonzero(user.voxels_of().any(axis=(1, 2))).tolist() == [4, 5, 6, 7]


def test_a_correction_makes_its_neighbours_out_of_date_and_continue_does_them_again(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    place_point(session, SlicePlane(Axis.K, 0), 7, 10)
    user.settle()
    session.propagate()
    user.settle()
    assert not session.can_continue
    corrected = SlicePlane(Axis.K, 7)
    place_point(session, corrected, 15, 15)
    user.settle()
    stale = {p.index for p, q in user.document.active_record.quality.items() if q.is_stale}
    assert stale == {5, 6, 8}
    assert session.can_continue
    session.resume()
    user.settle()
    np.testing.assert_array_equal(user.mask(corrected), answer(user, corrected))
    np.testing.assert_array_equal(user.mask(SlicePlane(Axis.K, 8)), tracked_from(answer(user, corrected), 1))
    assert not session.can_continue


def test_undo_and_redo_return_the_exact_bytes_and_the_prompts(user):
    session = user.session
    states, prompts = [], []

    def note():
        user.settle()
        states.append(user.bytes())
        prompts.append(user.document.nodes.read(1, user.document.volume))

    note()
    for act in (
        lambda: session.add_box(PLANE, BoxPrompt(4, 4, 12, 15)),
        lambda: place_point(session, PLANE, 8, 10, positive=False),
        session.propagate,
        lambda: place_point(session, SlicePlane(Axis.K, 7), 3, 3),
        lambda: session.remove_last_prompt(PLANE),
        session.clear,
    ):
        act()
        note()
    for number in (5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 5, 4):
        going_back = number < len(states) - 1 and user.bytes() != states[number]
        assert going_back or number == 6
        if user.bytes() == states[min(number + 1, 6)]:
            assert session.undo()
        else:
            assert session.redo()
        assert user.bytes() == states[number]
        user.settle()
        assert user.bytes() == states[number]
        assert user.document.nodes.read(1, user.document.volume) == prompts[number]
    for _ in range(4):
        session.undo()
    assert not session.undo()


def test_undo_of_the_first_click_takes_the_object_back_and_redo_brings_it(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    there = user.bytes()
    assert session.undo()
    assert user.document.objects.segments == {}
    assert user.document.nodes.points_node(1, positive=True).GetNumberOfControlPoints() == 0
    assert session.redo()
    assert user.bytes() == there
    assert len(user.document.active_record.prompts.points) == 1


def test_an_object_begun_after_undo_is_called_as_if_the_first_had_never_been(user):
    session, objects = user.session, user.document.objects
    place_point(session, PLANE, 7, 10)
    user.settle()
    session.undo()
    place_point(session, PLANE, 5, 5)
    user.settle()
    assert [objects.name(number) for number in objects.segments] == ["object 1"]
    session.next_object()
    place_point(session, PLANE, 3, 3)
    objects.node.GetSegmentation().GetSegment(objects.segment_id(user.document.active)).SetName("tumour")
    session.next_object()
    place_point(session, PLANE, 9, 12)
    assert [objects.name(number) for number in objects.segments] == ["object 1", "tumour", "object 2"]


def test_manual_edits_share_the_stack(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    before = user.bytes()
    history = user.app.edit_history(user.segmentation_node)
    history.save()  # what the Segment Editor does before an effect
    paint(user, SlicePlane(Axis.K, 2))
    painted = user.bytes()
    place_point(session, SlicePlane(Axis.K, 6), 3, 3)
    user.settle()
    session.undo()
    assert user.bytes() == painted
    assert session.undo()
    assert user.bytes() == before
    assert len(user.document.active_record.prompts.points) == 1
    history.redo()
    history.redo()  # somebody else's redo button
    session.poll()
    assert len(user.document.nodes.read(1, user.document.volume).points) == 2


def paint(user, plane, number=1):
    writer = SegmentWriter(user.segmentation_node, user.volume_node, user.document.volume)
    mask = np.zeros(plane.of(user.voxels).shape, bool)
    mask[1:4, 1:6] = True
    writer.write(user.document.objects.segment_id(number), plane, mask, policy=EditPolicy())
    return mask


def test_slices_painted_by_hand_are_kept_when_propagating(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    session.propagate(last=6)
    user.settle()
    new, changed = SlicePlane(Axis.K, 8), SlicePlane(Axis.K, 2)
    masks = {plane: paint(user, plane) for plane in (new, changed)}
    session.propagate()
    user.settle()
    for plane, mask in masks.items():
        np.testing.assert_array_equal(user.mask(plane), mask)
    assert user.document.active_record.prompts.kept == {8, 2}
    np.testing.assert_array_equal(user.mask(SlicePlane(Axis.K, 7)), tracked_from(masks[new], -1))


def test_a_confirmed_slice_is_a_prompt_from_then_on(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    session.propagate()
    user.settle()
    plane = SlicePlane(Axis.K, 6)
    mask = user.mask(plane)
    session.confirm(plane)
    place_point(session, PLANE, 15, 15)
    session.propagate()
    user.settle()
    np.testing.assert_array_equal(user.mask(plane), mask)
    assert any(isinstance(r, RestoreSlice) and r.mask.plane == plane and r.prompts for r in user.engines.last.requests)
    session.confirm(plane)
    assert "already" in session.notice


def test_objects_do_not_touch_each_other(user):
    session = user.session
    session.add_box(PLANE, BoxPrompt(2, 2, 12, 12))
    user.settle()
    session.propagate()
    user.settle()
    first = user.voxels_of(1)
    assert session.next_object("second") == 2
    session.add_box(PLANE, BoxPrompt(6, 6, 18, 18))
    session.propagate()
    user.settle()
    np.testing.assert_array_equal(user.voxels_of(1), first)
    assert user.voxels_of(2).any(axis=(1, 2)).all()
    session.choose(user.document.objects.segment_id(1))
    assert user.document.active == 1


def test_a_segment_of_ones_own_becomes_an_object(user):
    segment = user.segmentation_node.GetSegmentation().AddEmptySegment("", "mine")
    number = user.session.choose(segment)
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    assert user.mask(PLANE, number)[7, 10]


@pytest.mark.parametrize("undo_state", ["prompting", "propagating"])
def test_a_dead_engine_is_replaced_and_nothing_is_lost(patient, undo_state):
    session = patient.session
    place_point(session, PLANE, 7, 10)
    if undo_state == "propagating":
        patient.settle()
        session.propagate()
        patient.engines.last.work(2)
        patient.take_in()
        assert patient.voxels_of().any(axis=(1, 2)).sum() == 3
    patient.engines.last.kill()
    session.poll()
    assert "nothing is lost" in session.notice
    patient.settle()
    assert len(patient.engines.made) == 2
    np.testing.assert_array_equal(patient.mask(PLANE), answer(patient))
    if undo_state == "propagating":
        assert patient.voxels_of().any(axis=(1, 2)).all()
        restored = [r.mask.plane.index for r in patient.engines.last.requests if isinstance(r, RestoreSlice)]
        assert len(restored) == 3


def test_undo_names_manual_edits_wherever_they_come_in(user):
    session, node = user.session, user.segmentation_node
    history = user.app.edit_history(node)
    writer = SegmentWriter(node, user.volume_node, user.document.volume)

    def paint(segment_id, k):
        history.save()
        mask = np.zeros((20, 24), bool)
        mask[2:5, 2:5] = True
        writer.write(segment_id, SlicePlane(Axis.K, k), mask, policy=EditPolicy())

    def name():
        session.poll()
        return session_view(session).undo_name

    names = []
    for act in (
        lambda: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)),
        lambda: paint(user.document.objects.segment_id(1), 1),
        lambda: paint(user.document.objects.segment_id(1), 2),
        lambda: place_point(session, PLANE, 7, 10),
        lambda: paint(node.GetSegmentation().AddEmptySegment("", "no object"), 3),
        lambda: session.next_object(),
    ):
        act()
        user.settle()
        names.append(name())
    assert names == ["Box", "Manual edit", "Manual edit", "Point", "Manual edit", "New object"]
    for _ in range(2):
        for expected in (*reversed(names[:-1]), ""):
            assert session.undo()
            user.settle()
            assert name() == expected
        for expected in names:
            assert session.redo()
            user.settle()
            assert name() == expected


def test_undo_and_redo_change_no_name_of_a_node(app):
    for user in (SimulatedUser(app), SimulatedUser(app)):  # two segmentations have objects of the same numbers
        session = user.session
        names = []
        for act in (
            lambda session=session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)),
            lambda session=session: session.add_box(PLANE, BoxPrompt(5, 5, 12, 12)),
            lambda session=session: place_point(session, SlicePlane(Axis.K, 6), 7, 10, positive=False),
            lambda session=session: session.add_box(SlicePlane(Axis.K, 6), BoxPrompt(4, 4, 12, 12)),
        ):
            act()
            user.settle()
            names.append(sorted(node.GetName() for node in user.document.nodes.all_nodes()))
        assert all(len(set(some)) == len(some) for some in names)
        for _ in range(2):
            for expected in reversed(names[:-1]):
                session.undo()
                user.settle()
                assert sorted(node.GetName() for node in user.document.nodes.all_nodes()) == expected
            for expected in names[1:]:
                session.redo()
                user.settle()
                assert sorted(node.GetName() for node in user.document.nodes.all_nodes()) == expected


def test_an_engine_that_keeps_dying_is_not_restarted_until_retried(patient):
    session = patient.session
    place_point(session, PLANE, 7, 10)
    for _ in range(3):
        patient.engines.last.kill()
        session.poll()
    assert "in a row" in session.notice
    assert len(patient.engines.made) == 3
    session.retry()
    patient.settle()
    np.testing.assert_array_equal(patient.mask(PLANE), answer(patient))


def test_a_prompt_that_failed_stays_and_is_asked_again(user):
    user.session.warm_up()
    user.engines.last.fail_next = "There is not enough memory for that"
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    assert user.session.notice == "There is not enough memory for that"
    place_point(user.session, PLANE, 8, 12)
    user.settle()
    np.testing.assert_array_equal(user.mask(PLANE), answer(user))


def test_undo_during_propagation_gives_it_up(patient):
    session = patient.session
    place_point(session, PLANE, 7, 10)
    patient.settle()
    before = patient.bytes()
    session.propagate()
    patient.engines.last.work(3)
    session.poll()
    session.undo()
    patient.settle()
    assert patient.bytes() == before


@pytest.mark.parametrize("gone", ["volume", "segmentation", "scene"])
def test_what_is_deleted_in_mid_propagation_ends_the_session_with_a_sentence(patient, gone):
    session = patient.session
    place_point(session, PLANE, 7, 10)
    patient.settle()
    session.propagate()
    patient.engines.last.work(2)
    scene = patient.app.scene
    if gone == "scene":
        scene.Clear(0)
    else:
        scene.RemoveNode(patient.volume_node if gone == "volume" else patient.segmentation_node)
    patient.engines.last.work(2)
    session.poll()
    assert ("closed" if gone == "scene" else "deleted") in session.notice
    with pytest.raises(DataError, match=r"closed|deleted"):
        session.add_box(PLANE, BoxPrompt(1, 1, 5, 5))
    if gone != "scene":
        assert scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode").GetNumberOfControlPoints() == 1
    if gone == "volume":
        assert patient.segmentation_node.GetSegmentation().GetNumberOfSegments() == 1


def test_another_scene_loaded_in_mid_propagation_is_not_touched(patient, tmp_path):
    place_point(patient.session, PLANE, 7, 10)
    patient.settle()
    patient.app.save(tmp_path / "scene.mrb")
    before = patient.bytes()
    patient.session.propagate()
    patient.engines.last.work(2)
    patient.app.scene.Clear(0)
    patient.app.load(tmp_path / "scene.mrb")
    patient.engines.last.work(4)
    patient.session.poll()
    again = SimulatedUser.__new__(SimulatedUser)
    again.segmentation_node = patient.app.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert [state[1:] for state in again.bytes()] == [state[1:] for state in before]


def test_two_volumes_in_one_scene_keep_to_themselves(patient):
    first = patient
    place_point(first.session, PLANE, 7, 10)
    first.settle()
    first.session.propagate()
    first.engines.last.work(2)
    before = first.bytes()
    first.watch.end("another volume was chosen")
    second = SimulatedUser(first.app)
    second.link = first.link
    second.engines = first.engines
    second.begin()
    place_point(second.session, PLANE, 12, 12)
    second.settle()
    assert first.bytes() == before
    assert second.mask(PLANE)[12, 12]
    assert len(first.engines.made) == 1


def test_a_changed_image_is_noticed_and_sent_anew(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    before = user.bytes()
    image = user.volume_node.GetImageData()
    voxels_of(image)[0, 0, 0] += 1
    image.GetPointData().GetScalars().Modified()
    place_point(session, SlicePlane(Axis.K, 6), 7, 10)
    assert "image has changed" in session.notice
    user.settle()
    assert user.bytes()[0][0] == before[0][0]
    assert user.mask(PLANE)[7, 10]
    assert user.mask(SlicePlane(Axis.K, 6))[7, 10]


def test_a_volume_that_is_moved_takes_its_prompts_and_masks_along(app):
    user = SimulatedUser(app, geometry="under a turn")
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    user.volume_node.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(np.diag([1.0, 1, 1, 1])))
    place_point(user.session, PLANE, 12, 12)
    user.settle()
    assert user.mask(PLANE)[7, 10]
    assert user.mask(PLANE)[12, 12]
    assert user.segmentation_node.GetTransformNodeID() == user.volume_node.GetTransformNodeID()


def test_a_prompt_deleted_after_the_volume_was_moved_leaves_the_others_in_place(app):
    user = SimulatedUser(app, geometry="under a turn")
    for row in (7, 12):
        place_point(user.session, PLANE, row, 10)
        user.settle()
    user.volume_node.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(np.diag([1.0, 1, 1, 1])))
    user.document.nodes.points_node(1, positive=True).RemoveNthControlPoint(0)
    user.settle()
    (left,) = user.document.active_record.prompts.points
    assert (left.index, left.point.row, left.point.col) == (PLANE.index, 12, 10)
    assert user.mask(PLANE)[12, 10]
    assert "the image has changed" in user.session.notice


@pytest.mark.parametrize("is_by_the_editor", [False, True])
def test_undo_after_the_volume_was_moved_brings_prompts_back_where_they_were_in_it(app, is_by_the_editor):
    user = SimulatedUser(app, geometry="under a turn")
    for row in (7, 12):
        place_point(user.session, PLANE, row, 10)
        user.settle()
    user.volume_node.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(np.diag([1.0, 1, 1, 1])))
    history = user.app.edit_history(user.segmentation_node) if is_by_the_editor else user.session
    for move, rows in ((history.undo, [7]), (history.redo, [7, 12])):
        move()
        user.settle()
        user.session.choose(user.document.objects.segment_id(1))  # an action, which sees the image as it is now
        points = user.document.nodes.read(1, user.document.volume).points
        assert [(p.point.row, p.point.col) for p in points] == [(row, 10) for row in rows]


def test_prompts_placed_moved_and_deleted_by_the_scenes_own_tools_count(user):
    session = user.session
    session.next_object()
    node = user.watch.expect_point(1, positive=True)
    node.AddControlPointWorld(*world(user.document.volume, 10, 7, 4))
    user.settle()
    assert user.mask(PLANE)[7, 10]
    node.SetNthControlPointPositionWorld(0, *world(user.document.volume, 15, 12, 4))
    node.InvokeEvent(node.PointEndInteractionEvent)
    user.settle()
    assert user.mask(PLANE)[12, 15]
    assert not user.mask(PLANE)[7, 10]
    node.RemoveNthControlPoint(0)
    user.settle()
    assert not user.voxels_of().any()
    for expected in (12, 7):
        session.undo()
        user.settle()
        assert user.mask(PLANE)[expected, 10 if expected == 7 else 15]


def test_a_point_that_is_unset_and_placed_anew_counts_where_it_is_now(user):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    node = user.document.nodes.points_node(1, positive=True)
    node.UnsetNthControlPointPosition(0)
    node.SetNthControlPointPositionWorld(0, *world(user.document.volume, 15, 12, 4))
    user.settle()
    assert user.mask(PLANE)[12, 15]
    assert not user.mask(PLANE)[7, 10]
    assert node.GetNumberOfControlPoints() == 1


def test_deleting_a_prompt_node_is_a_step_that_undo_takes_back(user):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    user.app.scene.RemoveNode(user.document.nodes.points_node(1, positive=True))
    user.settle()
    assert not user.voxels_of().any()
    user.session.undo()
    assert user.document.nodes.points_node(1, positive=True).GetNumberOfControlPoints() == 1


def test_a_deleted_segment_is_reported_and_comes_back_with_its_prompts(user):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    history = user.app.edit_history(user.segmentation_node)
    history.save()
    user.segmentation_node.GetSegmentation().RemoveSegment(user.document.objects.segment_id(1))
    assert user.document.active is None
    user.session.undo()
    assert user.document.active == 1
    assert len(user.document.nodes.read(1, user.document.volume).points) == 1


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda s: s.session.propagate(), "nothing to propagate"),
        (lambda s: s.session.clear(), "no object yet"),
        (lambda s: s.session.confirm(PLANE), "no object yet"),
    ],
)
def test_mistakes_are_one_sentence_and_change_nothing(user, act, words):
    before = user.bytes()
    with pytest.raises(PromptError, match=words):
        act(user)
    assert user.bytes() == before
    assert not user.session.undo()


@pytest.mark.parametrize(("i", "j", "k"), [(100, 7, 4), (10, 99, 4), (10, 7, -3)])
@pytest.mark.parametrize("positive", [True, False])
def test_a_point_outside_the_volume_is_refused_and_does_not_stay(user, i, j, k, positive):
    before = user.bytes()
    place_at(user.session, world(user.document.volume, i, j, k), positive=positive)
    assert "outside the volume" in user.session.notice
    assert user.bytes() == before
    assert not user.session.undo()
    assert not user.document.nodes.points_node(1, positive=positive).GetNumberOfControlPoints()
    place_point(user.session, PLANE, 7, 10)
    assert user.session.notice == ""
    assert len(user.document.active_record.prompts.points) == 1


def test_a_click_right_after_an_undo_in_the_segment_editor_goes_on_from_there(user):
    for row in (7, 9):
        place_point(user.session, PLANE, row, 10)
        user.settle()
    user.app.edit_history(user.segmentation_node).undo()
    place_point(user.session, PLANE, 12, 12)
    assert [p.point.row for p in user.document.nodes.read(1, user.document.volume).points] == [7, 12]
    user.settle()
    assert user.mask(PLANE)[12, 12]


def test_a_point_in_the_list_of_an_object_that_is_gone_begins_another(user):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    node = user.document.nodes.points_node(1, positive=True)
    user.segmentation_node.GetSegmentation().RemoveSegment(user.document.objects.segment_id(1))
    node.AddControlPointWorld(*world(user.document.volume, 12, 12, 4))
    user.settle()
    assert list(user.document.objects.segments) == [2]
    assert [p.point.row for p in user.document.nodes.read(2, user.document.volume).points] == [12]
    assert user.session.undo()
    assert not user.document.objects.segments


@pytest.mark.parametrize("is_own_segment", [False, True])
def test_a_new_object_has_none_of_the_prompts_of_one_that_had_its_number(user, is_own_segment):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    user.segmentation_node.GetSegmentation().RemoveSegment(user.document.objects.segment_id(1))
    user.watch.end("another session")
    user.begin()
    segmentation = user.segmentation_node.GetSegmentation()
    session = user.session
    number = session.choose(segmentation.AddEmptySegment()) if is_own_segment else session.next_object()
    assert number == 1
    place_point(user.session, PLANE, 12, 12)
    assert [p.point.row for p in user.document.nodes.read(1, user.document.volume).points] == [12]


def test_an_axis_once_chosen_is_kept_and_reported(user):
    session = user.session
    place_point(session, SlicePlane(Axis.J, 7), 4, 10)
    place_at(session, world(user.document.volume, 12, 9, 5))
    user.settle()
    assert user.mask(SlicePlane(Axis.J, 9))[5, 12]
    with pytest.raises(PromptError, match="segmented along j"):
        session.add_box(PLANE, BoxPrompt(1, 1, 5, 5))


def test_the_next_doubtful_slice_goes_round(user):
    place_point(user.session, SlicePlane(Axis.K, 5), 7, 10)
    user.settle()
    user.session.propagate()
    user.settle()
    visited, plane = [], SlicePlane(Axis.K, 0)
    for _ in range(3):
        plane = user.session.next_doubtful(plane)
        visited.append(plane.index)
    assert visited == [4, 8, 0]


def test_only_what_is_needed_is_asked(user):
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    place_point(session, PLANE, 8, 10)
    user.settle()
    session.propagate()
    user.settle()
    kinds = [type(r) for r in user.engines.last.requests]
    assert kinds.count(PredictSlice) == 2
    assert kinds.count(Propagate) == 1
    assert RestoreSlice not in kinds


def test_the_other_segmentations_of_a_scene_are_left_alone(user):
    other, ids = add_segmentation(user.app, "theirs")
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    assert other.GetSegmentation().GetSegmentIDs() == tuple(ids)
    assert other.GetSegmentation().GetSegment(ids[0]).GetRepresentation("Binary labelmap").IsEmpty()


@pytest.mark.usefixtures("settled_heap")
def test_many_slices_at_once_are_taken_in_a_little_at_a_time(app):
    user = SimulatedUser(app, shape=(256, 160, 160), is_patient=True)
    session = user.session
    session.add_box(SlicePlane(Axis.K, 128), BoxPrompt(40, 40, 120, 120))
    user.settle()
    session.propagate()
    user.engines.last.work()
    turns = []
    while session.engine_sync.propagation.request is not None:
        began = time.thread_time()
        session.poll()
        turns.append(time.thread_time() - began)
        assert session.has_more or session.engine_sync.propagation.request is None
    assert max(turns) < 0.1 * slowness(time.thread_time)
    assert len(turns) > 1
    assert user.voxels_of().any(axis=(1, 2)).all()


def test_what_is_still_to_be_taken_in_does_not_count_after_an_undo(app, monkeypatch):
    monkeypatch.setattr("NeuroSAM2Lib.segmentation.sync.engine_sync.TURN_S", 0.0)
    user = SimulatedUser(app, is_patient=True)
    session = user.session
    place_point(session, PLANE, 7, 10)
    user.settle()
    while session.has_more:
        session.poll()
    session.propagate()
    user.engines.last.work()
    for _ in range(3):
        session.poll()
    assert session.has_more
    session.undo()
    while session.has_more:
        session.poll()
    assert np.flatnonzero(user.voxels_of().any(axis=(1, 2))).tolist() == [4]


def test_a_slice_is_doubtful_by_the_measure_of_the_model_that_answered(app, monkeypatch):
    user = SimulatedUser(app)
    monkeypatch.setattr(FakeEngine, "review_iou_threshold", 0.4)
    place_point(user.session, SlicePlane(Axis.K, 5), 7, 10)
    user.settle()
    user.session.propagate(first=3, last=7)
    user.settle()
    assert not user.document.active_record.doubtful(Axis.K)
    user.link.close()
    monkeypatch.setattr(FakeEngine, "review_iou_threshold", 0.8)
    user.session.propagate()
    user.settle()
    doubtful = {p.index for p in user.document.active_record.doubtful(Axis.K)}
    assert doubtful == {0, 8}  # unsure of every fourth slice; 4 was done by the other model
    user.document.remember(1)
    user.begin()
    assert {p.index for p in user.document.active_record.doubtful(Axis.K)} == doubtful


def test_a_low_confidence_slice_is_doubtful_until_it_is_confirmed(user):
    session = user.session
    place_point(session, PLANE, 7, 10)  # the fake engine rates every fourth slice 0.5 and the others 0.9
    user.settle()
    session.propagate()
    user.settle()
    doubtful = {p.index for p in user.document.active_record.doubtful(Axis.K)}
    assert 8 in doubtful
    session.confirm(SlicePlane(Axis.K, 8))
    assert {p.index for p in user.document.active_record.doubtful(Axis.K)} == doubtful - {8}


def test_a_click_looks_at_each_object_a_few_times_however_many_there_are(user, monkeypatch):
    visible_plane, read = [], []
    number_of, state_of = scene_objects.object_number, prompt_nodes._state
    monkeypatch.setattr(scene_objects, "object_number", lambda segment: visible_plane.append(1) or number_of(segment))
    monkeypatch.setattr(prompt_nodes, "_state", lambda node: read.append(1) or state_of(node))

    def effort(count):
        while len(user.document.objects.segments) < count:
            user.session.next_object()
            user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 12))
            user.settle()
        visible_plane.clear()
        read.clear()
        place_point(user.session, PLANE, 6, 6)
        user.settle()
        session_view(user.session)
        return len(visible_plane), len(read)

    few, many = effort(4), effort(24)
    assert max(many) <= 24 * 16
    assert many[0] <= 8 * few[0]
    assert many[1] <= 8 * few[1]


def test_a_tracked_slice_is_read_once_and_costs_little_more_beside_many_objects(patient, monkeypatch):
    session, read = patient.session, []
    block = layers.Layer.block
    monkeypatch.setattr(layers.Layer, "block", lambda layer, extent: read.append(extent) or block(layer, extent))

    def effort(count):
        """Blocks of voxels and calls into C for a slice, once what is read of the segments is known."""
        while len(patient.document.objects.segments) < count:
            session.next_object()
            session.add_box(PLANE, BoxPrompt(4, 4, 12, 12))
            patient.settle()
        session.propagate()
        calls = []
        for _ in range(3):
            patient.engines.last.work(1)
            read.clear()
            calls.append(0)
            sys.setprofile(lambda _frame, event, _name: calls.append(calls.pop() + (event == "c_call")))
            try:
                session.poll()
            finally:
                sys.setprofile(None)
        session.stop()
        patient.settle()
        return len(read), calls[-1]

    (few_read, few_calls), (many_read, many_calls) = effort(4), effort(24)
    assert few_read == many_read == 1
    assert many_calls - few_calls <= 20 * 8


def test_segments_that_others_rename_delete_or_bring_back_are_found(user):
    for _ in range(2):
        user.session.next_object()
        user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 12))
        user.settle()
    first, second = (user.document.objects.segment_id(number) for number in (1, 2))
    segmentation = user.segmentation_node.GetSegmentation()
    kept = segmentation.GetSegment(first)
    segmentation.RemoveSegment(first)
    assert dict(user.document.objects.segments) == {2: second}
    segmentation.AddSegment(kept, first)
    assert dict(user.document.objects.segments) == {1: first, 2: second}
    segmentation.GetSegment(second).RemoveTag(scene_objects.OBJECT_TAG)
    assert dict(user.document.objects.segments) == {1: first}


def test_a_point_that_is_moved_or_renumbered_is_read_again(user):
    place_point(user.session, PLANE, 6, 6)
    user.settle()
    nodes, volume = user.document.nodes, user.document.volume
    known = nodes.read(1, volume)
    assert nodes.read(1, volume) is known
    points = nodes.points_node(1, positive=True)
    points.SetNthControlPointPositionWorld(0, *world(volume, 9, 8, 4))
    (moved,) = nodes.read(1, volume).points
    assert (moved.point.row, moved.point.col) == (8, 9)
    points.RemoveNthControlPoint(0)
    assert not nodes.read(1, volume).points


@pytest.mark.parametrize("geometry", ["upright", "anisotropic oblique", "under a shear"])
def test_a_box_over_the_edge_is_cut_off_there(app, geometry):
    user = SimulatedUser(app, geometry=geometry)
    volume = user.document.volume
    user.session.drag_box(volume.to_ras(np.array([-40, 3, 4])), volume.to_ras(np.array([10, 90, 4])))
    (box,) = user.document.active_record.prompts.boxes
    assert (box.index, *(round(n, 2) for n in (box.box.row0, box.box.col0, box.box.row1, box.box.col1))) == (
        *(4, 3, 0, volume.shape[1] - 1, 10),
    )
    for start, end in (([-40, 3, 4], [-5, 9, 4]), ([3, 3, 20], [9, 9, 20])):
        with pytest.raises(PromptError, match="outside the volume"):
            user.session.drag_box(volume.to_ras(np.array(start)), volume.to_ras(np.array(end)))


def test_a_prompted_slice_is_not_called_confirmed_and_stays_all_the_same(user):
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    user.settle()
    user.session.propagate()
    user.settle()
    other = SlicePlane(Axis.K, 6)
    user.session.confirm(other)
    view = session_view(user.session)
    assert (view.objects[0].num_prompted, view.objects[0].num_confirmed) == (1, 1)
    marks = {one.plane: one for one in view.quality_strip}
    assert (marks[PLANE].is_prompted, marks[PLANE].is_confirmed) == (True, False)
    assert (marks[other].is_prompted, marks[other].is_confirmed) == (False, True)
    user.session.confirm(PLANE)
    assert "has your prompts" in user.session.notice
