"""What a small model is shown of its prompts: boxes and clicks painted in place."""

import torch

from NeuroSAM2Core.model import Points
from NeuroSAM2Core.model.prompt_encoder import (
    BOTTOM_RIGHT,
    BOX_RASTER_LOGIT,
    NEGATIVE,
    NOTHING,
    POSITIVE,
    RASTER_LOGIT,
    TOP_LEFT,
    rasterized,
)

BOX = (TOP_LEFT, BOTTOM_RIGHT)


def painting(places, labels, mask=None):
    points = Points(torch.tensor([places], dtype=torch.float), torch.tensor([labels], dtype=torch.float))
    return rasterized(points, mask, 32, 32)[0, 0]


def test_outside_a_box_is_surely_not_the_object():
    canvas = painting([(4, 6), (20, 12)], BOX)
    assert (canvas[6:13, 4:21] == BOX_RASTER_LOGIT).all()
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[6:13, 4:21] = False
    assert (canvas[outside] == -RASTER_LOGIT).all()


def test_of_several_boxes_each_may_hold_a_part():
    canvas = painting([(2, 2), (6, 6), (20, 18), (30, 28)], BOX * 2)
    assert (canvas[2:7, 2:7] == BOX_RASTER_LOGIT).all()
    assert (canvas[18:29, 20:31] == BOX_RASTER_LOGIT).all()
    assert int((canvas == BOX_RASTER_LOGIT).sum()) == 25 + 121


def test_a_missing_second_box_and_clicks_change_nothing_outside_themselves():
    canvas = painting([(4, 6), (20, 12), (0, 0), (0, 0), (12, 9), (6, 7)], (*BOX, NOTHING, NOTHING, POSITIVE, NEGATIVE))
    assert canvas[9, 12] == RASTER_LOGIT
    assert canvas[7, 6] == -RASTER_LOGIT
    assert canvas[10, 18] == BOX_RASTER_LOGIT
    assert canvas[0, 0] == -RASTER_LOGIT


def test_without_a_box_what_was_there_stays():
    before = torch.full((1, 1, 32, 32), 3.0)
    canvas = painting([(12, 9)], (POSITIVE,), before)
    assert canvas[30, 30] == 3.0
    assert canvas[9, 12] == RASTER_LOGIT
