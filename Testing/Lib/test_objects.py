"""The list of objects: what a person can do to whole objects, each in one undo step."""

import json

import pytest
from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.segments import segment_masks
from NeuroSAM2Lib.scene.segments.segment_display import DisplayStyle, Fill, SegmentDisplay
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions
from NeuroSAM2Lib.segmentation.objects import scene_objects
from NeuroSAM2Lib.segmentation.objects.scene_objects import DisplayProperties
from NeuroSAM2Lib.segmentation.objects.session_node import sessions_in
from NeuroSAM2Lib.segmentation.recovery import recover, unsaved_work
from NeuroSAM2Lib.segmentation.session_view import session_view

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import make_app
from Testing.Support.sessions import SimulatedUser, place_point

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
    objects.set_name(segment(user), "  left\nhippocampus ")
    assert names(user) == ["left hippocampus", "object 2"]
    assert session_view(user.session).undo_name == "Rename"
    assert user.session.undo()
    assert names(user) == ["object 1", "object 2"]
    assert user.session.redo()
    assert names(user) == ["left hippocampus", "object 2"]


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800", "x" * 201])
def test_an_empty_or_endless_name_is_refused_and_no_step(user, objects, text):
    with pytest.raises(DataError, match=r"needs a name|201 characters"):
        objects.set_name(segment(user), text)
    assert names(user) == ["object 1", "object 2"]
    assert session_view(user.session).undo_name == "Box"


def test_a_name_that_is_taken_gets_a_number_and_that_is_reported(user, objects):
    long = "x" * 200
    objects.set_name(segment(user), long)
    assert not user.session.notice
    objects.set_name(segment(user, 2), long)
    assert names(user) == [long, "x" * 196 + " (2)"]
    assert "is taken" in user.session.notice
    objects.set_name(segment(user, 2), long)
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
        objects.set_name(gone, "late")


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


def test_a_deleted_object_comes_back_with_prompts_voxels_and_whether_it_is_shown(user, objects):
    objects.display.show(segment(user, 2), is_shown=False)
    before, prompts = user.bytes(), user.document.objects.record(2).prompts
    objects.delete(segment(user, 2))
    after = user.bytes()
    assert names(user) == ["object 1"]
    assert user.document.active == 1
    assert not user.document.nodes.all_nodes(2)
    user.session.undo()
    assert user.bytes() == before
    assert user.document.objects.record(2).prompts == prompts
    assert user.document.nodes.read(2, user.document.volume) == prompts
    assert shown(user) == [True, False]
    user.session.redo()
    assert user.bytes() == after
    assert names(user) == ["object 1"]
    objects.delete(segment(user))
    assert user.document.active is None


def test_a_locked_object_takes_no_prompt_and_no_propagation(user, objects):
    objects.lock(segment(user, 2), is_locked=True)
    before, prompts = user.bytes(), user.document.objects.record(2).prompts
    for refused in (
        lambda: user.session.add_box(PLANE, BoxPrompt(1, 1, 3, 3)),
        user.session.propagate,
        user.session.clear,
        lambda: user.session.confirm(PLANE),
        lambda: objects.delete(segment(user, 2)),
        lambda: objects.merge(segment(user), segment(user, 2)),
        lambda: objects.merge(segment(user, 2), segment(user)),
        lambda: objects.subtract(segment(user, 2), segment(user)),
    ):
        with pytest.raises(DataError, match="object 2 is locked"):
            refused()
    place_point(user.session, PLANE, 3, 3)
    assert "locked" in user.session.notice
    user.document.nodes.all_nodes(2)[-1].SetSize(3.0, 3.0, 1.0)
    user.session.sync_prompts()
    assert "its prompts stay" in user.session.notice
    user.settle()
    assert user.bytes() == before
    assert user.document.nodes.read(2, user.document.volume) == prompts
    objects.lock(segment(user, 2), is_locked=False)
    user.session.add_box(PLANE, BoxPrompt(1, 1, 3, 3))
    user.settle()
    assert user.bytes() != before


def test_a_locked_object_gives_no_voxels_to_another_one(user, objects):
    user.app.editor = user.app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    user.app.editor.SetOverwriteMode(user.app.editor.OverwriteAllSegments)
    other = SlicePlane(Axis.K, 2)
    objects.merge(segment(user, 2), segment(user))
    user.session.next_object()
    user.session.add_box(other, BoxPrompt(4, 4, 12, 15))
    user.settle()
    objects.lock(segment(user, 3), is_locked=True)
    before = user.mask(other, 3)
    user.session.next_object()
    user.session.add_box(SlicePlane(Axis.K, 2), BoxPrompt(8, 8, 16, 20))
    user.settle()
    assert (user.mask(other, 3) == before).all()
    assert user.mask(other, 4).any()


def test_a_lock_during_a_propagation_ends_it_and_is_undone(user, objects):
    user.session.propagate()
    objects.lock(segment(user, 2), is_locked=True)
    before = user.bytes()
    user.settle()
    assert user.bytes() == before
    assert [row.is_locked for row in session_view(user.session).objects] == [False, True]
    user.session.undo()
    assert not any(row.is_locked for row in session_view(user.session).objects)


def test_an_answer_that_was_under_way_waits_for_the_unlocking(app):
    user = SimulatedUser(app, is_patient=True)
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    objects = ObjectActions(user.session)
    objects.lock(segment(user), is_locked=True)
    user.settle()
    assert not user.voxels_of().any()
    objects.lock(segment(user), is_locked=False)
    user.settle()
    assert user.mask(PLANE).any()


def test_the_lock_is_saved_with_the_segmentation(user, objects):
    objects.lock(segment(user), is_locked=True)
    user.watch.end("reopened")
    user.begin()
    assert [row.is_locked for row in session_view(user.session).objects] == [True, False]


def test_a_duplicate_has_the_same_prompts_and_voxels_and_goes_its_own_way(user, objects):
    user.session.propagate()
    user.settle()
    before = user.bytes()
    copy = objects.duplicate(segment(user, 2))
    assert names(user) == ["object 1", "object 2", "object 2 copy"]
    assert user.document.active == copy
    assert (user.voxels_of(copy) == user.voxels_of(2)).all()
    assert user.document.objects.record(copy) == user.document.objects.record(2)
    assert not list(user.document.slice_io.edited_by_hand(copy))
    after = user.bytes()
    user.session.undo()
    assert user.bytes() == before
    user.session.redo()
    assert user.bytes() == after
    original = user.voxels_of(2)
    user.session.clear()
    assert (user.voxels_of(2) == original).all()


def test_merging_adds_voxels_confirms_what_changed_and_is_one_step(user, objects):
    user.session.propagate()
    user.settle()
    before, wanted = user.bytes(), user.voxels_of(1) | user.voxels_of(2)
    first = user.document.objects.record(1).prompts
    objects.merge(segment(user, 2), segment(user))
    after = user.bytes()
    assert names(user) == ["object 1"]
    assert (user.voxels_of() == wanted).all()
    assert user.document.active == 1
    user.settle()
    user.session.propagate()
    user.settle()
    assert (user.voxels_of() == wanted).all()
    for _ in range(2):
        user.session.undo()
    assert user.bytes() == before
    assert user.document.objects.record(1).prompts == first
    user.session.redo()
    assert user.bytes() == after


def test_subtracting_takes_voxels_and_leaves_the_other_as_it_is(user, objects):
    before, wanted, other = user.bytes(), user.voxels_of(1) & ~user.voxels_of(2), user.voxels_of(2)
    objects.subtract(segment(user), segment(user, 2))
    assert (user.voxels_of(1) == wanted).all()
    assert (user.voxels_of(2) == other).all()
    after = user.bytes()
    user.session.undo()
    assert user.bytes() == before
    user.session.redo()
    assert user.bytes() == after
    with pytest.raises(DataError, match="same object"):
        objects.subtract(segment(user), segment(user))


def test_merging_leaves_a_third_object_that_overlaps_as_it_is(user, objects):
    user.session.next_object()
    user.session.add_box(PLANE, BoxPrompt(10, 2, 18, 12))
    user.settle()
    wanted, third = user.voxels_of(1) | user.voxels_of(2), user.voxels_of(3)
    objects.merge(segment(user, 2), segment(user))
    assert (user.voxels_of(1) == wanted).all()
    assert (user.voxels_of(3) == third).all()


def test_an_object_without_voxels_is_duplicated_merged_and_subtracted(user, objects):
    empty = user.session.next_object()
    before = user.voxels_of(1)
    objects.duplicate(segment(user, empty))
    objects.subtract(segment(user), segment(user, empty))
    objects.merge(segment(user, empty), segment(user))
    assert (user.voxels_of(1) == before).all()
    assert names(user) == ["object 1", "object 2", "object 3 copy"]


def test_objects_are_reordered_and_that_is_undone(user, objects):
    objects.move(segment(user, 2), -1)
    assert names(user) == ["object 2", "object 1"]
    objects.move(segment(user, 2), -1)
    assert names(user) == ["object 2", "object 1"]
    user.session.undo()
    assert names(user) == ["object 1", "object 2"]
    user.session.redo()
    assert names(user) == ["object 2", "object 1"]


def paint(user, number):
    """What a manual tool does, a step of the editor's own: a segment has all of the labelmap from now on."""
    user.app.edit_history(user.segmentation_node).save()
    mask = segment_masks.read_mask(user.segmentation_node, segment(user, number))
    voxels_of(mask)[:] = 1
    segment_masks.replace_mask(user.segmentation_node, segment(user, number), mask)


def test_what_others_paint_on_a_locked_object_is_taken_back(user, objects):
    objects.lock(segment(user), is_locked=True)
    before, quality = user.voxels_of(1), user.document.objects.record(1)
    paint(user, 1)
    user.session.poll()
    assert "object 1 is locked" in user.session.notice
    assert (user.voxels_of(1) == before).all()
    paint(user, 2)
    user.session.poll()
    assert (user.voxels_of(1) == before).all()
    assert user.mask(PLANE, 2).all()
    assert user.document.objects.record(1) == quality
    for _ in range(3):
        user.session.undo()
    assert not user.document.objects.is_locked(1)
    assert (user.voxels_of(1) == before).all()


def test_the_voxels_of_a_locked_object_are_those_of_the_step_that_undo_goes_to(user, objects):
    first = user.voxels_of(2)
    objects.lock(segment(user, 2), is_locked=True)
    objects.lock(segment(user, 2), is_locked=False)
    user.session.add_box(PLANE, BoxPrompt(1, 1, 5, 5))
    user.settle()
    second = user.voxels_of(2)
    objects.lock(segment(user, 2), is_locked=True)
    for _ in range(3):
        user.session.undo()
        user.session.poll()
    assert user.document.objects.is_locked(2)
    assert (user.voxels_of(2) == first).all()
    for _ in range(3):
        user.session.redo()
        user.session.poll()
    assert user.document.objects.is_locked(2)
    assert (user.voxels_of(2) == second).all()
    assert "stays" not in user.session.notice


def test_an_effect_of_the_editor_on_a_locked_object_is_put_down(user, objects):
    editor = user.app.editor = user.app.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(user.segmentation_node)
    objects.lock(segment(user), is_locked=True)
    for number, is_left in ((2, True), (1, False)):
        editor.SetSelectedSegmentID(segment(user, number))
        editor.SetActiveEffectName("Paint")
        user.session.poll()
        assert bool(editor.GetActiveEffectName()) is is_left
    assert "object 1 is locked" in user.session.notice


def test_a_propagation_beside_a_locked_object_looks_at_its_voxels_only_once(user, objects, monkeypatch):
    objects.lock(segment(user), is_locked=True)
    read = []
    monkeypatch.setattr(scene_objects, "read_mask", lambda *arguments: read.append(arguments))
    user.session.propagate()
    user.settle()
    assert user.voxels_of(2).any(axis=(1, 2)).all()
    assert not read


def test_merged_voxels_come_back_after_a_crash(user, objects, tmp_path):
    user.session.propagate()
    user.settle()
    objects.merge(segment(user), segment(user, 2))
    wanted, path = user.voxels_of(2), user.document.journal.path
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    gone = json.loads(head)
    gone["head"]["owner"] = "gone"
    path.write_text("\n".join([json.dumps(gone), *lines]) + "\n", encoding="utf-8")
    (tmp_path / "another").mkdir()
    another = SimulatedUser(make_app(tmp_path / "another"))
    (unsaved,) = unsaved_work(path.parent, another.document.volume)
    assert recover(another.document, unsaved) == 1
    assert names(another) == ["object 2"]
    assert (another.voxels_of(another.document.active) == wanted).all()


def test_names_colours_locks_and_what_is_shown_are_saved_with_the_scene(user, objects, tmp_path):
    objects.set_name(segment(user), "left | hippocampus, 50 %")
    objects.recolour(segment(user), (1.0, 0.5, 0.0))
    objects.lock(segment(user), is_locked=True)
    objects.display.show(segment(user, 2), is_shown=False)
    user.app.save(tmp_path / "scene.mrb")
    (tmp_path / "another").mkdir()
    app = make_app(tmp_path / "another")
    app.load(tmp_path / "scene.mrb")
    (node,) = sessions_in(app.scene)
    document = SegmentationDocument(app, node.volume_node, node.segmentation_node)
    first, second = document.objects.segments.values()
    assert document.objects.display_properties(1) == DisplayProperties("left | hippocampus, 50 %", (1.0, 0.5, 0.0))
    assert (document.objects.is_locked(1), document.objects.is_locked(2)) == (True, False)
    display = SegmentDisplay(node.segmentation_node)
    assert (display.is_shown(first), display.is_shown(second)) == (True, False)


def test_what_was_stopped_on_a_deleted_object_cannot_be_continued(app):
    user = SimulatedUser(app, is_patient=True)
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    user.settle()
    user.session.propagate()
    user.session.stop()
    user.settle()
    assert user.session.can_continue
    ObjectActions(user.session).delete(segment(user))
    assert not user.session.can_continue


@pytest.mark.parametrize("geometry", ["under a shear", "left-handed oblique", "sagittal storage"])
def test_masks_are_put_together_exactly_on_any_grid(app, geometry):
    user = SimulatedUser(app, geometry=geometry)
    objects = ObjectActions(user.session)
    for box in (BoxPrompt(4, 4, 12, 15), BoxPrompt(8, 8, 16, 20)):
        user.session.next_object()
        user.session.add_box(PLANE, box)
        user.settle()
    first, second = user.voxels_of(1), user.voxels_of(2)
    copy = objects.duplicate(segment(user))
    objects.subtract(segment(user, copy), segment(user, 2))
    assert (user.voxels_of(copy) == first & ~second).all()
    objects.merge(segment(user), segment(user, 2))
    assert (user.voxels_of(2) == first | second).all()
    assert (user.voxels_of(copy) == first & ~second).all()


def test_merging_objects_that_share_a_labelmap_leaves_a_third_alone(app):
    user = SimulatedUser(app)
    for box in ((1, 1, 4, 4), (6, 6, 9, 9), (12, 12, 16, 16)):
        user.session.add_box(PLANE, BoxPrompt(*box))
        user.settle()
        user.session.next_object()
    before = [user.voxels_of(number) for number in (1, 2, 3)]
    ObjectActions(user.session).merge(segment(user, 3), segment(user, 2))
    assert (user.voxels_of(1) == before[0]).all()
    assert (user.voxels_of(2) == before[1] | before[2]).all()


def looks_of(user):
    """Numbers, names and colours of the objects, and how many points the lists in the scene hold."""
    objects = user.document.objects
    lists = user.app.scene.GetNodesByClass("vtkMRMLMarkupsFiducialNode")
    points = [lists.GetItemAsObject(n).GetNumberOfControlPoints() for n in range(lists.GetNumberOfItems())]
    return [(number, objects.display_properties(number)) for number in objects.segments], sorted(points)


@pytest.mark.parametrize("num_before", [0, 1, 2])
def test_a_first_click_that_was_undone_is_no_object(app, num_before):
    user = SimulatedUser(app)
    for _ in range(num_before):
        user.session.next_object()
        place_point(user.session, PLANE, 8, 8)
        user.settle()
    if num_before:
        user.session.next_object()
    place_point(user.session, PLANE, 4, 4)
    user.settle()
    wanted = looks_of(user)
    for _ in range(2):
        assert user.session.undo()
        if num_before:
            assert user.session.undo()
            user.session.next_object()
        place_point(user.session, PLANE, 6, 6)
        user.settle()
        assert looks_of(user) == wanted
    assert user.mask(PLANE, num_before + 1).any()
    assert user.session.undo()
    assert user.session.redo()
    user.settle()
    assert looks_of(user) == wanted


def test_a_deleted_object_keeps_its_number(user, objects):
    for number in (1, 2):
        objects.delete(segment(user, number))
    place_point(user.session, PLANE, 6, 6)
    user.settle()
    assert list(user.document.objects.segments) == [3]
    for _ in range(3):
        assert user.session.undo()
    assert names(user) == ["object 1", "object 2"]
