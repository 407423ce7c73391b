"""A session that begins with what another one knew goes on as that one would have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session, load_model
from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.inference.prediction import feature_cache
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureBudget
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, Direction, SlicePlane
from Testing.Support.models import small_model
from Testing.Support.volumes import ball_volume, noise_volume

BOX = (12, 10, 35, 40)
PLAIN = EngineOptions(is_exact=True, stop_after_absent=None)


@pytest.fixture(scope="module")
def ball():
    return ball_volume((16, 48, 56))


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", device="cpu")


def run(session, **range_):
    return {one.plane.index: one for one in session.propagate(1, **range_)}


def continued(old, model, *, without=()):
    """A new session that was told what the old one shows, the slices with prompts first."""
    new = Session(model, old.volume, options=old.options)
    prompts = {prompt_set.plane: prompt_set for prompt_set in old.prompts(1)}
    axis = next(iter(prompts)).axis
    view, track = old._object(1)
    planes = [SlicePlane(axis, view.stack.number_of(n)) for n in sorted(track.known)]
    for plane in sorted(planes, key=lambda plane: plane not in prompts):
        if plane.index not in without:
            new.restore(old.slice_mask(1, axis, plane.index), prompts.get(plane))
    return new


def dice(a, b):
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def test_a_restored_session_shows_the_same_bits_and_has_nothing_to_do(ball, nano):
    old = Session(nano, ball[0])
    old.add_box(1, "axial", 8, BOX)
    run(old)
    old.add_point(1, "axial", 11, (24, 24))  # a correction: that slice cannot be had from its prompts alone
    run(old)
    new = continued(old, nano)
    np.testing.assert_array_equal(new.mask(1), old.mask(1))
    np.testing.assert_array_equal(new.labels().voxels, old.labels().voxels)
    assert new.num_slices_to_do(1) == 0
    assert run(new) == {}
    assert new.slice_mask(1, "axial", 11).revision == old.slice_mask(1, "axial", 11).revision == 1


def test_one_more_click_on_a_slice_that_was_prompted_from_the_start_is_exact():
    volume, model = noise_volume(16, 48, 56), small_model()
    old = Session(model, volume, options=PLAIN)
    old.add_box(1, "axial", 5, BOX)
    old.add_point(1, "axial", 5, (20, 20))
    new = continued(old, model)
    answers = [one.add_point(1, "axial", 5, (30, 30), positive=False) for one in (old, new)]
    np.testing.assert_array_equal(answers[0].mask, answers[1].mask)
    assert answers[0].predicted_iou == answers[1].predicted_iou
    for a, b in zip(run(old).values(), run(new).values(), strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)


@pytest.mark.parametrize(
    ("axis", "index", "box", "least"),
    # A restored slice is seen in a crop around its mask, not in the one that followed the object: of twelve rows that shows.
    [("axial", 8, BOX, 0.99), ("sagittal", 28, (3, 13, 12, 34), 0.65)],
)
def test_the_next_correction_is_close_to_what_the_old_session_says(ball, nano, axis, index, box, least):
    where = {"first": index - 6, "last": index + 7}
    old = Session(nano, ball[0])
    old.add_box(1, axis, index, box)
    run(old, **where)
    new = continued(old, nano)
    click = (24, 16) if axis == "axial" else (5, 20)
    a, b = (one.add_point(1, axis, index + 3, click, positive=False) for one in (old, new))
    assert a.mask.any()
    assert dice(a.mask, b.mask) > least
    assert new.span(1, a.plane) == old.span(1, a.plane)
    assert run(new, **where).keys() == run(old, **where).keys()
    assert dice(new.mask(1), old.mask(1)) > least


@pytest.mark.parametrize(("refines_boxes", "least"), [(False, 0.9), (True, 0.7)])
def test_a_corrected_slice_can_be_corrected_further(ball, nano, refines_boxes, least):
    options = EngineOptions(refines_boxes=refines_boxes)
    old = Session(nano, ball[0], options=options)
    old.add_box(1, "sagittal", 28, (3, 13, 12, 34))
    run(old, first=24, last=34)
    old.add_point(1, "sagittal", 31, (5, 20), positive=False)
    new = continued(old, nano)
    a, b = (one.add_point(1, "sagittal", 31, (5, 30)) for one in (old, new))
    assert dice(a.mask, b.mask) > least  # the mask is known, the answer it was cut from is not
    assert [len(prompt_set.points) for prompt_set in new.prompts(1)] == [0, 2]
    fewer = PromptSet(object_id=1, plane=a.plane, points=(PointPrompt(5, 30),), revision=9)
    assert new.set_prompts(fewer).mask.any()  # other prompts altogether: only the mask is kept


def test_what_was_not_done_is_done(ball, nano):
    whole = Session(nano, ball[0])
    whole.add_box(1, "axial", 8, BOX)
    run(whole)
    new = continued(whole, nano, without=range(10, 16))
    done = run(new)
    assert set(done) == set(range(10, 16)) & set(done)
    assert min(done) == 10
    assert dice(new.mask(1), whole.mask(1)) > 0.97


def test_something_new_replaces_what_was_given(ball, nano):
    old = Session(nano, ball[0])
    old.add_box(1, "axial", 8, BOX)
    run(old)
    new = continued(old, nano)
    new.add_box(1, "axial", 11, (18, 20, 30, 36))
    assert not new.slice_mask(1, "axial", 13).mask.any()  # was given, is out of date
    assert new.slice_mask(1, "axial", 8).mask.any()
    assert set(run(new)) >= {9, 10, 12}


def test_an_undo_takes_a_correction_back(ball, nano):
    session = Session(nano, ball[0])
    session.add_box(1, "axial", 8, BOX)
    before = run(session)[11]
    session.add_point(1, "axial", 11, (24, 16), positive=False)
    session.restore(before)
    np.testing.assert_array_equal(session.slice_mask(1, "axial", 11).mask, before.mask)
    assert [prompt_set.plane.index for prompt_set in session.prompts(1)] == [8]


def test_what_does_not_fit_together_is_refused(ball):
    session = Session(small_model(), ball[0])
    one = session.add_box(1, "axial", 8, BOX)
    elsewhere = PromptSet(object_id=1, plane=SlicePlane(Axis.K, 3), points=(PointPrompt(3, 3),))
    with pytest.raises(PromptError, match="another object or slice"):
        session.restore(one, elsewhere)
    with pytest.raises(PromptError, match="has shape"):
        session.restore(replace(one, mask=one.mask[1:]))
    with pytest.raises(PromptError, match="segmented along k"):
        session.restore(replace(one, plane=SlicePlane(Axis.J, 3), mask=np.zeros((16, 56), bool)))
    outside = PromptSet(object_id=1, plane=one.plane, box=BoxPrompt(0, 0, 99, 5))
    with pytest.raises(PromptError, match="outside the slice"):
        session.restore(one, outside)
    np.testing.assert_array_equal(session.slice_mask(1, "axial", 8).mask, one.mask)


@pytest.mark.parametrize(("direction", "slices"), [(Direction.UP, {6, 7, 8}), (Direction.DOWN, {3, 4}), ("both", None)])
def test_a_propagation_can_go_one_way(direction, slices):
    session = Session(small_model(), noise_volume(16, 48, 56), options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    where = {"first": 3, "last": 8, "direction": Direction(direction)}
    assert session.num_slices_to_do(1, **where) == len(slices or {3, 4, 6, 7, 8})
    assert set(run(session, **where)) == (slices or {3, 4, 6, 7, 8})


def test_up_is_up_by_the_stored_index_however_the_file_is_stored():
    volume = noise_volume(16, 48, 56)
    turned = type(volume)(volume.voxels, np.diag([-1.0, -1.0, -1.0, 1.0]))
    session = Session(small_model(), turned, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    assert list(run(session, first=3, last=8, direction=Direction.UP)) == [6, 7, 8]


def test_an_object_may_change_its_axis_once_all_was_taken_back(ball):
    session = Session(small_model(), ball[0])
    session.add_box(1, "axial", 8, BOX)
    answer = session.set_prompts(PromptSet(object_id=1, plane=SlicePlane(Axis.K, 8), revision=7))
    assert not answer.mask.any()
    assert answer.revision == 7
    assert session.add_point(1, "coronal", 24, (8, 28)).plane.axis == Axis.J


def test_a_warm_slice_is_not_encoded_again(ball, monkeypatch):
    model = small_model.__wrapped__()
    session = Session(model, ball[0])
    assert session.warm(SlicePlane(Axis.K, 8))
    assert session.nbytes > 0
    monkeypatch.setattr(model, "encode_image", lambda images: pytest.fail("encoded again"))
    session.add_box(1, "axial", 8, BOX)


def test_warming_ends_where_there_is_no_more_room(ball):
    model = small_model()
    session = Session(model, ball[0], options=EngineOptions(feature_cache_bytes=1))
    assert session.warm(SlicePlane(Axis.K, 8))
    assert not session.warm(SlicePlane(Axis.K, 9))


def test_a_device_without_room_for_many_slices_does_fewer_at_a_time_and_says_so(ball, monkeypatch, caplog):
    model = small_model.__wrapped__()
    roomy = Session(model, ball[0], options=PLAIN)
    roomy.add_box(1, "axial", 8, BOX)
    run(roomy)
    sizes, encode = [], model.encode_image

    def tight(images):
        sizes.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError("no room")
        return encode(images)

    monkeypatch.setattr(model, "encode_image", tight)
    session = Session(model, ball[0], options=PLAIN)
    session.add_box(1, "axial", 8, BOX)
    run(session)
    assert sizes[:4] == [1, 4, 2, 1]
    assert max(sizes[4:]) == 1  # it is not tried again
    assert "enough memory for 4 slices at once" in caplog.text
    assert dice(session.mask(1), roomy.mask(1)) > 0.99


def test_features_make_room_when_not_even_one_slice_fits(ball, monkeypatch):
    model = small_model.__wrapped__()
    session = Session(model, ball[0], options=PLAIN)
    session.add_box(1, "axial", 8, BOX)
    encode, failed = model.encode_image, []

    def full(images):
        if not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("no room")
        return encode(images)

    monkeypatch.setattr(model, "encode_image", full)
    assert session.warm(SlicePlane(Axis.K, 9))
    assert len(session._view("k").features._kept) == 1
    session.forget_features()
    monkeypatch.setattr(model, "encode_image", lambda images: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with pytest.raises(torch.OutOfMemoryError):
        session.warm(SlicePlane(Axis.K, 10))


def test_fields_of_a_click_are_decoded_apart_where_there_is_no_memory_for_all(ball, monkeypatch):
    model = small_model.__wrapped__(rasterize_prompts=True)
    expected = Session(model, ball[0]).add_point(1, "axial", 8, (20, 20))
    sizes, decode = [], model.decode

    def tight(conditioned, *args, **kwargs):
        sizes.append(len(conditioned))
        if len(conditioned) > 1:
            raise RuntimeError("MPS backend out of memory")
        return decode(conditioned, *args, **kwargs)

    monkeypatch.setattr(model, "decode", tight)
    found = Session(model, ball[0]).add_point(1, "axial", 8, (20, 20))
    assert max(sizes) > 1
    assert (found.mask == expected.mask).all()


def test_features_of_all_axes_share_one_room(ball):
    model = small_model()
    session = Session(model, ball[0])
    session.warm(SlicePlane(Axis.K, 8))
    one = session.nbytes
    session = Session(model, ball[0], options=EngineOptions(feature_cache_bytes=3 * one))
    for axis in Axis:
        for index in range(3):
            session.warm(SlicePlane(axis, index))
    assert session.nbytes == 3 * one


def test_what_was_unused_for_longest_goes_first_whichever_axis_it_is_of(ball):
    model = small_model()
    one = Session(model, ball[0])
    one.warm(SlicePlane(Axis.K, 8))
    budget = FeatureBudget(2 * one.nbytes)
    first, second = (Session(model, ball[0], budget=budget) for _ in range(2))
    first.warm(SlicePlane(Axis.K, 8))
    second.warm(SlicePlane(Axis.J, 8))
    first._view("k").features.get(8, first._view("k").crops.whole)
    second.add_box(1, "axial", 8, BOX)
    assert first.budget.nbytes <= budget.max_bytes
    assert len(first._view("k").features) == 1
    assert len(second._view("j").features) == 0


def test_what_clicks_go_on_from_counts_as_memory(ball):
    session = Session(small_model(), ball[0])
    session.add_point(1, "axial", 8, (20, 20))
    _, track = session._object(1)
    session.forget_features()
    before = session.nbytes
    assert track.nbytes_of_histories > 0
    track.prompt_histories.clear()
    assert session.nbytes < before


def test_only_a_slice_with_a_new_click_is_counted_anew(ball, monkeypatch):
    session, counted = Session(small_model(), ball[0]), []
    for index in (6, 8):
        session.add_point(1, "axial", index, (20, 20))
    before = session.nbytes
    count = feature_cache.memory_bytes
    monkeypatch.setattr(feature_cache, "memory_bytes", lambda *values: counted.append(values) or count(*values))
    assert session.nbytes == before
    assert not counted
    session.add_point(1, "axial", 8, (30, 30), positive=False)
    assert session.nbytes > before
    assert len(counted) == 1


def test_a_click_goes_on_where_features_were_let_go_of(ball):
    sessions = [Session(small_model(), ball[0]) for _ in range(2)]
    for session in sessions:
        session.add_point(1, "axial", 8, (20, 20))
    sessions[0].forget_features()
    first, second = (session.add_point(1, "axial", 8, (30, 30), positive=False) for session in sessions)
    assert (first.mask == second.mask).all()
