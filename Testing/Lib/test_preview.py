"""What a click would give is shown while the pointer moves, and nothing of it stays."""

import numpy as np
import pytest
import vtk
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.scene.segments.layers import Layer
from NeuroSAM2Lib.segmentation.sync.preview import QUICK_S, REST, STALE_S, PreviewThrottle

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import Failed, Precompute, PredictSlice, PreviewSlice, RestoreSlice
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import answer_to
from Testing.Support.scenes import GEOMETRIES, world
from Testing.Support.sessions import SimulatedUser, place_at, place_point

PLANE = SlicePlane(Axis.K, 4)


@pytest.fixture
def user(app):
    return outlined(SimulatedUser(app))


@pytest.fixture
def patient(app):
    return outlined(SimulatedUser(app, is_patient=True))


def outlined(user):
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    user.settle()
    return user


def at(user, i, j, k=4):
    return world(user.document.volume, i, j, k)


def move(user, i, j, k=4, *, positive=True):
    """The pointer moves there, and what the engine says of it comes in."""
    user.session.preview.point(at(user, i, j, k), positive=positive)
    user.session.poll()


def outline(user):
    """The slice and the mask that the outline on show is of; None where there is none."""
    shown = user.session.preview.outline
    if not shown.is_shown:
        return None
    layer = Layer(shown.node, "preview")
    return layer.image.GetExtent(), layer.voxels.squeeze().astype(bool)


def asked(user):
    return [one for one in user.engines.last.requests if isinstance(one, PreviewSlice)]


def everything(user):
    """What a person would lose or keep: voxels, prompts, steps, journal, what would be saved."""
    document, scene = user.document, user.app.scene
    journal = document.journal.path
    return (
        user.bytes(),
        document.nodes.read(1, document.volume),
        dict(document.records),
        document.undo_stack.position(),
        document.undo_stack.current_name(),
        document.undo_stack.history.can_undo(),
        document.undo_stack.history.can_redo(),
        None if journal is None else journal.read_bytes(),
        user.session.engine_sync.revision,
        document.node.revision,
        to_be_saved(scene),
    )


def to_be_saved(scene):
    """The nodes that Slicer would ask about when it is closed."""
    modified = vtk.vtkCollection()
    scene.GetStorableNodesModifiedSinceRead(modified)
    nodes = [modified.GetItemAsObject(number) for number in range(modified.GetNumberOfItems())]
    return {node.GetName() for node in nodes if node.GetSaveWithScene()}


def test_what_a_click_there_would_give_is_segmented_at_once(user):
    move(user, 20, 15)
    extent, mask = outline(user)
    assert extent == (0, 23, 0, 19, 4, 4)
    place_at(user.session, at(user, 20, 15))
    user.settle()
    np.testing.assert_array_equal(mask, user.mask(PLANE))


def test_the_first_click_of_a_new_object_is_previewed_too(app):
    user = SimulatedUser(app)
    user.session.warm_up()
    user.session.poll()
    move(user, 10, 7)
    _, mask = outline(user)
    assert mask[7, 10]
    assert user.segmentation_node.GetSegmentation().GetNumberOfSegments() == 0


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_outline_lies_where_the_pointer_is_in_any_geometry(app, name):
    user = outlined(SimulatedUser(app, geometry=name))
    move(user, 20, 15, 6)
    node = user.session.preview.outline.node
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    place = at(user, 20, 15, 6)
    assert all(low <= x <= high for low, x, high in zip(bounds[::2], place, bounds[1::2], strict=True))
    np.testing.assert_allclose(
        Layer(node, "preview").grid.ijk_to_ras, user.document.volume.ijk_to_ras, rtol=0, atol=1e-9
    )


def test_previews_leave_no_trace_in_scene_steps_or_journal(user, tmp_path):
    before = everything(user)
    for place in ((20, 15), (3, 3), (10, 8)):
        move(user, *place, positive=False)
    move(user, 20, 15, 7)
    assert outline(user) is not None
    assert everything(user) == before
    assert user.session.preview.outline.node.GetHideFromEditors()
    user.session.preview.leave()
    assert user.app.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert everything(user) == before


def test_a_preview_is_not_saved_and_makes_nothing_to_be_saved(user, tmp_path):
    move(user, 3, 3)
    user.app.save(tmp_path / "scene.mrml")
    clean = to_be_saved(user.app.scene)
    assert "Segmentation" not in clean
    move(user, 20, 15)
    assert outline(user) is not None
    assert to_be_saved(user.app.scene) == clean
    assert "preview" not in (tmp_path / "scene.mrml").read_text(encoding="utf-8")
    other = HeadlessApplication(tmp_path / "other")
    other.load(tmp_path / "scene.mrml")
    assert other.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_undo_does_not_see_previews(user):
    place_at(user.session, at(user, 20, 15))
    user.settle()
    once = user.bytes()
    move(user, 3, 3)
    user.session.undo()
    user.settle()
    move(user, 6, 6)
    user.session.redo()
    user.settle()
    assert user.bytes() == once


def test_the_outline_is_gone_when_the_pointer_leaves_or_is_outside(user):
    move(user, 20, 15)
    user.session.preview.leave()
    assert outline(user) is None
    move(user, 20, 15)
    assert outline(user) is not None
    move(user, 400, 15)
    assert outline(user) is None


def test_an_outline_that_the_pointer_has_left_for_a_while_is_faded_until_the_next(patient):
    clock = [0.0]
    preview = patient.session.preview
    preview._clock = lambda: clock[0]
    move(patient, 8, 6)
    patient.settle()
    assert outline(patient) is not None
    assert not preview.outline.is_faded
    move(patient, 9, 7)
    assert not preview.outline.is_faded, "a quick answer may still come"
    clock[0] += STALE_S
    patient.session.poll()
    assert preview.outline.is_faded
    patient.settle()
    assert not preview.outline.is_faded


def test_a_click_takes_the_outline_away_and_is_asked_before_any_preview(patient):
    move(patient, 20, 15)
    patient.engines.last.work()
    patient.session.poll()
    assert outline(patient) is not None
    place_at(patient.session, at(patient, 20, 15))
    assert outline(patient) is None
    move(patient, 6, 6)
    assert isinstance(patient.engines.last.requests[-1], PredictSlice)
    assert len(asked(patient)) == 1


def test_a_preview_that_comes_after_the_click_is_not_shown(patient):
    patient.session.preview.point(at(patient, 20, 15))
    place_at(patient.session, at(patient, 20, 15))
    patient.settle()
    assert outline(patient) is None


def test_of_places_that_the_pointer_reaches_meanwhile_only_the_last_is_asked(patient):
    for i in range(5, 15):
        move(patient, i, 8)
    assert len(asked(patient)) == 1
    patient.engines.last.work()
    patient.session.poll()
    assert [one.prompts.points[-1].col for one in asked(patient)] == [5, 14]
    patient.engines.last.work()
    patient.session.poll()
    _, mask = outline(patient)
    np.testing.assert_array_equal(mask, answer_to(asked(patient)[-1].prompts, mask.shape))


def test_a_preview_says_all_that_was_prompted_on_the_slice_and_the_click_besides(user):
    place_point(user.session, PLANE, 3, 3, positive=False)
    user.settle()
    move(user, 20, 15)
    prompts = asked(user)[-1].prompts
    assert prompts.box == BoxPrompt(4, 4, 12, 15)
    assert [(p.row, p.col, p.positive) for p in prompts.points] == [(3, 3, False), (15, 20, True)]
    move(user, 20, 15, 7)
    other = asked(user)[-1].prompts
    assert (other.plane, other.points, other.box, other.revision) == (
        SlicePlane(Axis.K, 7),
        prompts.points[-1:],
        None,
        0,
    )


def test_nothing_is_previewed_while_objects_are_propagated(patient):
    patient.session.propagate()
    patient.engines.last.work(1)
    patient.session.poll()
    move(patient, 20, 15)
    assert asked(patient) == []
    patient.settle()
    patient.session.poll()
    assert len(asked(patient)) == 1


def test_after_an_undo_the_engine_is_notified_what_there_is_before_it_previews(user):
    place_point(user.session, SlicePlane(Axis.K, 7), 3, 3)
    user.settle()
    user.session.undo()
    user.settle()
    move(user, 20, 15)
    assert outline(user) is not None
    requests = user.engines.last.requests
    told = requests[requests.index(asked(user)[-1]) - 1]
    assert isinstance(told, RestoreSlice)
    assert told.mask.plane == PLANE


def test_the_slices_around_the_pointer_are_prepared_by_a_quick_model_only(user):
    move(user, 20, 15)
    user.session.poll()
    (prepared,) = [one for one in user.engines.last.requests if isinstance(one, Precompute)]
    assert (prepared.axis, prepared.index) == (PLANE.axis, PLANE.index)
    clock = [0.0]
    user.session.preview._clock = lambda: clock[0]
    user.session.preview.point(at(user, 20, 15, 7))
    clock[0] = 5.0
    user.session.poll()
    assert len([one for one in user.engines.last.requests if isinstance(one, Precompute)]) == 1


def test_an_engine_that_cannot_preview_or_dies_holds_nothing_up(patient):
    move(patient, 20, 15)
    engine = patient.engines.last
    engine._queue.clear()
    engine._events.append(Failed(request_id=engine._number, kind="ProtocolError", message="there is no such message"))
    patient.session.poll()
    assert patient.session.notice == ""
    assert outline(patient) is None
    move(patient, 21, 15)
    engine.kill()
    patient.session.poll()
    place_at(patient.session, at(patient, 20, 15))
    patient.settle()
    move(patient, 6, 6)
    patient.engines.last.work()
    patient.session.poll()
    assert outline(patient) is not None


def test_a_closed_scene_takes_the_outline_with_it(user):
    move(user, 20, 15)
    user.app.scene.Clear(0)
    assert user.app.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert user.session.ended


def test_quick_answers_follow_each_other_and_slow_ones_make_a_pause():
    throttle = PreviewThrottle()
    assert throttle.may_ask(0.0)
    assert throttle.after(0.0, QUICK_S).may_ask(QUICK_S)
    slow = throttle.after(10.0, 12.0)
    assert not slow.may_ask(12.0 + 0.99 * REST * 2.0)
    assert slow.may_ask(12.0 + REST * 2.0)
    assert slow.after(40.0, 40.1).may_ask(40.1)
