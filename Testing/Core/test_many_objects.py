"""Objects that are propagated together get what each would get alone."""

import tracemalloc
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.errors import Cancelled, PromptError
from NeuroSAM2Core.inference.propagation import objects_together
from NeuroSAM2Core.inference.propagation.propagation_pass import PassTracker, track_slices
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.volume import Direction
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

OPTIONS = EngineOptions(is_exact=True, half_memory=False, max_hole_area=0, min_island_area=0)
BOXES = {
    1: (3, (10, 12, 40, 44)),
    2: (3, (4, 4, 18, 20)),
    3: (6, (20, 24, 44, 52)),
    4: (1, (12, 8, 30, 30)),
    5: (8, (8, 30, 28, 50)),
}


@pytest.fixture
def model():
    return small_model(rasterize_prompts=True)


@pytest.fixture
def volume():
    return noise_volume(9, 48, 56)


def session_of(model, volume, options=OPTIONS):
    """Objects with boxes on several slices; two of them were confirmed on others as well."""
    session = Session(model, volume, options=options)
    for number, (index, box) in BOXES.items():
        session.add_box(number, "axial", index, box)
    session.add_box(3, "axial", 1, (18, 22, 40, 50))
    session.add_point(4, "axial", 7, (20, 20), positive=False)
    return session


def assert_same(one, other, objects=tuple(BOXES)):
    """Two sessions agree in every slice of some objects; what differs by rounding adds up from slice to slice."""
    for number in objects:
        (_, track), (_, other_track) = one._object(number), other._object(number)
        assert track.tracked.keys() == other_track.tracked.keys()
        for n, state in track.tracked.items():
            torch.testing.assert_close(state.logits, other_track.tracked[n].logits, atol=2e-3, rtol=1e-4)
            assert (state.crop, state.ending) == (other_track.tracked[n].crop, other_track.tracked[n].ending)
        np.testing.assert_array_equal(one.mask(number), other.mask(number))


@pytest.mark.parametrize("has_crops", [False, True], ids=["as SAM 2", "with crops"])
@pytest.mark.parametrize("stops", [True, False], ids=["ending each in its place", "to the last slice"])
def test_objects_together_get_what_each_gets_alone(volume, has_crops, stops):
    model = small_model(rasterize_prompts=has_crops)
    options = OPTIONS if stops else replace(OPTIONS, stop_after_absent=None, ends_by_shape=False)
    together, alone = session_of(model, volume, options), session_of(model, volume, options)
    done = [(one.object_id, one.plane) for one in together.propagate()]
    assert len(done) == len(set(done))
    for number in BOXES:
        list(alone.propagate(number))
    assert_same(together, alone)


@pytest.mark.parametrize("has_crops", [False, True], ids=["as SAM 2", "with crops"])
def test_a_batch_of_slices_is_the_same_as_each_slice_by_itself(volume, has_crops):
    session = session_of(small_model(rasterize_prompts=has_crops), volume)
    ((view, _),) = {session._object(number)[0]: 0 for number in BOXES}.items()
    trackers = []
    for number in BOXES:
        track = session._object(number)[1]
        trackers.append(PassTracker(view.context, track, view.plan(track, None, None, Direction.BOTH)[0]))
    while trackers := [one for one in trackers if one.number is not None]:
        together = track_slices(view.context, trackers)
        for tracker, state in zip(trackers, together, strict=True):
            (alone,) = track_slices(view.context, [tracker])
            torch.testing.assert_close(state.logits, alone.logits, atol=1e-4, rtol=1e-5)
            assert torch.equal(state.logits > 0, alone.logits > 0)
            tracker.take(tracker.number, state)


def test_objects_along_different_axes_are_propagated(model):
    session = Session(model, noise_volume(5, 6, 7), options=replace(OPTIONS, stop_after_absent=None))
    session.add_box(1, "axial", 2, (1, 1, 4, 4))
    session.add_box(2, "sagittal", 3, (1, 1, 3, 4))
    assert {(one.object_id, one.plane.axis) for one in session.propagate()} == {(1, "k"), (2, "i")}


def test_objects_are_seen_by_the_model_as_one_batch_of_bounded_size(model, volume, monkeypatch):
    session, sizes, decode = session_of(model, volume), [], SAM2.decode

    def counted(self, conditioned, *args, **kwargs):
        sizes.append(len(conditioned))
        return decode(self, conditioned, *args, **kwargs)

    monkeypatch.setattr(SAM2, "decode", counted)
    list(session.propagate())
    (view,) = session._views.values()
    assert max(sizes) == view.features.at_once == 4
    assert len(sizes) < 0.6 * sum(sizes)


@pytest.mark.parametrize("has_crops", [False, True], ids=["as SAM 2", "with crops"])
def test_passes_of_one_object_go_on_side_by_side(volume, has_crops, monkeypatch):
    session, alone = (session_of(small_model(rasterize_prompts=has_crops), volume) for _ in range(2))
    alone.encode_singly()
    one_by_one = [one.plane.index for one in alone.propagate(3)]
    assert sorted(one_by_one) == [0, 2, 3, 4, 5, 7, 8]
    side_by_side = [one.plane.index for one in session.propagate(3)]
    assert sorted(side_by_side) == sorted(one_by_one)
    assert side_by_side != one_by_one
    assert_same(session, alone, [3])


def test_objects_on_one_slice_share_what_precedes_memory(model, volume, monkeypatch):
    small = small_model(rasterize_prompts=False)
    session, queries = session_of(small, volume, replace(OPTIONS, stop_after_absent=None)), []
    first = small.memory_attention.layers[0].self_attn
    session.remove(3), session.remove(4), session.remove(5)
    hook = first.register_forward_hook(lambda _, args, out: queries.append(len(args[0])))
    list(session.propagate())
    hook.remove()
    assert queries == [1] * 8


def test_what_was_not_handed_out_is_not_done(model, volume):
    session, whole = session_of(model, volume), session_of(model, volume)
    list(whole.propagate())
    handed = set()
    for count in (1, 2, 3, 5):  # in the middle of a batch
        steps = session.propagate()
        handed |= {(one.object_id, one.plane) for one in islice(steps, count)}
        steps.close()
        known = {
            (n, view.stack.plane(k))
            for n in session.object_ids
            for view, track in [session._object(n)]
            for k in track.tracked
        }
        assert known == handed
    list(session.propagate())
    assert_same(session, whole)


def test_a_propagation_of_many_is_cancelled_between_any_two_slices(model, volume):
    session, whole = session_of(model, volume), session_of(model, volume)
    list(whole.propagate())
    handed = []
    with pytest.raises(Cancelled):
        handed.extend(session.propagate(is_cancelled=lambda: len(handed) == 6))
    for one in session.propagate():
        handed.append(one)
    assert len({(one.object_id, one.plane) for one in handed}) == len(handed)
    assert_same(session, whole)


def test_a_defect_of_one_object_is_told_when_the_others_are_done(model, volume, monkeypatch):
    session, whole = session_of(model, volume), session_of(model, volume)
    list(whole.propagate())
    broken, look = session._object(2)[1], PassTracker.look

    def look_unless_broken(self, number, *rest):
        if self.track_of_object is broken and number == 5:
            raise ZeroDivisionError("a defect")
        return look(self, number, *rest)

    monkeypatch.setattr(PassTracker, "look", look_unless_broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(session.propagate())
    assert_same(session, whole, (1, 3, 4, 5))
    assert 5 not in broken.tracked


def test_numbers_that_are_none_stay_with_their_object(model, volume):
    session, whole = session_of(model, volume), session_of(model, volume)
    list(whole.propagate())
    track = session._object(1)[1]
    number = next(iter(track.confirmed))
    broken = torch.full_like(track.confirmed[number].pointer, torch.nan)
    track.confirmed[number] = replace(track.confirmed[number], pointer=broken)
    list(session.propagate())
    assert_same(session, whole, (2, 3, 4, 5))


def test_a_device_too_small_for_a_batch_does_it_in_halves(model, volume, monkeypatch):
    session, whole = session_of(model, volume), session_of(model, volume)
    list(whole.propagate())
    track_slices, sizes = objects_together.track_slices, []

    def full(context, trackers):
        sizes.append(len(trackers))
        if len(trackers) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return track_slices(context, trackers)

    monkeypatch.setattr(objects_together, "track_slices", full)
    list(session.propagate())
    assert set(sizes) >= {1, 2, 4}
    assert_same(session, whole)


def test_nothing_is_done_where_one_object_has_no_prompts(model, volume):
    session = session_of(model, volume)
    session.restore(session.slice_mask(1, "axial", 3))
    with pytest.raises(PromptError, match="nothing to propagate"):
        list(session.propagate())
    assert not session._object(2)[1].tracked


def test_what_an_object_holds_is_known_without_looking_at_every_slice(model, volume):
    session = session_of(model, volume)
    list(session.propagate(1))
    track = session._object(1)[1]
    states = [*track.confirmed.values(), *track.tracked.values()]
    assert len(track.tracked) > 1
    assert track.nbytes == sum(state.nbytes for state in states) + track.nbytes_of_histories
    for state in states:  # a slice keeps nothing of the batch that it was a part of
        for tensor in (state.logits, state.pointer, state.memory.encoded):
            assert tensor is None or tensor.untyped_storage().nbytes() <= 2 * tensor.nbytes


def test_labels_of_a_large_volume_take_no_more_memory_than_the_labels(model):
    volume = noise_volume(200, 64, 64)
    session = Session(model, volume, options=OPTIONS)
    for number in range(1, 4):
        session.add_box(number, "axial", 100, (5 * number, 10, 40, 50))
    session.add_box(4, "sagittal", 30, (80, 10, 120, 50))
    session.labels()
    assert (session.mask(1) & session.mask(4)).any()
    tracemalloc.start()
    try:
        labels = session.labels().voxels
        assert tracemalloc.get_traced_memory()[1] < 1.3 * labels.nbytes
    finally:
        tracemalloc.stop()


def test_objects_that_overlap_share_a_plane_by_their_logits(model, volume):
    session = Session(model, volume, options=OPTIONS)
    for number, (axis, index) in enumerate((("axial", 3), ("axial", 3), ("sagittal", 30)), start=1):
        session.add_box(number, axis, index, (2, 10, 7, 40) if axis == "sagittal" else (8 * number, 10, 40, 50))
    surest, expected = np.full(volume.shape, -np.inf), np.zeros(volume.shape)
    for number in (1, 2, 3):
        wins = session.mask(number) & (session.logits(number) > surest)
        expected[wins], surest[wins] = number, session.logits(number)[wins]
    assert set(np.unique(expected)) >= {0, 1, 2}
    np.testing.assert_array_equal(session.labels().voxels, expected)
