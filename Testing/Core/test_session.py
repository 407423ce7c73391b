"""What a person can rely on while outlining an object."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session, Volume
from NeuroSAM2Core.components.cpu import fill_holes, largest_component, remove_islands
from NeuroSAM2Core.errors import Cancelled, ConfigError, GeometryError, PromptError
from Testing.Core.test_volume import restored
from Testing.Support.models import small_model
from Testing.Support.volumes import UPRIGHT, noise_volume

PLAIN = EngineOptions(stop_after_absent=None, ends_by_shape=False, max_hole_area=0, min_island_area=0)
BOX = (10, 12, 40, 44)


@pytest.fixture(params=[False, True], ids=["as SAM 2", "rasterized prompts"])
def model(request):
    return small_model(rasterize_prompts=request.param)


@pytest.fixture
def volume():
    return noise_volume(16, 48, 56)


def run(session, **kwargs):
    return {one.plane.index: one.mask for one in session.propagate(1, **kwargs)}


def test_a_box_is_answered_at_once_and_carried_to_every_slice(model, volume):
    session = Session(model, volume, options=PLAIN)
    first = session.add_box(1, "axial", 5, BOX)
    assert first.mask.shape == (48, 56)
    done = run(session)
    assert sorted(done) == [n for n in range(16) if n != 5]
    labels = session.labels()
    np.testing.assert_array_equal(labels.voxels[5] == 1, first.mask)
    for index, mask in done.items():
        np.testing.assert_array_equal(labels.voxels[index] == 1, mask)
    np.testing.assert_array_equal(labels.ijk_to_ras, volume.ijk_to_ras)


def test_the_same_prompts_always_give_the_same_masks(model, volume):
    one, two = (Session(model, volume, options=PLAIN) for _ in range(2))
    for session in (one, two):
        session.add_box(1, "axial", 5, BOX)
        session.add_point(1, "axial", 5, (20, 20), positive=False)
        run(session)
    again = two.add_box(1, "axial", 5, BOX)  # the same prompts again: the complete set, not a change
    np.testing.assert_array_equal(again.mask, one.slice_mask(1, "axial", 5).mask)
    run(two)
    np.testing.assert_array_equal(one.mask(1), two.mask(1))


def test_one_more_click_refines_and_taking_it_back_restores(model, volume):
    session = Session(model, volume, options=PLAIN)
    before = session.add_box(1, "axial", 5, BOX).mask
    prompts = session.prompts(1)[0]
    session.add_point(1, "axial", 5, (45, 50))
    after = session.set_prompts(session.prompts(1)[0].without_last_point()).mask
    np.testing.assert_array_equal(before, after)
    assert session.prompts(1)[0].revision == prompts.revision + 2


def test_a_correction_changes_its_slice_and_stays(model, volume):
    session = Session(model, volume, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    before = run(session)
    row, col = np.argwhere(~before[10])[0]
    corrected = session.add_point(1, "axial", 10, (row, col)).mask
    assert (corrected != before[10]).any()
    after = run(session)
    assert 10 not in after
    np.testing.assert_array_equal(session.slice_mask(1, "axial", 10).mask, corrected)


def test_only_what_lies_between_confirmed_slices_is_done_again(model, volume):
    session = Session(model, volume, options=PLAIN)
    session.add_box(1, "axial", 3, BOX)
    session.add_box(1, "axial", 12, BOX)
    run(session)
    before = session.mask(1)
    session.add_point(1, "axial", 8, (20, 20))
    assert set(run(session)) == {4, 5, 6, 7, 9, 10, 11}
    np.testing.assert_array_equal(session.mask(1)[:4], before[:4])
    np.testing.assert_array_equal(session.mask(1)[12:], before[12:])


def test_a_second_propagation_has_nothing_left_to_do(model, volume):
    session = Session(model, volume, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    assert session.num_slices_to_do(1) == 15
    run(session)
    assert session.num_slices_to_do(1) == 0
    assert run(session) == {}


def test_a_stopped_propagation_keeps_what_is_done_and_goes_on_from_there(model, volume):
    whole = Session(model, volume, options=PLAIN)
    whole.add_box(1, "axial", 5, BOX)
    run(whole)
    session = Session(model, volume, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    done = []
    with pytest.raises(Cancelled):
        for one in session.propagate(1, is_cancelled=lambda: len(done) == 4):
            done.append(one.plane.index)
    assert len(done) == 4
    assert not set(run(session)) & set(done)
    np.testing.assert_array_equal(session.mask(1), whole.mask(1))


def test_a_range_bounds_what_is_done(model, volume):
    session = Session(model, volume, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    assert sorted(run(session, first=3, last=8)) == [3, 4, 6, 7, 8]
    assert sorted(run(session, first=3, last=9)) == [9] or sorted(run(session, first=3, last=9)) == []


def test_objects_do_not_influence_each_other(model, volume):
    alone, both = (Session(model, volume, options=PLAIN) for _ in range(2))
    alone.add_box(1, "axial", 5, BOX)
    both.add_box(2, "axial", 8, (5, 5, 30, 30))
    both.add_box(1, "axial", 5, BOX)
    for _ in alone.propagate():
        pass
    for _ in both.propagate():
        pass
    np.testing.assert_array_equal(alone.mask(1), both.mask(1))
    assert both.object_ids == [1, 2]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize(
    "flips", [(False, False, False), (True, False, True), (False, True, False), (True, True, True)]
)
def test_the_mask_does_not_depend_on_how_the_file_is_stored(order, flips):
    volume = noise_volume(10, 48, 56)
    other = restored(volume, order, flips)
    masks = []
    for image in (volume, other):
        session = Session(small_model(), image, options=PLAIN)
        corners = image.to_ijk(volume.to_ras(np.array([[12, 10, 4], [44, 40, 4]])))
        from NeuroSAM2Core.volume import SlicePlane, resolve_axis

        axis = resolve_axis(image, "axial")
        index = round(corners[0]["ijk".index(axis)])
        (r0, c0), (r1, c1) = (SlicePlane(axis, index).to_pixel(*corner) for corner in corners)
        session.add_box(1, "axial", index, (min(r0, r1), min(c0, c1), max(r0, r1), max(c0, c1)))
        for _ in session.propagate(1):
            pass
        masks.append(image.with_voxels(session.mask(1)))
    np.testing.assert_array_equal(restored(masks[0], order, flips).voxels, masks[1].voxels)
    assert masks[0].voxels.any()


def test_coronal_and_sagittal_slices_work_too(volume):
    for axis, box in (("coronal", (2, 8, 12, 40)), ("sagittal", (2, 8, 12, 40))):
        session = Session(small_model(), volume, options=PLAIN)
        session.add_box(1, axis, 20, box)
        for _ in session.propagate(1, first=18, last=22):
            pass
        assert session.mask(1).shape == volume.shape


def test_a_volume_of_one_slice_needs_no_propagation():
    volume = noise_volume(1, 48, 56)
    session = Session(small_model(), volume, options=PLAIN)
    session.add_box(1, "axial", 0, BOX)
    assert run(session) == {}
    assert session.labels().voxels.shape == (1, 48, 56)


def test_a_pass_ends_where_the_object_is_gone(volume):
    from Testing.Core.test_parity_stages import lively_state, shapes_of

    absent = small_model.__wrapped__()
    absent.load_state_dict(lively_state(shapes_of(absent), object_score_bias=-3.0))
    session = Session(absent, volume, options=replace(PLAIN, stop_after_absent=2))
    session.add_box(1, "axial", 5, BOX)
    assert sorted(run(session)) == [3, 4, 6, 7]
    assert run(session) == {}


def test_a_mask_prompt_comes_back_nearly_as_given(volume):
    mask = np.zeros((48, 56), bool)
    mask[10:40, 12:44] = True
    session = Session(small_model(), volume, options=PLAIN)
    got = session.add_mask(1, "axial", 5, mask).mask
    assert 2 * (got & mask).sum() / (got.sum() + mask.sum()) > 0.95


def test_the_image_is_not_changed_and_nothing_stays_in_inference_mode(volume):
    before = volume.voxels.copy()
    session = Session(small_model(), volume, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    for _ in session.propagate(1):
        assert not torch.is_inference_mode_enabled()
    np.testing.assert_array_equal(volume.voxels, before)


def test_voxels_that_are_no_numbers_do_not_spoil_the_mask():
    clean = noise_volume(6, 48, 56)
    spoilt = np.array(clean.voxels)
    spoilt[2, 3, 4] = np.nan
    spoilt[3, 5, 6] = np.inf
    session = Session(small_model(), Volume(spoilt, UPRIGHT), options=PLAIN)
    assert np.isfinite(session.add_box(1, "axial", 2, BOX).predicted_iou)


def test_the_feature_cache_stays_within_its_room(volume):
    session = Session(small_model(), volume, options=replace(PLAIN, feature_cache_bytes=1))
    roomy = Session(small_model(), volume, options=PLAIN)
    for one in (session, roomy):
        one.add_box(1, "axial", 5, BOX)
        run(one)
    assert len(session._view("k").features._kept) == 1
    np.testing.assert_array_equal(session.mask(1), roomy.mask(1))


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda s: s.add_box(1, "axial", 99, BOX), GeometryError, "no slice 99"),
        (lambda s: s.add_box(1, "axial", -1, BOX), GeometryError, "no slice -1"),
        (lambda s: s.add_box(1, "up", 5, BOX), GeometryError, "no axis 'up'"),
        (lambda s: s.add_box(1, "axial", 5, (1, 2, 3)), PromptError, "row0, col0, row1, col1"),
        (lambda s: s.add_box(1, "axial", 5, (0, 0, 200, 10)), PromptError, "outside the slice"),
        (lambda s: s.add_box(0, "axial", 5, BOX), PromptError, "start at 1"),
        (lambda s: s.add_point(1, "axial", 5, (-9, 3)), PromptError, "outside the slice"),
        (lambda s: s.add_mask(1, "axial", 5, np.ones((3, 3), bool)), PromptError, "has shape"),
        (lambda s: list(s.propagate(7)), PromptError, "no object 7"),
        (lambda s: s.mask(7), PromptError, "no object 7"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(volume, act, error, words):
    session = Session(small_model(), volume)
    with pytest.raises(error, match=words):
        act(session)
    assert session.object_ids == []


def test_an_object_has_one_axis(volume):
    session = Session(small_model(), volume)
    session.add_box(1, "axial", 5, BOX)
    with pytest.raises(PromptError, match="segmented along k"):
        session.add_point(1, "coronal", 5, (3, 3))


def test_an_object_is_cleaned_as_a_whole_if_asked(model, volume):
    plain = Session(model, volume, options=PLAIN)
    whole = Session(model, volume, options=replace(PLAIN, only_largest_part=True))
    filled = Session(model, volume, options=replace(PLAIN, max_hole_volume=None, min_island_volume=5))
    for session in (plain, whole, filled):
        session.add_box(1, "axial", 5, BOX)
        run(session)
    before = plain.mask(1)
    largest = largest_component(before)
    assert (largest != before).any()
    np.testing.assert_array_equal(whole.mask(1), largest)
    np.testing.assert_array_equal(whole.labels().voxels == 1, largest)
    cleaned = remove_islands(fill_holes(before), min_size=5)
    np.testing.assert_array_equal(filled.mask(1), cleaned)
    np.testing.assert_array_equal(filled.labels().voxels == 1, cleaned)
    np.testing.assert_array_equal(filled.slice_mask(1, "axial", 5).mask, plain.slice_mask(1, "axial", 5).mask)


@pytest.mark.parametrize("bad", [{"max_hole_volume": -1}, {"min_island_volume": -2}])
def test_impossible_volumes_are_refused(bad):
    with pytest.raises(ConfigError, match="at least 0"):
        EngineOptions(**bad)


def test_a_click_is_answered_before_its_memory_is_encoded(model, volume, monkeypatch):
    encoded = []
    write_memory = model.write_memory
    monkeypatch.setattr(
        model, "write_memory", lambda *args, **kwargs: encoded.append(1) or write_memory(*args, **kwargs)
    )
    session = Session(model, volume, options=PLAIN)
    session.add_box(1, "axial", 5, BOX)
    session.add_point(1, "axial", 5, (20, 20), positive=False)
    assert not encoded
    before = session.nbytes
    run(session, first=6, last=6)
    assert len(encoded) == 2  # of the prompted slice, once, and of the one that was reached
    run(session, first=4, last=6)
    assert len(encoded) == 3
    assert session.nbytes > before
