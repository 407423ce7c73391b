"""The first box on a slice: which part of it is the object is found by the refiner, where the pixels show it."""

import numpy as np
import pytest
import torch

from NeuroSAM2Core.checkpoint.load import bundled_refiner
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.inference.prediction.mask_refinement import refine_box_mask
from NeuroSAM2Core.inference.prediction.refiner_view import CellBox, view_of_box
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


def refined(answer, picture, bounds=BOX):
    return refine_box_mask(answer, picture.astype(np.float32), bounds, bundled_refiner(torch.device("cpu")))


def mask_of(answer):
    return answer.logits[0, 0].numpy() > 0


def noise(seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, (SIDE, SIDE))


@pytest.mark.parametrize("contrast", [0.5, -0.5, 700.0])
def test_a_mask_that_fills_the_box_becomes_the_object_in_it(contrast):
    truth = ellipse()
    answer = refined(answer_of(logits_of(filled_box())), abs(contrast) + contrast * truth + abs(contrast) * noise())
    assert dice(filled_box(), truth) < 0.9
    assert dice(mask_of(answer), truth) > 0.93
    assert answer.iou.item() == pytest.approx(0.7)
    assert answer.object_score_logits.item() == 3


def test_an_object_that_fills_half_of_its_box_is_found():
    row, col = np.mgrid[:SIDE, :SIDE]
    across, along = (row - 30) - (col - 36), (row - 30) + (col - 36)
    truth = (across / 8) ** 2 + (along / 22) ** 2 <= 1
    rows, cols = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    bounds = float(rows[0]), float(cols[0]), rows[-1] + 1.0, cols[-1] + 1.0
    answer = refined(answer_of(logits_of(filled_box())), 0.6 - 0.3 * truth + noise(), bounds)
    assert truth.sum() < 0.6 * (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
    assert dice(mask_of(answer), truth) > 0.85


@pytest.mark.parametrize("seed", range(3))
def test_where_intensities_do_not_differ_the_models_mask_stays(seed):
    answer = answer_of(logits_of(ellipse()))
    assert refined(answer, noise(seed)) is answer


def test_nothing_far_outside_the_box_is_object():
    picture = np.full((SIDE, SIDE), 0.2)
    picture[16:44, 14:44] = 0.9
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:60, 10:60] = True
    found = mask_of(refined(answer_of(logits_of(mask)), picture))
    assert found.any()
    assert not (found & ~CellBox.of(BOX, SIDE).widened_mask(1, SIDE)).any()


@pytest.mark.parametrize("bounds", [(0.0, 0.0, 64.0, 64.0), (30.0, 30.0, 31.0, 31.0), (-5.0, 60.0, 3.0, 70.0)])
def test_boxes_at_the_limits_give_a_mask(bounds):
    rng = np.random.default_rng(0)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[28:34, 28:34] = True
    answer = refined(answer_of(logits_of(mask)), rng.random((SIDE, SIDE)), bounds)
    assert torch.isfinite(answer.logits).all()
    assert answer.logits.shape == (1, 1, SIDE, SIDE)


def test_a_grid_of_another_size_gets_a_mask_of_its_size():
    truth, large = ellipse(), 128
    answer = answer_of(torch.full((1, 1, large, large), 4.0))
    found = mask_of(refined(answer, 0.2 + 0.5 * truth + noise()))
    assert found.shape == (large, large)
    assert dice(found, np.kron(truth, np.ones((2, 2), bool))) > 0.9


def test_on_a_constant_picture_the_models_mask_stays():
    answer = answer_of(logits_of(filled_box()))
    assert refined(answer, np.zeros((SIDE, SIDE))) is answer


def test_a_view_does_not_depend_on_the_units_of_the_image():
    picture, box = (0.2 + 0.5 * ellipse() + noise()).astype(np.float32), CellBox.of(BOX, SIDE)
    np.testing.assert_allclose(view_of_box(picture, box), view_of_box(900 * picture - 300, box), atol=2e-2)


def test_the_cells_of_a_box_are_those_that_it_touches():
    assert CellBox.of((0.4, 1.0, 2.0, 3.1), 8) == CellBox(0, 1, 1, 3)
    assert CellBox.of((-3.0, 7.5, 20.0, 7.6), 8) == CellBox(0, 7, 7, 7)


def test_the_reference_refines_nothing():
    assert EngineOptions.as_reference().refines_boxes is False
