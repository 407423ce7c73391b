"""Which of the model's four masks answers one more click: the one that agrees with the clicks, keeps the mask, and scores best."""

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.inference.prediction.postprocess import agreement
from NeuroSAM2Core.inference.prediction.readings import select_mask
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.prompts import PointPrompt
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

SIDE = 32
SHAPE = (64, 96)
BOX = (10, 12, 40, 44)


def disc(row, col, radius):
    """Logits of a disc, (H, W)."""
    rows, cols = np.ogrid[:SIDE, :SIDE]
    return torch.from_numpy(np.where((rows - row) ** 2 + (cols - col) ** 2 <= radius**2, 4.0, -4.0)).float()


BEFORE = disc(12, 12, 6)[None, None]
INSIDE, OUTSIDE = PointPrompt(24.0, 36.0, True), PointPrompt(56.0, 84.0, False)
"""In pixels of the slice: at (12, 12) and (28, 28) of the logits."""


def chosen(masks, ious, points):
    choice = select_mask(BEFORE, points, SHAPE)(torch.stack(masks)[None], torch.tensor([ious]))
    assert choice.shape == (1,)
    return choice.item()


def test_among_equals_the_one_that_heeds_the_clicks_is_taken():
    assert chosen([disc(28, 28, 6), disc(12, 12, 6), disc(20, 20, 20)], [0.8, 0.8, 0.8], [INSIDE, OUTSIDE]) == 1
    assert agreement(torch.stack([disc(28, 28, 6), disc(12, 12, 6)])[None], [INSIDE, OUTSIDE], SHAPE).tolist() == [
        [False, False],
        [True, True],
    ]


def test_among_those_that_heed_them_the_one_that_keeps_the_mask_is_taken():
    assert chosen([disc(12, 12, 1), disc(12, 12, 7)], [0.8, 0.8], [INSIDE, OUTSIDE]) == 1


def test_what_the_model_expects_of_a_mask_counts():
    same = disc(12, 12, 6)
    assert chosen([same, same, same], [0.5, 0.9, 0.7], [INSIDE]) == 1
    assert chosen([disc(12, 12, 7), disc(12, 12, 5)], [0.2, 0.9], [INSIDE]) == 1


def test_nothing_anywhere_is_no_reason_to_fail():
    nothing = torch.full((SIDE, SIDE), -1024.0)
    choice = select_mask(nothing[None, None], [INSIDE], SHAPE)(torch.stack([nothing] * 4)[None], torch.zeros(1, 4))
    assert 0 <= choice.item() < 4


def test_it_is_for_our_own_models_and_can_be_chosen():
    own, official = small_model(rasterize_prompts=True), small_model()
    assert EngineOptions().resolved(own.config).select_correction_mask
    assert not EngineOptions().resolved(official.config).select_correction_mask
    assert EngineOptions(select_correction_mask=True).resolved(official.config).select_correction_mask
    assert not EngineOptions.as_reference().resolved(own.config).select_correction_mask


@pytest.mark.parametrize("weighs", [False, True])
def test_it_has_a_say_from_the_second_prompt_set_on_and_only_about_clicks(monkeypatch, weighs):
    given = []
    decode = SAM2.decode

    def spy(self, *args, choose=None, **rest):
        answer = decode(self, *args, choose=choose, **rest)
        given.append((choose is not None, answer.all_logits.shape[1]))
        return answer

    monkeypatch.setattr(SAM2, "decode", spy)
    volume = noise_volume(6, 48, 56)
    session = Session(small_model(), volume, options=EngineOptions(select_correction_mask=weighs))
    session.add_box(1, "axial", 2, BOX)
    session.add_point(1, "axial", 2, (20, 20))
    session.add_point(1, "axial", 2, (30, 30), positive=False)
    session.add_point(2, "axial", 2, (20, 20))
    assert given == [(False, 1), (weighs, 4 if weighs else 1), (weighs, 4 if weighs else 1), (False, 3)]


def test_the_mask_that_was_chosen_is_answered_with_what_is_expected_of_it():
    model = small_model()
    with torch.inference_mode():
        features = model.encode_image(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    conditioned = model.without_memory(features.coarse)
    for number in range(4):
        answer = model.decode(
            conditioned, features, multimask=False, choose=lambda logits, ious, n=number: torch.tensor([n])
        )
        assert torch.equal(answer.logits[0], answer.all_logits[0, number : number + 1])
        assert torch.equal(answer.iou[0], answer.all_ious[0, number : number + 1])
        single = model.decode(conditioned, features, multimask=False)
        torch.testing.assert_close(answer.pointer, single.pointer, msg="the object stays the single mask's")
