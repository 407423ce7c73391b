"""Prompts of a whole batch: the same rules as for one mask."""

import numpy as np
import pytest
import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, NEGATIVE, NOTHING, POSITIVE, TOP_LEFT
from NeuroSAM2Core.prompts import box_from_mask, scribble_from_error
from NeuroSAM2Core.training.config.step import PromptConfig
from NeuroSAM2Core.training.step.prompts import (
    CARRIED_JITTER_PX,
    CARRIED_MARGIN_PX,
    carried_boxes,
    first_points,
    lassos,
    with_clicks,
)


@pytest.fixture
def truth():
    rng = np.random.default_rng(3)
    masks = rng.random((6, 20, 30)) < 0.05
    masks[2] = False
    return torch.from_numpy(masks)


def test_tight_boxes_are_those_of_each_mask(truth):
    points = first_points("box", truth, np.random.default_rng(0), jitter=False)
    for mask, coords, labels in zip(truth.numpy(), points.coords, points.labels, strict=True):
        box = box_from_mask(mask)
        if box is None:
            assert labels.tolist() == [NOTHING, NOTHING]
        else:
            assert coords.tolist() == [[box.col0, box.row0], [box.col1, box.row1]]
            assert labels.tolist() == [TOP_LEFT, BOTTOM_RIGHT]


def test_loose_boxes_are_off_by_up_to_a_tenth_and_stay_on_the_slice(truth):
    tight = first_points("box", truth, np.random.default_rng(0), jitter=False)
    jitter = first_points("box", truth, np.random.default_rng(0), jitter=True)
    sides = tight.coords[:, 1] - tight.coords[:, 0] + 1
    off = (jitter.coords - tight.coords).abs()
    assert off.max() > 0
    assert (off <= 0.1 * sides[:, None] + 1e-5).all()
    assert (jitter.coords >= 0).all()
    assert (jitter.coords <= torch.tensor([29.0, 19.0])).all()


@pytest.mark.parametrize("seed", range(40))
def test_a_loose_box_moves_no_further_than_twenty_pixels(seed):
    large = torch.zeros(1, 400, 500, dtype=torch.bool)
    large[0, 50:350, 60:440] = True
    jitter = first_points("box", large, np.random.default_rng(seed))
    assert (jitter.coords - torch.tensor([[[60.0, 50.0], [439.0, 349.0]]])).abs().max() <= 20


@pytest.mark.parametrize("seed", range(40))
def test_a_click_is_in_the_error_with_the_right_sign_whatever_the_masks(seed):
    target, answer = (torch.from_numpy(np.random.default_rng(s).random((3, 9, 13)) < 0.4) for s in (seed, seed + 5000))
    points = with_clicks(None, target, answer, np.random.default_rng(seed), anywhere=False)
    for mask, other, (col, row), label in zip(target, answer, points.coords[:, 0].int(), points.labels, strict=True):
        assert mask[row, col] != other[row, col]
        assert label == (POSITIVE if mask[row, col] else NEGATIVE)


def test_a_first_click_is_on_the_object_and_anywhere_on_it(truth):
    rng = np.random.default_rng(0)
    hit = torch.zeros_like(truth)
    for _ in range(300):
        points = first_points("click", truth, rng)
        for n, ((col, row), label) in enumerate(zip(points.coords[:, 0].int(), points.labels[:, 0], strict=True)):
            if label == NOTHING:
                assert not truth[n].any()
            else:
                assert label == POSITIVE
                assert truth[n, row, col]
                hit[n, row, col] = True
    assert torch.equal(hit, truth), "some pixel is never clicked"


def test_corrections_are_in_the_error_and_say_what_is_wrong(truth):
    answer = truth.roll(1, dims=2)
    rng = np.random.default_rng(0)
    points = None
    for count in range(1, 30):
        points = with_clicks(points, truth, answer, rng, anywhere=False)
        assert points.labels.shape == (6, count)
    for n in (0, 1, 3, 4, 5):
        for (col, row), label in zip(points.coords[n].int(), points.labels[n], strict=True):
            assert truth[n, row, col] != answer[n, row, col]
            assert label == (POSITIVE if truth[n, row, col] else NEGATIVE)
        assert len(set(points.labels[n].tolist())) == 2


def test_where_nothing_is_wrong_the_click_is_in_the_background(truth):
    points = with_clicks(None, truth, truth, np.random.default_rng(0), anywhere=False)
    for mask, (col, row) in zip(truth, points.coords[:, 0].int(), strict=True):
        assert not mask[row, col]
    assert (points.labels == NEGATIVE).all()


def test_a_click_from_the_truth_ignores_the_error(truth):
    points = with_clicks(None, truth, torch.zeros_like(truth), np.random.default_rng(0), anywhere=True)
    present = truth.flatten(1).any(dim=1)
    assert torch.equal(points.labels[:, 0] == POSITIVE, present)
    assert points.labels[2, 0] == NEGATIVE, "an absent object can only be denied"


def test_where_there_is_nowhere_to_click_nothing_is_reported():
    full = torch.ones(2, 4, 4, dtype=torch.bool)
    assert (with_clicks(None, full, full, np.random.default_rng(0), anywhere=False).labels == NOTHING).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_carried_box_is_that_of_the_mask_a_little_wider(seed):
    logits = torch.full((2, 1, 16, 16), -1.0)
    logits[0, 0, 4:9, 6:12] = 1.0  # pixels 16 to 35 and 24 to 47 of an input of 64
    points = carried_boxes(logits, 64, np.random.default_rng(seed))
    wanted = torch.tensor([[24.0, 16.0], [47.0, 35.0]]) + CARRIED_MARGIN_PX * torch.tensor([[-1.0], [1.0]])
    assert (points.coords[0] - wanted).abs().max() <= CARRIED_JITTER_PX
    assert points.labels[0].tolist() == [TOP_LEFT, BOTTOM_RIGHT]
    assert points.labels[1].tolist() == [NOTHING, NOTHING]
    assert not points.coords[1].any()


def test_a_carried_box_stays_on_the_slice():
    points = carried_boxes(torch.ones(1, 1, 16, 16), 64, np.random.default_rng(0))
    assert points.coords.min() >= 0
    assert points.coords.max() <= 63


def bananas():
    """A bent object, a disc, nothing, a speck, and two parts."""
    rows, cols = np.mgrid[:60, :80]
    radius, away = np.hypot(rows - 55, cols - 40), np.hypot(rows - 25, cols - 30)
    bent, disc, nothing, speck = (radius > 30) & (radius < 42) & (rows < 45), away < 12, radius < 0, away < 0.5
    return torch.from_numpy(np.stack([bent, disc, nothing, speck, disc | (np.hypot(rows - 50, cols - 65) < 6)]))


def test_a_scribble_is_at_least_half_of_the_middle_line_as_its_clicks():
    truth = bananas()
    lengths = []
    for seed in range(30):
        points = first_points("scribble", truth, np.random.default_rng(seed))
        for n, mask in enumerate(truth):
            is_there = points.labels[n] != NOTHING
            assert (points.labels[n][is_there] == POSITIVE).all()
            places = points.coords[n][is_there]
            if not mask.any():
                assert len(places) == 0
                continue
            assert all(mask[round(float(row)), round(float(col))] for col, row in places)
            if n == 0:
                assert len(places) >= 3
                lengths.append(float((places[1:] - places[:-1]).norm(dim=1).sum()))
    whole = np.asarray(scribble_from_error(truth[0].numpy(), np.zeros((60, 80), bool)).path)
    longest = np.linalg.norm(np.diff(whole, axis=0), axis=1).sum()
    assert 0.4 * longest < min(lengths) < 0.7 * longest
    assert 0.9 * longest < max(lengths) <= longest + 1


def test_a_rough_lasso_is_around_each_part_and_off_by_about_a_tenth():
    truth = bananas()
    sizes = []
    for seed in range(30):
        masks = lassos(truth, np.random.default_rng(seed))
        assert not masks[2].any()
        assert torch.equal(masks[3], truth[3])
        sizes.append(float(masks[1].sum() / truth[1].sum()))
        parts = masks[4]
        assert parts[25, 30]
        assert parts[50, 65]
        overlap = 2 * (masks & truth).flatten(1).sum(1) / (masks.flatten(1).sum(1) + truth.flatten(1).sum(1))
        assert overlap[[1, 4]].min() > 0.85
    assert 0.75 < min(sizes) < 0.95
    assert 1.05 < max(sizes) < 1.3


def test_the_same_numbers_give_the_same_scribbles_and_lassos():
    truth = bananas()
    one, other = (first_points("scribble", truth, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(one.coords, other.coords)
    assert torch.equal(lassos(truth, np.random.default_rng(7)), lassos(truth, np.random.default_rng(7)))


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ({"scribble": 1.5}, "prompts.scribble is a probability"),
        ({"lasso": -0.1}, "prompts.lasso is a probability"),
        (
            {"scribble": 0.4, "lasso": 0.2},
            "at most 1 together; got box = 0.25, click = 0.25, scribble = 0.4, lasso = 0.2",
        ),
    ],
)
def test_probabilities_of_first_prompts_are_checked(prompts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        PromptConfig(**prompts)
