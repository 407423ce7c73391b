"""Show 3D stays as the person has it, whatever is written into the segments."""

import time

import numpy as np
import pytest
import slicer
from NeuroSAM2MRML.scene.edit_policy import Overwrite
from NeuroSAM2MRML.scene.surfaces import SURFACE

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.sessions import Sitting

PLANE, NEXT = SlicePlane(Axis.K, 4), SlicePlane(Axis.K, 5)
BOX, LARGER = BoxPrompt(5, 5, 14, 16), BoxPrompt(3, 3, 16, 18)


@pytest.fixture
def sitting(app):
    return Sitting(app)


def show_3d(sitting, *, is_on=True):
    """What Slicer's button does, on and off."""
    segmentation = sitting.segmentation_node.GetSegmentation()
    assert segmentation.CreateRepresentation(SURFACE) if is_on else segmentation.RemoveRepresentation(SURFACE) or True


def is_shown(sitting):
    """As the button goes by."""
    return sitting.segmentation_node.GetSegmentation().ContainsRepresentation(SURFACE)


def surface(sitting, segment_id):
    return sitting.segmentation_node.GetSegmentation().GetSegment(segment_id).GetRepresentation(SURFACE)


def check(sitting):
    """Every segment has a surface, and it is that of its labelmap."""
    sitting.session.poll()
    assert is_shown(sitting)
    segmentation = sitting.segmentation_node.GetSegmentation()
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    copy.RemoveRepresentation(SURFACE)
    for name in list(copy.GetSegmentIDs()):
        if segmentation.GetSegment(name).GetRepresentation("Binary labelmap").IsEmpty():
            assert surface(sitting, name).GetNumberOfPoints() == 0
            copy.RemoveSegment(name)
    if copy.GetNumberOfSegments():
        copy.CreateRepresentation(SURFACE)
    for name in copy.GetSegmentIDs():
        there, right = surface(sitting, name), copy.GetSegment(name).GetRepresentation(SURFACE)
        np.testing.assert_allclose(there.GetBounds(), right.GetBounds(), err_msg=name)
        assert there.GetNumberOfPoints() == right.GetNumberOfPoints()


def outline(sitting, plane=PLANE, box=BOX):
    sitting.session.add_box(plane, box)
    sitting.settle()


def propagate(sitting):
    sitting.session.propagate()
    sitting.settle()


def start_another(sitting):
    sitting.session.next_object()
    outline(sitting, PLANE, LARGER)


def use_painted_mask(sitting):
    segmentation = sitting.segmentation_node.GetSegmentation()
    sitting.session.choose(segmentation.AddEmptySegment("", "painted"))
    sitting.session.confirm(PLANE)
    outline(sitting, NEXT)
    propagate(sitting)


WRITING = {
    "a box": lambda sitting: outline(sitting, NEXT, LARGER),
    "a correction": lambda sitting: outline(sitting, PLANE, LARGER),
    "a propagation": propagate,
    "clear": lambda sitting: sitting.session.clear(),
    "an empty object": lambda sitting: sitting.session.next_object(),
    "another object": start_another,
    "a mask of one's own": use_painted_mask,
    "taking prompts back": lambda sitting: (sitting.session.take_back(PLANE), sitting.settle()),
}


@pytest.mark.parametrize("what", WRITING)
def test_the_surface_stays_and_follows_and_so_it_does_in_undo_and_redo(sitting, what):
    outline(sitting)
    show_3d(sitting)
    WRITING[what](sitting)
    check(sitting)
    count = 0
    while sitting.session.undo():
        sitting.settle()
        count += 1
        if sitting.desk.objects.segments:
            check(sitting)
    for _ in range(count):
        assert sitting.session.redo()
        sitting.settle()
        check(sitting)
    assert not sitting.session.redo()


def test_undo_does_not_switch_it_on_or_off_again(sitting):
    outline(sitting)
    outline(sitting, NEXT)
    show_3d(sitting)
    sitting.session.undo()  # to where it was off
    check(sitting)
    outline(sitting, NEXT, LARGER)
    show_3d(sitting, is_on=False)
    sitting.session.undo()  # to where it was on
    assert not is_shown(sitting)
    assert sitting.session.redo()
    assert not is_shown(sitting)


def test_it_follows_where_others_undo(sitting, monkeypatch):
    outline(sitting)
    show_3d(sitting)
    with monkeypatch.context() as patch:
        patch.setattr(type(sitting.desk.surfaces), "follow", lambda surfaces, *, is_resting: None)
        outline(sitting, PLANE, LARGER)
        outline(sitting, NEXT)  # the state before it is kept with a surface that is out of date
    check(sitting)
    sitting.app.edit_history(sitting.segmentation_node).undo()
    check(sitting)


def test_it_is_on_again_for_the_first_object_after_everything_was_taken_back(sitting):
    outline(sitting)
    show_3d(sitting)
    while sitting.session.undo():
        pass
    outline(sitting)
    check(sitting)


def test_other_objects_follow_where_they_lose_voxels_and_only_what_has_changed_is_converted(sitting, app):
    outline(sitting)
    start_another(sitting)
    sitting.session.next_object()
    outline(sitting, SlicePlane(Axis.K, 8), BOX)
    sitting.segmentation_node.GetSegmentation().CollapseBinaryLabelmaps(False)  # as when it was saved and read
    show_3d(sitting)
    first, second, third = (sitting.desk.objects.segment_id(number) for number in (1, 2, 3))
    app.editor = app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    app.editor.SetOverwriteMode(Overwrite.ALL.value)
    untouched = surface(sitting, third).GetMTime()
    sitting.session.choose(second)
    outline(sitting, NEXT, LARGER)
    sitting.session.choose(first)
    outline(sitting, NEXT, BOX)
    check(sitting)
    assert surface(sitting, third).GetMTime() == untouched


def test_while_a_propagation_goes_on_it_is_converted_now_and_then(app):
    sitting = Sitting(app, is_patient=True)
    outline(sitting)
    show_3d(sitting)
    now, conversions = [time.monotonic()], []
    sitting.desk.surfaces._clock = lambda: now[0]
    name = sitting.desk.objects.segment_id(1)
    sitting.session.propagate()
    for _ in range(6):
        before = surface(sitting, name).GetMTime()
        sitting.engines.last.work(1)
        sitting.session.poll()
        conversions.append(surface(sitting, name).GetMTime() != before)
        now[0] += 0.5
    assert 1 <= sum(conversions) <= 3
    sitting.settle()
    check(sitting)
