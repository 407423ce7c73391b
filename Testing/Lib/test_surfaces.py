"""Show 3D stays as the person has it, whatever is written into the segments."""

import time

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.scene.segments.segment_display import SURFACE
from NeuroSAM2Lib.scene.segments.segment_writer import Overwrite

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import make_app
from Testing.Support.sessions import SimulatedUser

PLANE, NEXT = SlicePlane(Axis.K, 4), SlicePlane(Axis.K, 5)
BOX, LARGER = BoxPrompt(5, 5, 14, 16), BoxPrompt(3, 3, 16, 18)


@pytest.fixture
def user(app):
    return SimulatedUser(app)


def show_3d(user, *, is_on=True):
    """What Slicer's button does, on and off."""
    segmentation = user.segmentation_node.GetSegmentation()
    assert segmentation.CreateRepresentation(SURFACE) if is_on else segmentation.RemoveRepresentation(SURFACE) or True


def is_shown(user):
    """As the button goes by."""
    return user.segmentation_node.GetSegmentation().ContainsRepresentation(SURFACE)


def surface(user, segment_id):
    return user.segmentation_node.GetSegmentation().GetSegment(segment_id).GetRepresentation(SURFACE)


def check(user):
    """Every segment has a surface, and it is that of its labelmap."""
    user.session.poll()
    assert is_shown(user)
    segmentation = user.segmentation_node.GetSegmentation()
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    copy.RemoveRepresentation(SURFACE)
    for name in list(copy.GetSegmentIDs()):
        if segmentation.GetSegment(name).GetRepresentation("Binary labelmap").IsEmpty():
            assert surface(user, name).GetNumberOfPoints() == 0
            copy.RemoveSegment(name)
    if copy.GetNumberOfSegments():
        copy.CreateRepresentation(SURFACE)
    for name in copy.GetSegmentIDs():
        there, right = surface(user, name), copy.GetSegment(name).GetRepresentation(SURFACE)
        np.testing.assert_allclose(there.GetBounds(), right.GetBounds(), err_msg=name)
        assert there.GetNumberOfPoints() == right.GetNumberOfPoints()


def outline(user, plane=PLANE, box=BOX):
    user.session.add_box(plane, box)
    user.settle()


def propagate(user):
    user.session.propagate()
    user.settle()


def start_another(user):
    user.session.next_object()
    outline(user, PLANE, LARGER)


def use_painted_mask(user):
    segmentation = user.segmentation_node.GetSegmentation()
    user.session.choose(segmentation.AddEmptySegment("", "painted"))
    user.session.confirm(PLANE)
    outline(user, NEXT)
    propagate(user)


WRITING = {
    "a box": lambda user: outline(user, NEXT, LARGER),
    "a correction": lambda user: outline(user, PLANE, LARGER),
    "a propagation": propagate,
    "clear": lambda user: user.session.clear(),
    "an empty object": lambda user: user.session.next_object(),
    "another object": start_another,
    "a mask of one's own": use_painted_mask,
    "taking prompts back": lambda user: (user.session.remove_last_prompt(PLANE), user.settle()),
}


@pytest.mark.parametrize("what", WRITING)
def test_the_surface_stays_and_follows_and_so_it_does_in_undo_and_redo(user, what):
    outline(user)
    show_3d(user)
    WRITING[what](user)
    check(user)
    count = 0
    while user.session.undo():
        user.settle()
        count += 1
        if user.document.objects.segments:
            check(user)
    for _ in range(count):
        assert user.session.redo()
        user.settle()
        check(user)
    assert not user.session.redo()


def test_undo_does_not_switch_it_on_or_off_again(user):
    outline(user)
    outline(user, NEXT)
    show_3d(user)
    user.session.undo()  # to where it was off
    check(user)
    outline(user, NEXT, LARGER)
    show_3d(user, is_on=False)
    user.session.undo()  # to where it was on
    assert not is_shown(user)
    assert user.session.redo()
    assert not is_shown(user)


def test_it_follows_where_others_undo(user, monkeypatch):
    outline(user)
    show_3d(user)
    with monkeypatch.context() as patch:
        patch.setattr(type(user.document.surfaces), "follow", lambda surfaces, *, is_resting: None)
        outline(user, PLANE, LARGER)
        outline(user, NEXT)  # the state before it is kept with a surface that is out of date
    check(user)
    user.app.edit_history(user.segmentation_node).undo()
    check(user)


def test_it_is_on_again_for_the_first_object_after_everything_was_taken_back(user):
    outline(user)
    show_3d(user)
    while user.session.undo():
        pass
    outline(user)
    check(user)


def test_surfaces_follow_lost_voxels_and_only_changed_ones_are_converted(user, app):
    outline(user)
    start_another(user)
    user.session.next_object()
    outline(user, SlicePlane(Axis.K, 8), BOX)
    user.segmentation_node.GetSegmentation().CollapseBinaryLabelmaps(False)  # as when it was saved and read
    show_3d(user)
    first, second, third = (user.document.objects.segment_id(number) for number in (1, 2, 3))
    app.editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    app.editor.SetOverwriteMode(Overwrite.ALL.value)
    untouched = surface(user, third).GetMTime()
    user.session.choose(second)
    outline(user, NEXT, LARGER)
    user.session.choose(first)
    outline(user, NEXT, BOX)
    check(user)
    assert surface(user, third).GetMTime() == untouched


def test_while_a_propagation_goes_on_it_is_converted_now_and_then(app):
    user = SimulatedUser(app, is_patient=True)
    outline(user)
    show_3d(user)
    now, conversions = [time.monotonic()], []
    user.document.surfaces._clock = lambda: now[0]
    name = user.document.objects.segment_id(1)
    user.session.propagate()
    for _ in range(6):
        before = surface(user, name).GetMTime()
        user.engines.last.work(1)
        user.session.poll()
        conversions.append(surface(user, name).GetMTime() != before)
        now[0] += 0.5
    assert 1 <= sum(conversions) <= 3
    user.settle()
    check(user)


def test_another_application_in_the_process_makes_no_conversion_slower(app, tmp_path):
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    count = len(factory.GetConverterRules())
    assert count == len({rule.GetClassName() for rule in factory.GetConverterRules()})
    make_app(tmp_path)
    assert len(factory.GetConverterRules()) == count
