"""Scribbles and lassos in a real scene: on every axis and orientation, kept as drawn, one step each."""

import json

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.presenters.tools import StrokeActions
from NeuroSAM2Lib.scene.arrays import to_vtk
from NeuroSAM2Lib.segmentation.recovery import recover, unsaved_work
from NeuroSAM2Lib.segmentation.repair_actions import RepairActions, RepairSettings
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.segmentation.sidecar import sidecar_text

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import LassoPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import make_app
from Testing.Support.sessions import SHAPE, SimulatedUser, place_point

LINE = [(3.0, float(col)) for col in range(2, 8)]
OUTLINE = [(2.0, 2.0), (2.0, 6.4), (6.4, 6.4), (6.4, 2.0)]


def view_on(user, plane):
    """A view that shows a slice."""
    volume = user.document.volume
    columns = np.roll(volume.ijk_to_ras[:, :3], 2 - "ijk".index(plane.axis), axis=1)
    place = volume.to_ras(np.array(plane.to_ijk(0, 0)))
    view = slicer.vtkMRMLSliceNode()
    view.GetSliceToRAS().DeepCopy(to_vtk(np.column_stack([columns, [*place, 1.0]])))
    return view


def strokes(user, plane):
    return StrokeActions(user.session, view_on(user, plane))


def ras(user, plane, path):
    return [user.document.volume.to_ras(np.array(plane.to_ijk(row, col))) for row, col in path]


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("geometry", ["anisotropic oblique", "under a shear", "left-handed oblique"])
def test_they_are_right_on_every_axis_of_oblique_volumes(app, geometry, axis):
    user, plane = SimulatedUser(app, geometry=geometry), SlicePlane(axis, 5)
    strokes(user, plane).scribble(ras(user, plane, LINE))
    user.settle()
    (placed,) = user.document.active_record.prompts.scribbles
    assert (placed.index, placed.scribble.path) == (5, ((3.0, 2.0), (3.0, 7.0)))
    (told,) = [one.prompts for one in user.engines.last.requests if hasattr(one, "prompts")]
    assert told.plane == plane
    assert [(p.row, p.col, p.positive) for p in told.points] == [(3, 2, True), (3, 4.5, True), (3, 7, True)]
    user.session.next_object()
    strokes(user, plane).lasso(ras(user, plane, OUTLINE))
    user.settle()
    wanted = LassoPrompt(tuple(OUTLINE)).mask(plane.of(np.empty(SHAPE)).shape)
    assert (user.mask(plane, 2) == wanted).all()
    assert wanted.sum() == 25


@pytest.mark.parametrize("name", ["scribble", "lasso"])
def test_each_is_one_step_that_is_exact_both_ways(app, name):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    place_point(user.session, plane, 10, 12)
    user.settle()
    before, prompts = user.bytes(), user.document.active_record.prompts
    path = ras(user, plane, LINE if name == "scribble" else OUTLINE)
    getattr(strokes(user, plane), name)(path)
    user.settle()
    after, drawn = user.bytes(), user.document.active_record.prompts
    assert after != before
    assert session_view(user.session).undo_name == name.capitalize()
    user.session.undo()
    user.settle()
    assert user.bytes() == before
    assert user.document.active_record.prompts == prompts
    user.session.redo()
    user.settle()
    assert user.bytes() == after
    assert user.document.active_record.prompts == drawn
    assert user.document.nodes.read(1, user.document.volume) == drawn


def test_a_negative_scribble_is_negative_clicks_after_the_positive_one(app):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    strokes(user, plane).scribble(ras(user, plane, LINE))
    strokes(user, plane).scribble(ras(user, plane, [(9.0, col) for _, col in LINE]), positive=False)
    user.settle()
    signs = [point.positive for point in user.engines.last.requests[-1].prompts.points]
    assert signs == [True] * 3 + [False] * 3
    assert session_view(user.session).objects[0].num_prompts == 2


def test_they_come_back_with_the_scene_and_after_a_crash(app, tmp_path):
    user, plane = SimulatedUser(app, geometry="anisotropic oblique"), SlicePlane(Axis.J, 4)
    strokes(user, plane).scribble(ras(user, plane, LINE), positive=False)
    strokes(user, SlicePlane(Axis.J, 6)).lasso(ras(user, SlicePlane(Axis.J, 6), OUTLINE))
    user.settle()
    drawn = user.document.active_record.prompts
    journal = user.document.journal.path
    lines = journal.read_text(encoding="utf-8")
    app.save(tmp_path / "scene.mrb")
    other = make_app(tmp_path)
    other.load(tmp_path / "scene.mrb")
    nodes = [other.scene.GetFirstNodeByClass(f"vtkMRML{kind}Node") for kind in ("ScalarVolume", "Segmentation")]
    again = SimulatedUser(other)
    again.volume_node, again.segmentation_node = nodes
    again.begin()
    assert again.document.objects.record(1).prompts == drawn
    head = json.loads(lines.splitlines()[0])
    head["head"]["owner"] = "of a host that has died"
    journal.write_text("\n".join([json.dumps(head), *lines.splitlines()[1:], ""]), encoding="utf-8")
    (unsaved,) = unsaved_work(app.journal_folder, user.document.volume)
    fresh = SimulatedUser(make_app(tmp_path), geometry="anisotropic oblique")
    recover(fresh.document, unsaved)
    assert fresh.document.objects.record(1).prompts == drawn


def test_the_file_beside_the_segmentation_says_what_was_drawn(app):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    strokes(user, plane).scribble(ras(user, plane, LINE))
    strokes(user, SlicePlane(Axis.K, 6)).lasso(ras(user, SlicePlane(Axis.K, 6), OUTLINE))
    user.settle()
    (one,) = json.loads(sidecar_text(user.document))["objects"]
    assert one["scribbles"] == [{"slice": 4, "positive": True, "path": [[3.0, 2.0], [3.0, 7.0]]}]
    assert one["lassos"] == [{"slice": 6, "outline": [list(place) for place in OUTLINE]}]


def test_several_are_drawn_before_the_model_answers_once(app):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    user.session.hold(is_held=True)
    strokes(user, plane).scribble(ras(user, plane, LINE))
    place_point(user.session, plane, 12, 12, positive=False)
    user.settle()
    assert not user.mask(plane).any()
    assert session_view(user.session).num_waiting == 1
    user.session.hold(is_held=False)
    user.settle()
    asked = [one.prompts for one in user.engines.last.requests if hasattr(one, "prompts")]
    assert [len(one.points) for one in asked] == [4]
    assert user.mask(plane).any()
    assert session_view(user.session).num_waiting == 0


def test_a_propagation_answers_what_was_waiting(app):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    user.session.hold(is_held=True)
    strokes(user, plane).scribble(ras(user, plane, LINE))
    user.session.propagate()
    user.settle()
    assert all(user.mask(SlicePlane(Axis.K, k)).any() for k in range(SHAPE[0]))


def test_a_scribble_ends_at_the_edge_and_what_encloses_nothing_is_refused(app):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    strokes(user, plane).scribble(ras(user, plane, [(3.0, float(col)) for col in range(20, 40)]))
    (placed,) = user.document.active_record.prompts.scribbles
    assert placed.scribble.path[-1] == (3.0, 23.0)
    for path, words in ((LINE, "too short"), ([(9.1, 9.1), (9.1, 9.3), (9.4, 9.3)], "too short|nothing within")):
        with pytest.raises(PromptError, match=words):
            strokes(user, plane).lasso(ras(user, plane, path))
    with pytest.raises(PromptError, match="drawn in another view"):
        strokes(user, SlicePlane(Axis.I, 4)).scribble(ras(user, SlicePlane(Axis.I, 4), LINE))
    with pytest.raises(PromptError, match="outside the volume"):
        strokes(user, plane).scribble(ras(user, plane, [(-9.0, 3.0), (3.0, 3.0)]))


def test_a_repair_of_a_lassoed_slice_stays_and_the_lasso_with_it(app):
    user, plane = SimulatedUser(app), SlicePlane(Axis.K, 4)
    strokes(user, plane).lasso(ras(user, plane, OUTLINE))
    user.settle()
    RepairActions(user.session, plane, RepairSettings()).grow()
    grown = user.mask(plane)
    user.session.propagate()
    user.settle()
    assert grown.sum() > 25
    assert (user.mask(plane) == grown).all()
    assert len(user.document.active_record.prompts.lassos) == 1
