"""The list of objects: what a person can do to whole objects, each in one undo step."""

import pytest
from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, Fill
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions
from NeuroSAM2Lib.segmentation.session_view import session_view

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.sessions import SimulatedUser

PLANE = SlicePlane(Axis.K, 4)


@pytest.fixture
def user(app):
    """A person with two objects that overlap on a slice."""
    user = SimulatedUser(app)
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    user.settle()
    user.session.next_object()
    user.session.add_box(PLANE, BoxPrompt(8, 8, 16, 20))
    user.settle()
    return user


@pytest.fixture
def objects(user):
    return ObjectActions(user.session)


def names(user):
    return [row.name for row in session_view(user.session).objects]


def segment(user, number=1):
    return user.document.objects.segment_id(number)


def test_a_name_is_trimmed_and_taken_back_and_brought_back(user, objects):
    objects.rename(segment(user), "  left\nhippocampus ")
    assert names(user) == ["left hippocampus", "object 2"]
    assert session_view(user.session).undo_name == "Rename"
    assert user.session.undo()
    assert names(user) == ["object 1", "object 2"]
    assert user.session.redo()
    assert names(user) == ["left hippocampus", "object 2"]


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800", "x" * 201])
def test_an_empty_or_endless_name_is_refused_and_no_step(user, objects, text):
    with pytest.raises(DataError, match=r"needs a name|201 characters"):
        objects.rename(segment(user), text)
    assert names(user) == ["object 1", "object 2"]
    assert session_view(user.session).undo_name == "Box"


def test_a_name_that_is_taken_gets_a_number_and_that_is_reported(user, objects):
    long = "x" * 200
    objects.rename(segment(user), long)
    assert not user.session.notice
    objects.rename(segment(user, 2), long)
    assert names(user) == [long, "x" * 196 + " (2)"]
    assert "is taken" in user.session.notice
    objects.rename(segment(user, 2), long)
    assert names(user)[1] == "x" * 196 + " (2)"


def test_a_new_object_takes_no_name_of_a_segment_that_is_there(user):
    user.segmentation_node.GetSegmentation().AddEmptySegment("", "object 3")
    user.session.next_object()
    user.session.next_object("object 1")
    assert names(user)[2:] == ["object 3 (2)", "object 1 (2)"]


def test_a_name_that_another_module_gave_twice_stays_when_only_the_colour_changes(user, objects):
    user.segmentation_node.GetSegmentation().GetSegment(segment(user)).SetName("object 2")
    objects.recolour(segment(user), (1.0, 0.5, 0.0))
    assert names(user) == ["object 2", "object 2"]


def test_a_colour_is_one_step_and_no_other_than_a_colour_is_taken(user, objects):
    before = session_view(user.session).objects[0].colour
    objects.recolour(segment(user), (1.0, 0.5, 0.0))
    assert session_view(user.session).objects[0].colour == (1.0, 0.5, 0.0)
    user.session.undo()
    assert session_view(user.session).objects[0].colour == before
    with pytest.raises(DataError, match="no colour"):
        objects.recolour(segment(user), (float("nan"), 0.0, 2.0))


def test_an_object_that_is_gone_is_reported(user, objects):
    gone = segment(user)
    user.segmentation_node.GetSegmentation().RemoveSegment(gone)
    with pytest.raises(DataError, match="deleted"):
        objects.rename(gone, "late")


def shown(user):
    return [row.is_shown for row in session_view(user.session).objects]


def test_one_object_is_hidden_alone_or_shown_alone(user, objects):
    objects.display.show(segment(user), is_shown=False)
    assert shown(user) == [False, True]
    user.session.next_object()
    objects.display.show_only(segment(user))
    assert shown(user) == [True, False, False]
    objects.display.show_only(segment(user))
    assert shown(user) == [True, True, True]
    user.segmentation_node.GetDisplayNode().SetSegmentVisibility(segment(user, 2), False)
    assert shown(user) == [True, False, True]


def test_all_are_hidden_and_shown_again_as_they_were(user, objects):
    objects.display.show(segment(user), is_shown=False)
    objects.display.toggle_all()
    assert objects.display.style.is_hidden
    assert not user.segmentation_node.GetDisplayNode().GetVisibility()
    objects.display.toggle_all()
    assert not objects.display.style.is_hidden
    assert shown(user) == [False, True]


@pytest.mark.parametrize("fill", Fill)
def test_opacity_and_fill_are_those_of_the_display_node(user, objects, fill):
    objects.display.set_opacity(0.25)
    objects.display.set_fill(fill)
    assert objects.display.style == DisplayStyle(opacity=0.25, fill=fill)
    display = user.segmentation_node.GetDisplayNode()
    assert display.GetOpacity() == 0.25
    assert (display.GetVisibility2DFill(), display.GetVisibility2DOutline()) == (
        fill is not Fill.OUTLINE,
        fill is not Fill.FILL,
    )


def test_a_segmentation_without_a_display_node_gets_one_with_the_first_change(user, objects):
    user.app.scene.RemoveNode(user.segmentation_node.GetDisplayNode())
    assert shown(user) == [True, True]
    assert objects.display.style == DisplayStyle()
    objects.display.show(segment(user), is_shown=False)
    assert shown(user) == [False, True]
