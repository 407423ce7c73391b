"""One prompt per connected part: every part gets one, and no more places are used than needed."""

import numpy as np
import torch

from NeuroSAM2Core.model import Points
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, NOTHING, POSITIVE, TOP_LEFT
from NeuroSAM2Core.training.step.prompts import joined, parts_by_object


def three_objects():
    """One of three parts, one of one, one that is absent."""
    truth = torch.zeros(3, 32, 32, dtype=torch.bool)
    truth[0, 2:10, 2:10] = truth[0, 20:24, 20:24] = truth[0, 30, 2:4] = True
    truth[1, 5:9, 5:20] = True
    return truth


def test_parts_come_largest_first_and_fill_up_with_empty_ones():
    truth = three_objects()
    parts = parts_by_object(truth, max_parts=4)
    assert parts.shape == (3, 3, 32, 32)
    assert parts.flatten(2).sum(dim=2).tolist() == [[64, 16, 2], [60, 0, 0], [0, 0, 0]]
    assert torch.equal(parts.any(dim=1), truth)
    assert parts_by_object(truth, max_parts=2).shape[1] == 2
    assert parts_by_object(truth[2:], max_parts=2).shape[1] == 1


def test_prompts_of_parts_become_those_of_their_object():
    clicks = Points(
        torch.arange(18.0).view(9, 1, 2),
        torch.tensor([1, 1, 1, 1, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING], dtype=torch.float)[:, None],
    )
    whole = joined(clicks, 3)
    assert whole.labels.tolist() == [[POSITIVE] * 3, [POSITIVE, NOTHING, NOTHING], [NOTHING] * 3]
    assert whole.coords[0].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_single_prompt_stays_a_single_one():
    boxes = Points(torch.ones(2, 2, 2), torch.tensor([[TOP_LEFT, BOTTOM_RIGHT], [NOTHING, NOTHING]], dtype=torch.float))
    whole = joined(Points(boxes.coords.repeat(2, 1, 1), boxes.labels.repeat(2, 1)), 2)
    assert whole.labels.shape == (2, 2)
    np.testing.assert_array_equal(whole.labels[0], [TOP_LEFT, BOTTOM_RIGHT])
    absent = joined(Points(torch.zeros(4, 1, 2), torch.full((4, 1), float(NOTHING))), 2)
    assert absent.labels.shape == (2, 1)
