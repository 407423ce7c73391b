"""Scribbles and lassos: what they become, and how they are kept beside other prompts."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import polygon2mask

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.measures.table import read_slice_counts
from NeuroSAM2Core.prompts import (
    BoxPrompt,
    LassoPrompt,
    ObjectPrompts,
    PointPrompt,
    ScribblePrompt,
    lasso_from_mask,
    scribble_from_error,
)
from NeuroSAM2Core.prompts.prompts import MAX_CLICKS, MAX_PLACES
from NeuroSAM2Core.volume import Axis, SlicePlane

PLANE = SlicePlane(Axis.J, 4)
SQUARE = LassoPrompt(((2.0, 2.0), (2.0, 8.0), (8.0, 8.0), (8.0, 2.0)))
LINE = ScribblePrompt.drawn([(5.0, float(col)) for col in range(5, 40)])


def arc(radius, angle, count=200):
    """Places of a hand along a part of a circle."""
    at = np.linspace(0, angle, count)
    return np.stack([radius * np.sin(at) + 50, radius * np.cos(at) + 50], axis=1)


def far_from(path, places):
    return float(np.linalg.norm(np.array(path)[:, None] - np.array(places), axis=2).min(axis=0).max())


def test_a_straight_line_is_few_clicks_from_end_to_end_and_jitter_adds_none():
    assert [(c.row, c.col) for c in LINE.clicks] == [(5, 5), (5, 22), (5, 39)]
    rng = np.random.default_rng(0)
    shaky = [(5.0 + rng.uniform(-0.4, 0.4), col / 4) for col in range(20, 160)]
    assert len(ScribblePrompt.drawn(shaky).clicks) == 3


def test_the_more_a_scribble_bends_the_more_clicks_it_is_up_to_a_number():
    counts = [len(ScribblePrompt.drawn(arc(30, angle)).clicks) for angle in (0.4, 1.6, 3.1, 6.0)]
    assert counts == sorted(set(counts))
    spiral = np.concatenate([arc(10 + n, 6.0) for n in range(8)])
    scribble = ScribblePrompt.drawn(spiral)
    assert len(scribble.clicks) == MAX_CLICKS
    assert len(scribble.path) <= MAX_PLACES


def test_clicks_are_closer_where_the_scribble_bends():
    path = [*((0.0, float(col)) for col in range(100)), *arc(8, 3.0)[::-1] - (42, -49)]
    cols = np.array([(c.row, c.col) for c in ScribblePrompt.drawn(path).clicks])
    steps = np.linalg.norm(np.diff(cols, axis=0), axis=1)
    assert steps[0] > 2 * steps[-1]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 90)), min_size=1, max_size=60))
def test_every_click_lies_on_the_path_and_says_the_same(path):
    scribble = ScribblePrompt.drawn(path, positive=False)
    assert 1 <= len(scribble.clicks) <= MAX_CLICKS
    assert not any(click.positive for click in scribble.clicks)
    corners = np.array([*scribble.path, scribble.path[-1]])
    fine = [a + t * (b - a) for a, b in itertools.pairwise(corners) for t in np.linspace(0, 1, 400)]
    assert far_from(fine, [(c.row, c.col) for c in scribble.clicks]) < 0.4


def test_a_lasso_is_its_inside_and_what_lies_outside_the_slice_is_cut_off():
    assert SQUARE.mask((20, 20)).sum() == 36
    rng = np.random.default_rng(3)
    for _ in range(20):
        outline = rng.uniform(-5, 35, (7, 2))
        ours = LassoPrompt(tuple(map(tuple, outline.tolist()))).mask((30, 28))
        assert (ours != polygon2mask((30, 28), outline)).sum() <= 2
    with pytest.raises(PromptError, match="too short"):
        LassoPrompt.drawn([(1, 1), (1, 1.2)])
    with pytest.raises(PromptError, match="too short"):
        ScribblePrompt(((math.nan, 1.0),))


def test_scribbles_are_clicks_before_the_clicks_and_stand_beside_a_box():
    prompts = (
        ObjectPrompts()
        .with_point(PLANE, PointPrompt(1, 1))
        .with_box(PLANE, BoxPrompt(0, 0, 9, 40))
        .with_scribble(PLANE, LINE)
    )
    asked = prompts.prompt_set(1, PLANE, revision=1, mask=None)
    assert asked.points == (*LINE.clicks, PointPrompt(1, 1))
    assert asked.box == BoxPrompt(0, 0, 9, 40)
    assert asked.mask is None
    assert not prompts.is_single_click(4)


def test_lassos_on_a_slice_are_one_mask_and_give_way_to_a_click():
    other = LassoPrompt(((6.0, 6.0), (6.0, 12.0), (12.0, 12.0), (12.0, 6.0)))
    prompts = ObjectPrompts().with_scribble(PLANE, LINE).with_lasso(PLANE, SQUARE).with_lasso(PLANE, other)
    asked = prompts.prompt_set(1, PLANE, revision=1, mask=None, shape=(20, 20))
    assert (asked.mask.mask == SQUARE.mask((20, 20)) | other.mask((20, 20))).all()
    assert not asked.points
    clicked = prompts.with_point(PLANE, PointPrompt(3, 3))
    assert clicked.on(4) == ObjectPrompts().with_point(PLANE, PointPrompt(3, 3))
    with pytest.raises(PromptError, match="segmented along j"):
        prompts.with_lasso(SlicePlane(Axis.K, 1), SQUARE)


def test_they_are_written_as_what_they_are_and_read_again():
    prompts = ObjectPrompts().with_scribble(PLANE, LINE).with_lasso(SlicePlane(Axis.J, 7), SQUARE)
    text = json.dumps(prompts.to_json())
    assert ObjectPrompts.from_json(json.loads(text)) == prompts
    assert prompts.indices == (4, 7)
    assert prompts.without(4).indices == (7,)
    assert prompts.changed_since(prompts.without(7)) == (SlicePlane(Axis.J, 7),)
    old = {key: value for key, value in json.loads(text).items() if key not in ("scribbles", "lassos")}
    assert ObjectPrompts.from_json(old).indices == ()


def test_the_file_beside_a_segmentation_counts_them(tmp_path):
    on = [{"slice": 3}, {"slice": 3}, {"slice": 5}]
    one = {"name": "a", "points": [], "boxes": [], "slices_confirmed_by_hand": [], "scribbles": on, "lassos": on[2:]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"objects": [one]}), encoding="utf-8")
    (counts,) = read_slice_counts(path)
    assert (counts.prompted, counts.corrected) == (2, 2)
    one["prompted_slices"] = [3, 3, 5, 9]  # of a kind that this version does not know, too
    path.write_text(json.dumps({"objects": [one]}), encoding="utf-8")
    (counts,) = read_slice_counts(path)
    assert (counts.prompted, counts.corrected) == (3, 1)


def test_they_have_names_in_files_for_other_programs():
    prompts = ObjectPrompts().with_scribble(PLANE, LINE).with_lasso(SlicePlane(Axis.J, 7), SQUARE)
    named = json.loads(json.dumps(prompts.with_point(PLANE, PointPrompt(3, 3)).named()))
    assert named["axis"] == "j"
    assert named["points"] == [{"slice": 4, "row": 3.0, "col": 3.0, "positive": True}]
    assert named["scribbles"][0]["path"] == [list(place) for place in LINE.path]
    assert [one["slice"] for one in named["lassos"]] == [7]
    assert sorted(named["prompted_slices"]) == [4, 4, 7]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 300))
def test_a_simulated_scribble_lies_on_the_error(seed):
    rng = np.random.default_rng(seed)
    target, found = (ndimage.gaussian_filter(rng.random((40, 50)), 3) > 0.5 for _ in range(2))
    scribble = scribble_from_error(target, found)
    error = target & ~found if scribble.positive else found & ~target
    near = ndimage.binary_dilation(error, iterations=2)
    assert all(near[round(row), round(col)] for row, col in scribble.path)
    assert scribble_from_error(target, target) is None


def test_a_simulated_scribble_runs_through_a_bar_and_a_lasso_around_it():
    bar = np.zeros((40, 60), bool)
    bar[10:16, 8:50] = True
    scribble = scribble_from_error(bar, np.zeros_like(bar))
    cols = [col for _, col in scribble.path]
    assert max(cols) - min(cols) > 30
    assert (lasso_from_mask(bar).mask(bar.shape) == bar).all()
    assert (lasso_from_mask(bar.T).mask(bar.T.shape) == bar.T).all()
    assert lasso_from_mask(np.zeros_like(bar)) is None
