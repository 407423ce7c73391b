"""Repairs of an object in a real scene: one undo step each, exact both ways, and confirmed for the model."""

import os
import sys
import time

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice, starter
from NeuroSAM2Lib.segmentation.background_run import FEW_SLICES, BackgroundRun, ComputingBeside
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions
from NeuroSAM2Lib.segmentation.repair_actions import Brush, RepairActions, RepairSettings, Scope
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.view_state import Activity

from NeuroSAM2Core.components.cpu import fill_holes, largest_component
from NeuroSAM2Core.errors import ConfigError, DataError, PromptError, WorkerError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.repair import grow, shrink, smooth
from NeuroSAM2Core.repair_task import RepairTask
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane
from Testing.Support.sessions import SHAPE, SimulatedUser

GEOMETRIES = ["anisotropic oblique", "under a shear", "sagittal storage"]
PLANE = SlicePlane(Axis.K, 4)


def blocks():
    """Two parts, the larger with a cavity, and a speck."""
    mask = np.zeros(SHAPE, bool)
    mask[2:7, 3:13, 3:13] = True
    mask[4, 7:9, 7:9] = False
    mask[3:6, 15:18, 15:19] = True
    mask[4, 1, 20] = True
    return mask


def user_with(app, mask, geometry="upright", axis=Axis.K):
    """A person with an object that looks like this, along an axis, with a box on its middle slice."""
    user = SimulatedUser(app, geometry=geometry)
    middle = SlicePlane(axis, mask.shape[axis.array_axis] // 2)
    user.session.add_box(middle, BoxPrompt(3, 3, 7, 7))
    user.settle()
    document = user.document
    with document.step("as it is"), document.writing():
        for index in range(mask.shape[axis.array_axis]):
            plane = SlicePlane(axis, index)
            document.put(SliceMask.drawn(1, plane, plane.of(mask)))
    return user


def repairs(user, plane=PLANE, **settings):
    return RepairActions(user.session, plane, RepairSettings(**settings))


def whole(user, number=1):
    return user.document.slice_io.read_whole(number)


ACTIONS = {
    "keep largest": (RepairActions.keep_largest, lambda mask, spacing: largest_component(mask)),
    "remove small": (RepairActions.remove_small, None),
    "fill holes": (RepairActions.fill_holes, lambda mask, spacing: fill_holes(mask)),
    "smooth": (RepairActions.smooth, lambda mask, spacing: smooth(mask, spacing, 1.0)),
    "open": (RepairActions.open, None),
    "close": (RepairActions.close, None),
    "grow": (RepairActions.grow, lambda mask, spacing: grow(mask, spacing, 1.0)),
    "shrink": (RepairActions.shrink, lambda mask, spacing: shrink(mask, spacing, 1.0)),
    "split": (RepairActions.split, lambda mask, spacing: largest_component(mask)),
    "remove from slice": (RepairActions.remove_from_slice, None),
    "copy up": (lambda actions: actions.copy_to_neighbour(1), None),
    "copy down": (lambda actions: actions.copy_to_neighbour(-1), None),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_a_repair_is_one_step_that_is_exact_both_ways(app, name):
    user = user_with(app, blocks())
    act, reference = ACTIONS[name]
    prompts, before = user.document.objects.record(1).prompts, user.bytes()
    act(repairs(user, length_mm=2.0 if name == "remove small" else 1.0))
    after, changed = user.bytes(), whole(user)
    assert after != before
    if reference is not None:
        assert (changed == reference(blocks(), user.document.volume.spacing_mm[::-1])).all()
    confirmed = set(user.document.objects.record(1).prompts.indices)
    assert confirmed >= {k for k in range(SHAPE[0]) if (changed[k] != blocks()[k]).any()}
    user.session.undo()
    assert user.bytes() == before
    assert user.document.objects.record(1).prompts == prompts
    user.session.redo()
    assert user.bytes() == after
    assert set(user.document.objects.record(1).prompts.indices) == confirmed


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_repair_is_the_same_on_every_axis_and_orientation(app, geometry, axis):
    user = user_with(app, blocks(), geometry, axis)
    plane = SlicePlane(axis, 5)
    spacing = user.document.volume.spacing_mm[::-1]
    repairs(user, plane).grow()
    assert (whole(user) == grow(blocks(), spacing, 1.0)).all()
    user.session.undo()
    flat = tuple(one for a, one in enumerate(spacing) if a != axis.array_axis)
    repairs(user, plane, scope=Scope.SLICE).grow()
    wanted = blocks()
    plane.of(wanted)[...] = grow(plane.of(blocks()), flat, 1.0)
    assert (whole(user) == wanted).all()


def test_repaired_slices_are_confirmed_masks_for_the_model_and_stay(app):
    user = user_with(app, blocks())
    repairs(user, scope=Scope.SLICE).fill_holes()
    mask = user.mask(PLANE)
    user.session.propagate()
    user.settle()
    (track,) = user.engines.last.tracks.values()
    assert (track.confirmed[PLANE] == mask).all()
    assert (user.mask(PLANE) == mask).all()


def test_one_slice_is_repaired_alone(app):
    user = user_with(app, blocks())
    repairs(user, scope=Scope.SLICE).keep_largest()
    changed = whole(user)
    assert (changed[4] == largest_component(blocks()[4])).all()
    assert (np.delete(changed, 4, 0) == np.delete(blocks(), 4, 0)).all()


@pytest.mark.parametrize("scope", Scope)
def test_the_part_under_the_pointer_is_kept_or_removed(app, scope):
    user = user_with(app, blocks(), "under a shear")
    ras = user.document.volume.to_ras(np.array([16.0, 16.0, 4.0]))
    part = np.zeros(SHAPE, bool)
    part[3:6, 15:18, 15:19] = True
    chosen = slice(4, 5) if scope is Scope.SLICE else slice(None)
    for act, wanted in ((RepairActions.remove_part, blocks() & ~part), (RepairActions.keep_part, part)):
        before = user.bytes()
        act(repairs(user, scope=scope), ras)
        assert (whole(user)[chosen] == wanted[chosen]).all()
        assert (np.delete(whole(user), 4, 0) == np.delete(blocks(), 4, 0)).all() == (scope is Scope.SLICE)
        user.session.undo()
        assert user.bytes() == before
    with pytest.raises(PromptError, match="not there"):
        repairs(user).keep_part(user.document.volume.to_ras(np.array([0.0, 0.0, 0.0])))


def test_parts_become_objects_of_their_own(app):
    user = user_with(app, blocks())
    repairs(user).split()
    assert [int(whole(user, number).sum()) for number in (1, 2, 3)] == [496, 36, 1]
    assert user.document.active == 1
    user.session.undo()
    assert len(session_view(user.session).objects) == 1
    assert (whole(user) == blocks()).all()


def test_slices_between_confirmed_ones_are_filled(app):
    user = SimulatedUser(app)
    for k, reach in ((1, 2), (7, 8)):
        user.session.add_box(SlicePlane(Axis.K, k), BoxPrompt(9 - reach, 9 - reach, 9 + reach, 9 + reach))
        user.settle()
    assert not whole(user)[2:7].any()
    before = user.bytes()
    repairs(user).fill_between()
    sizes = whole(user).sum(axis=(1, 2)).tolist()
    assert sizes[0] == sizes[8] == 0
    assert sizes[1:8] == sorted(sizes[1:8])
    assert min(sizes[1:8]) > 0
    user.session.undo()
    assert user.bytes() == before


def test_a_painted_segment_without_prompts_is_filled_between_the_slices_that_show_it(app):
    user = SimulatedUser(app)
    user.session.next_object()
    for k in (2, 6):
        mask = np.zeros(SHAPE[1:], bool)
        mask[4:12, 4:12] = True
        with user.document.writing():
            user.document.slice_io.write(1, SliceMask.drawn(1, SlicePlane(Axis.K, k), mask))
    repairs(user).fill_between()
    assert (whole(user)[2:7] == whole(user)[2]).all()


def test_what_changes_nothing_is_no_step_and_is_said(app):
    user = user_with(app, blocks())
    user.session.undo()
    repairs(user).keep_largest()
    name = session_view(user.session).undo_name
    repairs(user).keep_largest()
    assert session_view(user.session).undo_name == name
    assert "nothing to change" in user.session.notice


def test_a_locked_object_is_not_repaired_and_keeps_its_voxels(app):
    user = user_with(app, blocks())
    objects, first = ObjectActions(user.session), user.document.objects.segment_id(1)
    app.editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    app.editor.SetOverwriteMode(app.editor.OverwriteAllSegments)
    user.session.next_object()
    user.session.add_box(SlicePlane(Axis.K, 8), BoxPrompt(3, 3, 13, 13))
    user.settle()
    objects.lock(first, is_locked=True)
    repairs(user, SlicePlane(Axis.K, 8)).copy_to_neighbour(-1)
    repairs(user, SlicePlane(Axis.K, 7)).copy_to_neighbour(-1)
    assert (whole(user) == blocks()).all()
    assert not (whole(user, 2) & blocks()).any()
    user.session.choose(first)
    with pytest.raises(DataError, match="is locked"):
        repairs(user).grow()


def test_growing_takes_from_others_only_where_objects_may_not_overlap(app):
    user = user_with(app, blocks())
    app.editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    for mode, is_shared in ((app.editor.OverwriteNone, True), (app.editor.OverwriteAllSegments, False)):
        app.editor.SetOverwriteMode(mode)
        user.session.next_object()
        number = user.document.active
        repairs(user).paint([user.document.volume.to_ras(np.array([9.0, 9.0, 4.0]))], Brush(radius_mm=20.0))
        assert (whole(user, 1)[4] & whole(user, number)[4]).any() == is_shared
        for _ in range(2):
            user.session.undo()
        assert (whole(user) == blocks()).all()


def test_nothing_to_repair_and_impossible_lengths_are_refused(app):
    user = SimulatedUser(app)
    with pytest.raises(PromptError, match="no object yet"):
        repairs(user).grow()
    with pytest.raises(ConfigError, match="length is 0 mm"):
        RepairSettings(length_mm=0)
    user = user_with(app, blocks())
    with pytest.raises(PromptError, match="not on this slice"):
        repairs(user, SlicePlane(Axis.K, 0)).copy_to_neighbour(1)
    repairs(user, SlicePlane(Axis.K, 2)).copy_to_neighbour(-1)
    repairs(user, SlicePlane(Axis.K, 1)).copy_to_neighbour(-1)
    with pytest.raises(PromptError, match="no slice beyond"):
        repairs(user, SlicePlane(Axis.K, 0)).copy_to_neighbour(-1)


@pytest.mark.parametrize("axis", list(Axis))
def test_a_brush_and_an_eraser_cover_mm_on_a_slice_and_a_ball_the_slices_around(app, axis):
    user = user_with(app, np.zeros(SHAPE, bool), "anisotropic oblique", axis)
    plane, volume = SlicePlane(axis, 4), user.document.volume
    path = [volume.to_ras(np.array(plane.to_ijk(4.0, col))) for col in (5.0, 7.0)]
    before = user.bytes()
    repairs(user, plane).paint(path, Brush(radius_mm=1.1))
    painted = whole(user)
    places = np.stack(np.nonzero(painted), axis=1)[:, ::-1]
    ends = [np.array(plane.to_ijk(4.0, col)) for col in (5.0, 7.0)]
    spacing = np.array(volume.spacing_mm)
    assert plane.of(painted)[4, 5:8].all()
    assert set(places[:, "ijk".index(axis)].tolist()) == {4}
    along = np.linspace(0, 1, 50)[:, None] * (ends[1] - ends[0]) + ends[0]
    away = np.linalg.norm((places[:, None] - along) * spacing, axis=2).min(axis=1)
    assert away.max() <= max(1.1, spacing.max() / 2) + 1e-6
    user.session.undo()
    assert user.bytes() == before
    repairs(user, plane).paint(path, Brush(radius_mm=1.1, is_sphere=True))
    thick = spacing["ijk".index(axis)]
    others = {int(index) for index in np.flatnonzero(whole(user).any(axis=tuple({0, 1, 2} - {axis.array_axis})))}
    assert len(others) == 1 + 2 * int(1.1 / thick)
    repairs(user, plane).paint(path, Brush(radius_mm=9.0), adds=False)
    assert not user.mask(plane).any()


def test_scissors_cut_out_what_is_within_the_line_and_undo_brings_it_back(app):
    user = user_with(app, blocks(), "under a shear")
    before, volume = user.bytes(), user.document.volume
    corners = [(14.0, 14.0), (14.0, 20.0), (19.0, 20.0), (19.0, 14.0)]
    repairs(user).cut([volume.to_ras(np.array(PLANE.to_ijk(*place))) for place in corners])
    assert not user.mask(PLANE)[15:18, 15:19].any()
    assert (user.mask(PLANE)[:14] == blocks()[4][:14]).all()
    assert PLANE in user.document.active_record.prompts.planes
    user.session.undo()
    assert user.bytes() == before


def between_two_boxes(app):
    user = SimulatedUser(app)
    for k, reach in ((1, 2), (7, 6)):
        user.session.add_box(SlicePlane(Axis.K, k), BoxPrompt(9 - reach, 9 - reach, 9 + reach, 9 + reach))
        user.settle()
    return user


def ras(user, row, col):
    return user.document.volume.to_ras(np.array(PLANE.to_ijk(float(row), float(col))))


GESTURES = {
    "brush": lambda user: repairs(user).paint([ras(user, 10, 15), ras(user, 11, 18)], Brush(radius_mm=2.0)),
    "ball": lambda user: repairs(user).paint([ras(user, 10, 15)], Brush(radius_mm=3.0, is_sphere=True)),
    "eraser": lambda user: repairs(user).paint([ras(user, 5, 5)], Brush(radius_mm=3.0, is_sphere=True), adds=False),
    "scissors": lambda user: repairs(user).cut([ras(user, *one) for one in ((14, 14), (14, 20), (19, 20), (19, 14))]),
    "keep part": lambda user: repairs(user).keep_part(ras(user, 5, 5)),
    "remove part": lambda user: repairs(user).remove_part(ras(user, 16, 16)),
    "fill between": lambda user: repairs(user).fill_between(),
}


@pytest.mark.parametrize("name", GESTURES)
def test_a_gesture_is_undone_and_redone_bit_exact(app, name):
    user = between_two_boxes(app) if name == "fill between" else user_with(app, blocks(), "anisotropic oblique")
    before, prompts = user.bytes(), user.document.objects.record(1).prompts
    GESTURES[name](user)
    after, confirmed = user.bytes(), user.document.objects.record(1).prompts
    assert after != before
    for _ in range(2):
        assert user.session.undo()
        assert user.bytes() == before
        assert user.document.objects.record(1).prompts == prompts
        assert user.session.redo()
        assert user.bytes() == after
        assert user.document.objects.record(1).prompts == confirmed


class Patient:
    """Computes beside, once it is told to."""

    def __init__(self):
        self.is_ready = False

    def changes(self, task, mask):
        while not self.is_ready:
            yield True
        return task.changes(mask)


@pytest.fixture
def beside(monkeypatch):
    """Every repair takes long."""
    monkeypatch.setattr(RepairTask, "is_quick", lambda task, shape: False)
    return Patient()


def long_repair(app, beside, name="grow", **about):
    """A person who has begun a repair that takes long."""
    user = user_with(app, blocks(), **about)
    user.session.background = BackgroundRun(beside)
    ACTIONS[name][0](repairs(user, length_mm=2.0 if name == "remove small" else 1.0))
    return user


def until_written(user):
    for _ in range(1000):
        user.session.poll()
        if not user.session.background.is_running:
            return
    raise AssertionError("it is never written")


@pytest.mark.parametrize("geometry", ["upright", "sagittal storage"])
@pytest.mark.parametrize("name", [name for name in ACTIONS if "copy" not in name and "slice" not in name])
def test_a_long_repair_is_the_same_step_and_leaves_the_scene_alone_until_it_is_computed(app, beside, name, geometry):
    user = long_repair(app, beside, name, geometry=geometry)
    before, prompts = user.bytes(), user.document.objects.record(1).prompts
    user.session.poll()
    assert user.bytes() == before
    view = session_view(user.session)
    assert (view.activity, view.progress, view.can_stop) == (Activity.REPAIRING, (0, 0), True)
    beside.is_ready = True
    until_written(user)
    after, confirmed = user.bytes(), user.document.objects.record(1).prompts
    other = user_with(app, blocks(), geometry)
    ACTIONS[name][0](repairs(other, length_mm=2.0 if name == "remove small" else 1.0))
    assert [one[1:] for one in after] == [one[1:] for one in other.bytes()]
    assert confirmed == other.document.objects.record(1).prompts
    for _ in range(2):
        assert user.session.undo()
        assert user.bytes() == before
        assert user.document.objects.record(1).prompts == prompts
        assert user.session.redo()
        assert user.bytes() == after
        assert user.document.objects.record(1).prompts == confirmed


def test_a_repair_of_an_object_that_was_changed_meanwhile_is_dropped(app, beside):
    user = long_repair(app, beside)
    user.session.poll()
    repairs(user).paint([ras(user, 16, 20)], Brush(radius_mm=1.0))
    painted, name = user.bytes(), session_view(user.session).undo_name
    beside.is_ready = True
    until_written(user)
    assert "changed meanwhile" in user.session.notice
    assert user.bytes() == painted
    assert session_view(user.session).undo_name == name


def test_a_repair_goes_on_while_another_object_is_clicked(app, beside):
    user = long_repair(app, beside)
    user.session.next_object()
    user.session.add_box(SlicePlane(Axis.K, 8), BoxPrompt(3, 3, 13, 13))
    user.settle()
    beside.is_ready = True
    until_written(user)
    assert (whole(user) == grow(blocks(), user.document.volume.spacing_mm[::-1], 1.0)).all()
    assert user.document.active == 2


def test_stop_gives_a_repair_up_and_no_second_one_begins_meanwhile(app, beside):
    user = long_repair(app, beside)
    before = user.bytes()
    with pytest.raises(DataError, match="under way"):
        repairs(user).shrink()
    user.session.stop()
    assert "given up" in user.session.notice
    assert session_view(user.session).activity is Activity.READY
    beside.is_ready = True
    user.session.poll()
    assert user.bytes() == before


@pytest.fixture
def written_in_part(app, beside, monkeypatch):
    """A person whose repair is being written, one slice a poll, and the masks that it shall give."""
    monkeypatch.setattr("NeuroSAM2Lib.segmentation.document.SLICES_AT_ONCE", 1)
    monkeypatch.setattr("NeuroSAM2Lib.segmentation.background_run.BUDGET_S", 0.0)
    monkeypatch.setattr(BackgroundRun, "poll", lambda run: run._step() if run.is_running else None)
    user = long_repair(app, beside)
    beside.is_ready = True
    wanted = grow(blocks(), user.document.volume.spacing_mm[::-1], 1.0)
    while not user.session.background.is_writing:
        user.session.poll()
    assert not (whole(user) == wanted).all()
    view = session_view(user.session)
    assert view.progress[0] < view.progress[1]
    assert not view.can_stop
    return user, wanted


def test_whoever_acts_while_a_repair_is_written_finds_it_written(written_in_part):
    user, wanted = written_in_part
    user.session.next_object()
    assert (whole(user) == wanted).all()
    assert not user.session.background.is_running


def test_undo_while_a_repair_is_written_takes_all_of_it_back(written_in_part):
    user, wanted = written_in_part
    user.session.undo()
    assert (whole(user) == blocks()).all()
    user.session.redo()
    assert (whole(user) == wanted).all()


def test_the_end_of_a_session_leaves_no_half_of_a_repair(written_in_part):
    user, wanted = written_in_part
    user.session.end("over")
    assert (whole(user) == wanted).all()


def test_the_undo_of_others_ends_the_writing(written_in_part):
    user, _ = written_in_part
    user.app.edit_history(user.segmentation_node).undo()
    until_written(user)
    assert (whole(user) == blocks()).all()


def test_a_process_beside_computes_it(app, beside):
    choice = EngineChoice()
    run = ComputingBeside(lambda: choice.command(sys.executable), starter(dict(os.environ)))
    user = long_repair(app, run)
    while user.session.background.is_running:
        user.session.poll()
        time.sleep(0.01)
    assert user.session.notice == ""
    assert (whole(user) == grow(blocks(), user.document.volume.spacing_mm[::-1], 1.0)).all()


def test_where_no_process_can_be_started_it_is_computed_here_and_the_log_says_so(app, beside, caplog):
    def start(command, log, *, stop_file=None):
        raise WorkerError("psutil is missing")

    user = long_repair(app, ComputingBeside(lambda: ("python",), start))
    until_written(user)
    assert (whole(user) == grow(blocks(), user.document.volume.spacing_mm[::-1], 1.0)).all()
    assert "psutil is missing" in caplog.text


def test_small_objects_are_repaired_at_once(app):
    user = user_with(app, blocks())
    user.session.background = BackgroundRun(Patient())
    assert SHAPE[0] <= FEW_SLICES
    repairs(user).grow()
    assert (whole(user) == grow(blocks(), user.document.volume.spacing_mm[::-1], 1.0)).all()


@pytest.fixture
def overlapping(app):
    """Makes a person with two objects that overlap, and a third one over both."""

    def make(background):
        user = user_with(app, blocks())
        for corner in (8, 11):
            user.session.next_object()
            for k in (3, 4, 5):
                user.session.add_box(SlicePlane(Axis.K, k), BoxPrompt(corner, corner, corner + 6, corner + 8))
                user.settle()
        user.session.background = background
        return user

    return make


@pytest.mark.parametrize("act", [ObjectActions.merge, ObjectActions.subtract])
def test_large_objects_are_combined_a_few_slices_at_a_time_with_the_same_result(overlapping, monkeypatch, act):
    monkeypatch.setattr("NeuroSAM2Lib.segmentation.object_actions.FEW_SLICES", 0)
    found = []
    for background in (BackgroundRun(), BackgroundRun(Patient())):
        user = overlapping(background)
        before, prompts = user.bytes(), user.document.objects.record(1).prompts
        one, other = (user.document.objects.segment_id(number) for number in (1, 2))
        act(ObjectActions(user.session), *((other, one) if act is ObjectActions.merge else (one, other)))
        assert user.session.background.is_running == (background.beside is not None)
        until_written(user)
        numbers = tuple(user.document.objects.segments)
        after = user.bytes()
        found.append(
            (
                numbers,
                [whole(user, number).tolist() for number in numbers],
                [user.document.objects.record(number).prompts for number in numbers],
                user.document.active,
                session_view(user.session).undo_name,
            )
        )
        assert user.session.undo()
        assert user.bytes() == before
        assert user.document.objects.record(1).prompts == prompts
        assert user.session.redo()
        assert user.bytes() == after
    assert found[0] == found[1]
