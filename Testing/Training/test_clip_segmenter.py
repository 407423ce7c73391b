"""What a training step asks the model, slice by slice, and which weights that reaches: the tables of the published recipe."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core.model.prompt_encoder import NOTHING
from NeuroSAM2Core.training.config.step import LossConfig, PromptConfig
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.step.prompts import PromptPlan
from Testing.Support.training import disc_clip, mini_model

SEVEN = 7


def plan(kind, *, corrected=(), num_corrections=SEVEN):
    return PromptPlan(kind=kind, jitter=True, prompted=(0,), corrected=corrected, num_corrections=num_corrections)


def asked(chosen, *, slices=3):
    """(points, candidate masks, whether an earlier answer was shown) of every question to the mask decoder, in order."""
    model = mini_model()
    questions = []
    decode = model.decode

    def listening(*seen, points=None, mask_logits=None, multimask):
        answer = decode(*seen, points=points, mask_logits=mask_logits, multimask=multimask)
        count = 0 if points is None else points.labels.shape[1]
        questions.append((count, answer.all_ious.shape[1], mask_logits is not None))
        return answer

    model.decode = listening
    step = ClipSegmenter(model, PromptConfig(click_from_truth=0.0), LossConfig())
    step(disc_clip(0, slices=slices), np.random.default_rng(0), plan=chosen)
    return questions


def test_a_clip_that_starts_from_a_click_is_asked_as_published():
    on_first = asked(plan("click", corrected=(0,)))[: SEVEN + 1]
    assert [points for points, _, _ in on_first] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [masks for _, masks, _ in on_first] == [3, 1, 1, 1, 1, 1, 1, 1]
    assert [shown for _, _, shown in on_first] == [False] + [True] * SEVEN


def test_a_clip_that_starts_from_a_box_is_asked_as_published():
    on_first = asked(plan("box", corrected=(0,)))[: SEVEN + 1]
    assert [points for points, _, _ in on_first] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert {masks for _, masks, _ in on_first} == {1}


def test_a_slice_that_is_corrected_later_is_asked_as_published():
    on_second = asked(plan("mask", corrected=(1,)))[1 : SEVEN + 2]  # the first question is about the given mask
    assert [points for points, _, _ in on_second] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [masks for _, masks, _ in on_second] == [3, 3, 1, 1, 1, 1, 1, 1]


def test_a_tracked_slice_is_asked_once_with_three_readings():
    assert asked(plan("click"))[1:] == [(0, 3, False)] * 2


def carrying(model, **prompts):
    """What the mask decoder is asked on the slices of a clip that starts from a click, and what its masks were."""
    asked, shown = [], []
    decode = model.decode

    def listening(*seen, points=None, mask_logits=None, multimask):
        answer = decode(*seen, points=points, mask_logits=mask_logits, multimask=multimask)
        asked.append((points, multimask))
        shown.append(answer.logits.detach())
        return answer

    model.decode = listening
    rng = np.random.default_rng(0)
    step = ClipSegmenter(model, PromptConfig(click_from_truth=0.0, **prompts), LossConfig())
    result = step(disc_clip(0, slices=4, objects=2), rng, plan=plan("click"))
    return asked, shown, result.losses.total(LossConfig()).item(), rng.random()


def test_a_carried_box_is_shown_on_slices_without_prompts_along_with_their_readings():
    asked, shown, _, _ = carrying(mini_model(memory_dropout=0.0), prev_box_prob=1.0)
    assert [points.labels.shape[1] for points, _ in asked] == [1, 2, 2, 2]
    assert all(multimask for _, multimask in asked)
    for (points, _), mask in zip(asked[1:], shown, strict=False):
        assert ((points.labels != NOTHING).any(dim=1) == (mask > 0).flatten(1).any(dim=1)).all()


def test_without_carried_boxes_nothing_is_shown_and_nothing_is_drawn(monkeypatch):
    asked, _, loss, following = carrying(mini_model(memory_dropout=0.0), prev_box_prob=0.0)
    assert [points is None for points, _ in asked] == [False, True, True, True]
    monkeypatch.setattr(ClipSegmenter, "_carried_boxes", lambda *asked: None)
    _, _, without, following_without = carrying(mini_model(memory_dropout=0.0))
    assert loss == without
    assert following == following_without


def test_a_corrected_slice_is_not_shown_a_carried_box():
    model = mini_model()
    counts = []
    decode = model.decode
    model.decode = lambda *seen, points=None, **options: (
        counts.append(0 if points is None else points.labels.shape[1]) or decode(*seen, points=points, **options)
    )
    step = ClipSegmenter(model, PromptConfig(click_from_truth=0.0, prev_box_prob=1.0), LossConfig())
    step(disc_clip(0), np.random.default_rng(0), plan=plan("click", corrected=(1,), num_corrections=1))
    assert counts == [1, 0, 1, 2], "the first slice, the second and its correction, the third with a box"


@pytest.mark.parametrize(
    ("kind", "unreached"),
    [("mask", {"no_mem_pos_enc", "no_mem_embed"}), ("click", {"no_mem_pos_enc", "mask_downsample.weight"})],
)
def test_some_weights_are_reached_only_by_some_prompts(kind, unreached):
    model = mini_model()
    step = ClipSegmenter(model, PromptConfig(), LossConfig())
    chosen = plan(kind, corrected=() if kind == "mask" else (0,), num_corrections=1)
    step(disc_clip(0), np.random.default_rng(0), plan=chosen).losses.total(LossConfig()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert unreached <= without
    assert ("mask_downsample.weight" in without) == (kind != "mask")
    assert ("no_mem_embed" in without) == (kind == "mask")


def test_corrected_slices_are_conditioning_slices_and_prompted_ones_come_first():
    order = PromptPlan(kind="click", jitter=True, prompted=(0, 2), corrected=(0, 2), num_corrections=1).order(4)
    assert order == [0, 2, 1, 3]


def test_long_clips_teach_their_prompts_and_their_last_slices():
    rng = np.random.default_rng(0)
    for _ in range(50):
        drawn = PromptPlan.draw(PromptConfig(max_supervised=3), 8, rng)
        assert drawn.unsupervised == set(range(1, 5)) - {*drawn.prompted, *drawn.corrected}
    assert not PromptPlan.draw(PromptConfig(max_supervised=7), 8, rng).unsupervised
    assert not PromptPlan.draw(PromptConfig(), 30, rng).unsupervised


@pytest.mark.parametrize("saves_memory", [False, True])
def test_followed_slices_are_answered_and_remembered_but_not_supervised(saves_memory):
    model, graphs = mini_model(memory_dropout=0.0), []
    decode = model.decode

    def listening(*seen, points=None, mask_logits=None, multimask):
        answer = decode(*seen, points=points, mask_logits=mask_logits, multimask=multimask)
        graphs.append(answer.logits.requires_grad)
        return answer

    model.decode = listening
    step = ClipSegmenter(model, PromptConfig(), LossConfig(), saves_memory=saves_memory)
    chosen = replace(plan("click"), unsupervised=frozenset({1, 2}))
    supervised = step(disc_clip(0, slices=4), np.random.default_rng(0), plan=chosen)
    assert graphs == [True, False, False, True]
    all_taught = step(disc_clip(0, slices=4), np.random.default_rng(0), plan=plan("click"))
    assert supervised.tracked_iou == pytest.approx(all_taught.tracked_iou.item(), abs=1e-6)
    assert 0 < supervised.losses.object_score < all_taught.losses.object_score
    supervised.losses.total(LossConfig()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert any(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if "memory_encoder" in name)


def test_half_of_clips_start_from_masks_and_a_quarter_each_from_box_and_click():
    rng = np.random.default_rng(0)
    kinds = [PromptPlan.draw(PromptConfig(), 8, rng).kind for _ in range(4000)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in ("mask", "box", "click")}
    assert shares == pytest.approx({"mask": 0.5, "box": 0.25, "click": 0.25}, abs=0.03)


def test_clips_start_from_scribbles_and_lassos_as_often_as_configured():
    rng = np.random.default_rng(0)
    config = PromptConfig(box=0.2, click=0.1, scribble=0.3, lasso=0.25)
    kinds = [PromptPlan.draw(config, 8, rng).kind for _ in range(4000)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in ("box", "click", "scribble", "lasso", "mask")}
    assert shares == pytest.approx({"box": 0.2, "click": 0.1, "scribble": 0.3, "lasso": 0.25, "mask": 0.15}, abs=0.03)
    assert {PromptPlan.draw(config, 1, rng).kind for _ in range(200)} == {"box", "click", "scribble"}
    lassos = [one for one in (PromptPlan.draw(config, 3, rng) for _ in range(500)) if one.kind == "lasso"]
    assert all(len(one.prompted) < 3 and one.corrected == () for one in lassos)


def test_a_clip_that_starts_from_a_scribble_is_asked_like_one_from_several_clicks():
    first, *corrections = asked(plan("scribble", corrected=(0,), num_corrections=2), slices=1)
    num_clicks, candidates, is_shown = first
    assert num_clicks > 1
    assert (candidates, is_shown) == (1, False)
    assert corrections == [(num_clicks + 1, 1, True), (num_clicks + 2, 1, True)]


def test_a_lasso_is_remembered_as_a_mask_and_supervised_on_the_other_slices_alone():
    clip, seen = disc_clip(0, slices=3), []
    model = mini_model()
    given = model.use_mask_as_output
    model.use_mask_as_output = lambda features, mask: seen.append(mask) or given(features, mask)
    step = ClipSegmenter(model, PromptConfig(), LossConfig())
    result = step(clip, np.random.default_rng(0), plan=plan("lasso"))
    assert len(seen) == 1
    assert 0.5 < float(result.prompted_iou) < 1
    followed = step(clip, np.random.default_rng(0), plan=replace(plan("lasso"), unsupervised=frozenset({1, 2})))
    assert followed.losses.total(LossConfig()).item() < 0.1 * result.losses.total(LossConfig()).item()


def test_single_slices_always_get_points():
    rng = np.random.default_rng(0)
    assert {PromptPlan.draw(PromptConfig(), 1, rng).kind for _ in range(50)} == {"box", "click"}


def test_absent_objects_get_padding_and_no_mask_loss():
    clip = disc_clip(0, slices=2)
    clip.masks[:, :, :] = False
    step = ClipSegmenter(mini_model(), PromptConfig(num_corrections=1), LossConfig())
    losses = step(clip, np.random.default_rng(0), plan=plan("box", corrected=(0,), num_corrections=1)).losses
    assert losses.focal == losses.dice == losses.iou == 0
    assert losses.object_score > 0
    assert torch.isfinite(losses.object_score)
