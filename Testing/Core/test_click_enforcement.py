"""A click always changes what it was meant to change, even with a model that ignores it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.inference.prediction.postprocess import (
    RADIUS_PX,
    agreement,
    cleaned_slice,
    enforce_clicks,
    to_size,
)
from NeuroSAM2Core.prompts import PointPrompt
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

SHAPE = (60, 90)
BOX = (10, 12, 40, 44)
OPTIONS = EngineOptions()


def mask_of(logits):
    return to_size(logits, SHAPE, "bilinear")[0].numpy() > 0


def test_a_model_that_follows_is_left_alone():
    logits = torch.full((1, 1, 16, 16), 8.0)
    assert enforce_clicks(logits, [PointPrompt(30, 40, True)], SHAPE, OPTIONS) is logits
    assert enforce_clicks(logits, [], SHAPE, OPTIONS) is logits


def test_a_click_that_was_ignored_turns_over_the_pixels_around_it_and_no_others():
    logits = torch.full((1, 1, 16, 16), 8.0)
    mask = mask_of(enforce_clicks(logits, [PointPrompt(30, 40, False)], SHAPE, OPTIONS))
    assert not mask[30, 40]
    rows, cols = np.indices(SHAPE)
    reach = max(RADIUS_PX, 1.5 * 90 / 16) + 90 / 16
    assert mask[np.hypot(rows - 30, cols - 40) > reach].all()
    assert (~mask).sum() > EngineOptions().max_hole_area, "else the hole would be filled again"


def test_a_click_beside_a_small_object_does_not_multiply_it():
    rows, cols = np.mgrid[:64, :64]
    blob = torch.from_numpy(np.where(np.hypot(rows - 32, cols - 32) < 11, 5.0, -5.0).astype(np.float32))[None, None]
    shape, click = (24, 24), PointPrompt(12, 17, True)
    before, after = (
        cleaned_slice(to_size(logits, shape, "bilinear")[0] > 0, OPTIONS)
        for logits in (blob, enforce_clicks(blob, [click], shape, OPTIONS))
    )
    assert not before[12, 17]
    assert after[12, 17]
    assert before.sum() < after.sum() < 1.4 * before.sum()


@pytest.mark.parametrize("positive", [True, False])
def test_an_answer_that_is_cleaned_away_is_none(positive):
    logits = torch.full((1, 1, 16, 16), -8.0 if positive else 8.0)
    logits[..., 3:8, 10:15] *= -1 if positive else 1  # the largest part always stays
    logits[..., 13, 2] *= -1
    row, col = ((at + 0.5) * n / 16 for at, n in zip((13, 2), SHAPE, strict=True))
    options = replace(OPTIONS, min_island_area=64)
    click = PointPrompt(round(row - 0.5), round(col - 0.5), positive)
    assert agreement(logits, [click], SHAPE).all()
    for answer, is_seen in ((logits, False), (enforce_clicks(logits, [click], SHAPE, options), True)):
        mask = cleaned_slice(to_size(answer, SHAPE, "bilinear")[0] > 0, options)
        assert (mask[int(click.row), int(click.col)] == positive) == is_seen


def test_a_click_on_an_object_thought_absent_brings_it_back():
    absent = torch.full((1, 1, 16, 16), -1024.0)
    mask = mask_of(enforce_clicks(absent, [PointPrompt(5, 80, True)], SHAPE, OPTIONS))
    assert mask[5, 80]
    assert mask.sum() > RADIUS_PX**2


places = st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(places, min_size=1, max_size=6), st.integers(0, 2**31))
def test_the_last_click_is_always_seen_and_distant_ones_all_are(clicks, seed):
    logits = 5 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    points = [PointPrompt(*click) for click in clicks]
    mask = mask_of(enforce_clicks(logits, points, SHAPE, OPTIONS))
    last = points[-1]
    assert mask[int(last.row), int(last.col)] == last.positive
    for point in points:
        gaps = [np.hypot(point.row - q.row, point.col - q.col) for q in points if q.positive != point.positive]
        if min(gaps, default=np.inf) > 30:
            assert mask[int(point.row), int(point.col)] == point.positive


@pytest.mark.parametrize("seed", range(8))
def test_a_correction_on_any_slice_is_seen_there(seed):
    rng = np.random.default_rng(seed)
    session = Session(small_model(rasterize_prompts=False), noise_volume(12, 48, 56))
    session.add_box(1, "axial", 5, BOX)
    for _ in session.propagate(1):
        pass
    index = int(rng.integers(12))
    before = session.slice_mask(1, "axial", index).mask
    row, col = (int(rng.integers(n)) for n in before.shape)
    after = session.add_point(1, "axial", index, (row, col), positive=not before[row, col]).mask
    assert after[row, col] != before[row, col]
    np.testing.assert_array_equal(session.mask(1)[index], after)


def test_the_reference_gives_the_model_the_last_word():
    assert not EngineOptions.as_reference().enforce_clicks
