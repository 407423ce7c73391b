"""The first box on a slice: which part of it is the object follows its intensities, where they differ from what is around it."""

import numpy as np
import pytest
import torch

from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.inference.prediction.box_refinement import CellBox, refine_box_mask
from Testing.Support.answers import answer_of, logits_of

SIDE = 64
BOX = (16.0, 20.0, 44.0, 52.0)


def filled_box():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[16:44, 20:52] = True
    return mask


def ellipse(rows=14, cols=16):
    row, col = np.mgrid[:SIDE, :SIDE]
    return ((row - 29.5) / rows) ** 2 + ((col - 35.5) / cols) ** 2 <= 1


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("contrast", [0.5, -0.5])
def test_a_mask_that_fills_the_box_becomes_the_object_in_it(contrast):
    truth = ellipse()
    picture = 0.5 + contrast * truth + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    refined = refine_box_mask(answer_of(logits_of(filled_box())), picture.astype(np.float32), BOX)
    assert dice(filled_box(), truth) < 0.9
    assert dice(refined.logits[0, 0].numpy() > 0, truth) > 0.97
    assert refined.iou.item() == pytest.approx(0.7)
    assert refined.object_score_logits.item() == 3


@pytest.mark.parametrize("seed", range(5))
def test_where_intensities_do_not_differ_the_models_mask_stays(seed):
    picture = np.random.default_rng(seed).normal(0.5, 0.05, (SIDE, SIDE)).astype(np.float32)
    answer = answer_of(logits_of(ellipse()))
    assert refine_box_mask(answer, picture, BOX) is answer


def test_specks_beside_the_object_are_dropped_and_parts_are_not():
    truth = ellipse(rows=6)
    truth[18:22, 22:34] = True
    picture = 0.2 + 0.6 * truth
    picture[42, 50] = 0.8
    refined = (
        refine_box_mask(answer_of(logits_of(filled_box())), picture.astype(np.float32), BOX).logits[0, 0].numpy() > 0
    )
    assert refined[19:21, 24:32].all()
    assert not refined[42, 50]


def test_nothing_outside_the_box_is_object():
    picture = np.full((SIDE, SIDE), 0.2, np.float32)
    picture[16:44, 14:44] = 0.9
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:60, 10:60] = True
    refined = refine_box_mask(answer_of(logits_of(mask)), picture, BOX).logits[0, 0].numpy() > 0
    assert not (refined & ~filled_box()).any()


@pytest.mark.parametrize("bounds", [(0.0, 0.0, 64.0, 64.0), (30.0, 30.0, 31.0, 31.0), (-5.0, 60.0, 3.0, 70.0)])
def test_boxes_at_the_limits_give_a_mask(bounds):
    rng = np.random.default_rng(0)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[28:34, 28:34] = True
    refined = refine_box_mask(answer_of(logits_of(mask)), rng.random((SIDE, SIDE), dtype=np.float32), bounds)
    assert torch.isfinite(refined.logits).all()
    assert refined.logits.shape == (1, 1, SIDE, SIDE)


def test_an_empty_mask_and_a_constant_picture_stay_as_they_are():
    empty = answer_of(logits_of(np.zeros((SIDE, SIDE), bool)))
    assert refine_box_mask(empty, np.zeros((SIDE, SIDE), np.float32), BOX) is empty
    filled = answer_of(logits_of(filled_box()))
    assert refine_box_mask(filled, np.zeros((SIDE, SIDE), np.float32), BOX) is filled


def test_the_cells_of_a_box_are_those_that_it_touches():
    assert CellBox.of((0.4, 1.0, 2.0, 3.1), 8) == CellBox(0, 1, 1, 3)
    assert CellBox.of((-3.0, 7.5, 20.0, 7.6), 8) == CellBox(0, 7, 7, 7)


def test_the_reference_refines_nothing():
    assert EngineOptions.as_reference().refines_boxes is False
