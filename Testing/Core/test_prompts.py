"""Prompts, typed prompts and simulated ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from NeuroSAM2Core.errors import NeuroSAM2Error, PromptError
from NeuroSAM2Core.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PromptSet,
    box_from_mask,
    click_from_error,
)
from NeuroSAM2Core.prompts.prompts import parse_box, parse_point
from NeuroSAM2Core.volume import Axis, SlicePlane

PLANE = SlicePlane(Axis.K, 3)


def random_mask(seed, shape=(30, 40)):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3) > 0.02


def test_a_box_upside_down_says_so():
    with pytest.raises(PromptError, match=r"box \(10, 4, 3, 9\) has bottom < top; expected top <= bottom"):
        BoxPrompt(10, 4, 3, 9)
    with pytest.raises(PromptError, match="right < left"):
        BoxPrompt(1, 9, 3, 4)
    with pytest.raises(PromptError, match="not a place"):
        BoxPrompt(1, float("nan"), 3, 4)


def test_every_change_makes_a_new_set_with_the_next_revision():
    first = PromptSet(object_id=1, plane=PLANE)
    second = first.with_box(BoxPrompt(1, 2, 3, 4))
    third = second.with_point(PointPrompt(2, 3, positive=False))
    assert (first.is_empty, first.revision, second.revision, third.revision) == (True, 0, 1, 2)
    assert third.without_last_point().points == ()
    assert third.without_last_point().revision == 3


def test_a_mask_stands_alone():
    prompts = PromptSet(object_id=1, plane=PLANE).with_point(PointPrompt(1, 1))
    masked = prompts.with_mask(MaskPrompt(np.ones((4, 4), bool)))
    assert masked.points == ()
    with pytest.raises(PromptError, match="stands alone"):
        masked.with_point(PointPrompt(1, 1))


@pytest.mark.parametrize(("row", "col", "ok"), [(0, 0, True), (9.5, 19.5, True), (-0.6, 3, False), (3, 20, False)])
def test_points_must_be_on_the_slice(row, col, ok):
    prompts = PromptSet(object_id=1, plane=PLANE).with_point(PointPrompt(row, col))
    if ok:
        prompts.check_inside(10, 20)
    else:
        with pytest.raises(PromptError, match="outside the slice; rows go from 0 to 9 and columns from 0 to 19"):
            prompts.check_inside(10, 20)


def test_typed_prompts_are_understood():
    typed = parse_box("axial:90:40,60,150,170")
    assert (typed.axis, typed.index, typed.box) == ("axial", 90, BoxPrompt(40, 60, 150, 170))
    assert parse_point("k:3:1.5,2").point == PointPrompt(1.5, 2, True)
    assert parse_point("k:3:1,2,-").point == PointPrompt(1, 2, False)


@given(st.text(alphabet="axil:,+-0123456789. ", max_size=25))
def test_mistyped_prompts_are_refused_in_a_sentence(text):
    for parse in (parse_box, parse_point):
        try:
            parse(text)
        except NeuroSAM2Error as error:
            assert error.message


@given(st.integers(0, 1000))
def test_the_box_of_a_mask_is_tight(seed):
    mask = random_mask(seed)
    box = box_from_mask(mask)
    if box is None:
        assert not mask.any()
        return
    rows, cols = np.nonzero(mask)
    assert (box.row0, box.col0, box.row1, box.col1) == (rows.min(), cols.min(), rows.max(), cols.max())


@given(st.integers(0, 500))
def test_a_centre_click_is_the_deepest_pixel_of_the_largest_error(seed):
    target, answer = random_mask(seed), random_mask(seed + 5000)
    click = click_from_error(target, answer)
    missed, excess = target & ~answer, answer & ~target
    depths = {s: ndimage.distance_transform_edt(np.pad(m, 1))[1:-1, 1:-1] for s, m in ((True, missed), (False, excess))}
    if click is None:
        assert not (missed | excess).any()
        return
    assert depths[click.positive][int(click.row), int(click.col)] == max(d.max() for d in depths.values())


def test_nothing_is_prompted_where_there_is_nothing_to_say():
    mask, nothing = random_mask(1), np.zeros((5, 5), bool)
    assert click_from_error(mask, mask) is None
    assert box_from_mask(nothing) is None
