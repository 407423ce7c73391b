"""What part of a slice the model sees, and how answers come back from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core import Session, Volume
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import MIN_SIDE_MM, Crop, CropPlanner, logits_in_crop
from NeuroSAM2Core.inference.prediction.mask_transfer import box_of_mask, keeping
from NeuroSAM2Core.inference.prediction.postprocess import at_slice
from NeuroSAM2Core.inference.propagation.track import Ending, SliceEvidence, ending_of
from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.volume import Axis, IntensityWindow, SliceStack, crop_window
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

WINDOW = IntensityWindow(0.0, 1.0)
OPTIONS = EngineOptions(upsampling="bicubic")
ADAPTIVE = EngineOptions(crops=True, carries_boxes=True, ends_by_shape=True, min_iou=0.0, min_area_ratio=0.0)


def planner(shape=(8, 120, 160), spacing=(1.0, 1.0, 1.0), *, scale=2.0, voxels=None, fixed=False):
    rng = np.random.default_rng(0)
    voxels = rng.random(shape, dtype=np.float32) if voxels is None else voxels
    matrix = np.diag([*spacing, 1.0])
    stack = SliceStack.of(Volume(voxels, matrix), Axis.K)
    return CropPlanner.of(stack, spacing, WINDOW, scale=scale, is_window_fixed=fixed)


def logits_of_box(crop, top, left, bottom, right, cells=64):
    """Logits that are above 0 in a rectangle of the slice."""
    rows = crop.top + (np.arange(cells) + 0.5) * crop.height / cells - 0.5
    cols = crop.left + (np.arange(cells) + 0.5) * crop.width / cells - 0.5
    inside = ((rows >= top) & (rows <= bottom))[:, None] & ((cols >= left) & (cols <= right))[None]
    return torch.from_numpy(np.where(inside, 8.0, -8.0).astype(np.float32))[None, None]


def test_a_crop_is_twice_the_box_and_in_the_middle_of_it():
    crop = planner().around(3, (50, 60, 69, 89))
    assert crop.shape == (60, 60)
    assert (crop.top, crop.left) == (30, 45)


def test_a_crop_is_square_in_mm_on_pixels_that_are_not():
    crop = planner(spacing=(0.5, 2.0, 1.0)).around(3, (50, 60, 59, 99))
    assert (crop.height * 2.0, crop.width * 0.5) == (40.0, 40.0)


def test_a_crop_is_moved_into_the_slice_and_large_objects_see_all_of_it():
    plan = planner()
    crop = plan.around(3, (0, 0, 19, 19))
    assert (crop.top, crop.left, crop.shape) == (0, 0, (40, 40))
    assert plan.is_whole(plan.around(3, (5, 5, 110, 150)))
    assert planner(fixed=True).around(3, (5, 5, 110, 150)) == planner(fixed=True).whole


def test_tiny_objects_are_seen_with_their_surroundings():
    assert min(planner().around(3, (50, 50, 51, 51)).shape) == MIN_SIDE_MM


def test_the_window_of_a_crop_is_of_what_is_seen_without_padding():
    voxels = np.full((8, 120, 160), -1024.0, np.float32)
    voxels[:, 50:70, 70:90] = np.random.default_rng(0).uniform(20, 40, (8, 20, 20))
    voxels[:, :, 140:] = voxels[:, :, :20] = 3000.0
    bounds = 52, 72, 67, 87
    window = planner(voxels=voxels).around(3, bounds).window
    assert 20 <= window.low < 21
    assert 39 < window.high <= 40
    assert planner(voxels=voxels, fixed=True).around(3, bounds).window == WINDOW


def test_a_constant_crop_has_no_window_of_its_own():
    assert crop_window(np.full((4, 4), 7.0)) is None
    assert planner(voxels=np.zeros((8, 120, 160), np.float32)).around(3, (50, 50, 59, 59)).window == WINDOW


def test_logits_come_back_to_the_place_they_belong_to():
    crop = planner().around(3, (50, 60, 69, 89))
    full = at_slice(logits_of_box(crop, 50, 60, 69, 89), crop, (120, 160), OPTIONS) > 0
    expected = np.zeros((120, 160), bool)
    expected[50:70, 60:90] = True
    assert (full.numpy() ^ expected).sum() <= 100  # half a cell around the border of 20 x 30 pixels
    assert not full[:30].any()


def test_the_whole_slice_gives_what_it_gave_without_crops():
    plan, logits = planner(), torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(logits, size=(120, 160), mode="bilinear")[0, 0]
    assert torch.equal(at_slice(logits, plan.whole, (120, 160), replace(OPTIONS, upsampling="bilinear")), expected)


def test_bicubic_logits_do_not_ring_beside_the_mark_of_absence():
    plan, logits = planner(), torch.full((1, 1, 64, 64), -1024.0)
    assert not (at_slice(logits, plan.whole, (120, 160), OPTIONS) > 0).any()


@pytest.mark.parametrize("there_and_back", [False, True])
def test_logits_seen_in_another_crop_stay_in_their_place(there_and_back):
    one, other = Crop(30, 45, 60, 60, WINDOW), Crop(20, 30, 100, 100, WINDOW)
    logits = logits_of_box(one, 50, 60, 69, 89)
    moved = logits_in_crop(logits, one, other)
    if there_and_back:
        moved, other = logits_in_crop(moved, other, one), one
    low, high = other.bounds_of(moved)[:2], other.bounds_of(moved)[2:]
    np.testing.assert_allclose(low, (50, 60), atol=1.6)
    np.testing.assert_allclose(high, (69, 89), atol=1.6)
    assert logits_in_crop(logits, one, one) is logits


def test_where_a_crop_saw_nothing_there_is_no_object():
    one, other = Crop(30, 45, 60, 60, WINDOW), Crop(0, 0, 120, 160, WINDOW)
    moved = logits_in_crop(torch.full((1, 1, 64, 64), 8.0), one, other)
    mask = at_slice(moved, other, (120, 160), OPTIONS).numpy() > 0
    assert 0.9 * 3600 < mask.sum() < 1.1 * 3600


def test_a_crop_moves_only_when_its_object_comes_close_to_the_border():
    plan = planner()
    crop = plan.around(3, (50, 60, 69, 79))
    assert plan.following(crop, crop, 3, (52, 62, 71, 81)) == crop
    moved = plan.following(crop, crop, 3, (62, 62, 81, 81))
    assert moved.top > crop.top
    assert plan.following(crop, crop, 3, None) == crop
    assert plan.following(plan.whole, plan.whole, 3, (62, 62, 81, 81)) == plan.whole


def test_a_crop_is_widened_only_where_a_mask_touches_a_border_inside_the_slice():
    plan = planner()
    crop = plan.around(3, (50, 60, 69, 79))
    assert plan.widened(crop, 3, (crop.top + 5, 60, 70, 79)) is None
    wider = plan.widened(crop, 3, (crop.top, 60, 70, 79))
    assert wider is not None
    assert plan.side_mm(wider) >= 1.4 * plan.side_mm(crop)
    at_edge = plan.around(3, (0, 60, 19, 79))
    assert plan.widened(at_edge, 3, (0, 60, 19, 79)) is None


def test_a_click_is_read_in_several_fields_and_on_the_whole_slice():
    plan = planner()
    fields = plan.around_click(3, PointPrompt(60, 80), (48.0, 96.0))
    assert [crop.shape for crop in fields] == [(48, 48), (96, 96), (120, 160)]
    assert planner(scale=None).around_click(3, PointPrompt(60, 80), (48.0, 96.0)) == [plan.whole]


def test_the_carried_box_is_the_tight_one_a_little_wider():
    mask = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    mask[..., 10:20, 30:50] = True
    box = box_of_mask(mask, 256, 2.0)
    assert box is not None
    assert box.coords.tolist() == [[[118.0, 38.0], [201.0, 81.0]]]
    assert box_of_mask(torch.zeros_like(mask), 256, 2.0) is None


def test_the_mask_keeping_candidate_wins_unless_another_scores_much_better():
    before = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    before[..., :4] = True
    logits = torch.stack([torch.where(before[0, 0], 1.0, -1.0), torch.ones(8, 8)])[None]
    assert keeping(before, 0.5)(logits, torch.tensor([[0.7, 0.8]])).tolist() == [0]
    assert keeping(before, 0.5)(logits, torch.tensor([[0.3, 0.9]])).tolist() == [1]


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ({}, None),
        ({"object_score_logits": -0.1}, Ending.OBJECT_SCORE),
        ({"area": 0.0}, Ending.OBJECT_SCORE),
        ({"expected_iou": 0.1}, Ending.EXPECTED_IOU),
        ({"area": 20.0}, Ending.AREA),
        ({"area": 60.0, "distance": 0.7}, None),
        ({"area": 50.0, "distance": 0.7}, Ending.AREA),
        ({"area": 85.0, "distance": 20.0}, None),
        ({"area": 75.0, "distance": 20.0}, Ending.AREA),
        ({"overlap": 0.1}, Ending.OVERLAP),
    ],
)
def test_an_object_ends_for_one_reason_that_has_a_name(change, ending):
    evidence = SliceEvidence(object_score_logits=3.0, expected_iou=0.8, area=100.0, overlap=0.7)
    options = EngineOptions(ends_by_shape=True, min_iou=0.4, min_area_ratio=0.3, min_overlap=0.3, area_ratio_slope=0.8)
    assert ending_of(replace(evidence, **change), 100.0, options) is ending
    by_score_alone = ending_of(replace(evidence, **change), 100.0, replace(options, ends_by_shape=False))
    assert by_score_alone is (ending if ending is Ending.OBJECT_SCORE else None)


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ({}, None),
        ({"object_score_logits": -0.1}, Ending.OBJECT_SCORE),
        ({"certainty": 2.4}, Ending.CERTAINTY),
        ({"certainty": 2.4, "area_before": 110.0}, None),  # it shrinks, as what is followed to its tip does
        ({"area_before": 60.0}, Ending.CERTAINTY),  # it grows into something
        ({"distance": 1.6}, Ending.CERTAINTY),
        ({"distance": 1.2}, None),
        ({"distance": 30.0, "certainty": 6.7}, None),
        ({"expected_iou": 0.1, "overlap": 0.0}, None),
        ({"area": 5.0, "area_before": 6.0}, None),
        ({"certainty": None, "expected_iou": 0.1}, Ending.EXPECTED_IOU),
    ],
)
def test_where_the_refiner_outlines_an_object_its_certainty_ends_it(change, ending):
    evidence = SliceEvidence(
        object_score_logits=3.0, expected_iou=0.8, area=100.0, overlap=0.7, area_before=100.0, certainty=4.0
    )
    options = EngineOptions(ends_by_shape=True)
    assert ending_of(replace(evidence, **change), 100.0, options) is ending
    assert ending_of(replace(evidence, **change), 100.0, options, is_between=True) in (None, Ending.OBJECT_SCORE)


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ({}, None),
        ({"area": 5.0, "certainty": 3.9}, Ending.AREA),
        ({"area": 5.0, "certainty": None}, Ending.AREA),
        ({"area": 5.0}, None),  # the tip of a brain, followed to its end
        ({"area": 5.0, "overlap": 0.1}, Ending.OVERLAP),
        ({"area": 25.0, "has_shrunk_to": 10.0}, Ending.REGROWTH),
        ({"certainty": 1.0}, None),  # a head and its scalp are never outlined surely
    ],
)
def test_on_a_whole_slice_certainty_only_lets_a_small_mask_go_on(change, ending):
    evidence = SliceEvidence(
        object_score_logits=3.0, expected_iou=0.8, area=100.0, overlap=0.7, certainty=4.0, is_whole=True
    )
    options = EngineOptions(ends_by_shape=True, min_area_ratio=0.2, min_overlap=0.3)
    assert ending_of(replace(evidence, **change), 100.0, options) is ending


@pytest.fixture
def session():
    return Session(small_model(rasterize_prompts=True), noise_volume(16, 96, 112), options=ADAPTIVE)


def test_masks_and_logits_seen_in_crops_have_the_size_of_the_slice_and_the_volume(session):
    mask = session.add_box(1, "axial", 8, (40, 50, 55, 69)).mask
    assert mask.shape == (96, 112)
    assert mask.any()
    for _ in session.propagate(1):
        pass
    assert session.mask(1).shape == (16, 96, 112)
    assert session.logits(1).shape == (16, 96, 112)


def test_the_same_prompts_give_the_same_masks_whatever_came_between(session):
    other = Session(small_model(rasterize_prompts=True), noise_volume(16, 96, 112), options=ADAPTIVE)
    for one, extra in ((session, False), (other, True)):
        one.add_point(1, "axial", 8, (40, 50))
        if extra:
            one.preview(one.prompts(1)[0].with_point(PointPrompt(60, 60)))
            one.add_box(2, "axial", 3, (10, 10, 30, 30))
        one.add_point(1, "axial", 8, (45, 58), positive=False)
        for _ in one.propagate(1):
            pass
    np.testing.assert_array_equal(session.mask(1), other.mask(1))


def test_a_stopped_propagation_goes_on_to_the_same_masks(session):
    other = Session(small_model(rasterize_prompts=True), noise_volume(16, 96, 112), options=ADAPTIVE)
    for one in (session, other):
        one.add_box(1, "axial", 8, (40, 50, 55, 69))
    for _ in session.propagate(1):
        pass
    for _ in range(20):
        if next(iter(other.propagate(1)), None) is None:
            break
    np.testing.assert_array_equal(session.mask(1), other.mask(1))


def test_a_click_outside_of_the_crop_is_seen_and_belongs_to_the_object(session):
    session.add_box(1, "axial", 8, (40, 50, 55, 69))
    assert session.add_point(1, "axial", 8, (90, 5)).mask[90, 5]
    assert not session.add_point(1, "axial", 8, (5, 105), positive=False).mask[5, 105]


def test_the_readings_of_a_click_differ_and_any_can_be_chosen(session):
    first = session.add_point(1, "axial", 8, (40, 50))
    readings = session.readings(1, "axial", 8)
    assert len(readings) > 1
    np.testing.assert_array_equal(first.mask, readings[0].mask)
    assert all(one.mask[40, 50] for one in readings)
    for number, reading in enumerate(readings):
        chosen = session.choose_reading(1, "axial", 8, number)
        np.testing.assert_array_equal(chosen.mask, reading.mask)
        assert chosen.predicted_iou == reading.predicted_iou
    np.testing.assert_array_equal(session.choose_reading(1, "axial", 8, len(readings)).mask, readings[0].mask)
    session.add_box(1, "axial", 8, (30, 40, 60, 80))
    assert session.readings(1, "axial", 8) == []


def test_a_preview_is_the_reading_that_the_click_gives(session):
    session.add_point(1, "axial", 3, (30, 30))
    prompts = session.prompts(1)[0].with_reading(1)
    shown = session.preview(prompts)
    np.testing.assert_array_equal(shown.mask, session.set_prompts(prompts).mask)
