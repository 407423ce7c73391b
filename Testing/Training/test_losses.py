"""The losses against slow, obvious formulas and against the reference's own loss."""

import math
import sys
import types
from dataclasses import replace

import pytest
import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.step import LossConfig
from NeuroSAM2Core.training.step.losses import bce_loss, prediction_losses


@pytest.fixture
def answers():
    """Logits, expected IoUs, presence and truth of four objects, one of them absent, one where the least loss is not the chosen."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 3, 6, 6, generator=generator)
    target = torch.rand(4, 6, 6, generator=generator) > 0.6
    target[2] = False
    ious = torch.tensor([[0.1, 0.5, 0.9], [0.9, 0.4, 0.6], [0.2, 0.3, 0.1], [0.3, 0.8, 0.7]])
    return logits, ious, torch.tensor([[1.5], [-0.5], [0.2], [2.0]]), target


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def slow(logits, ious, object_score, target, config, num_objects):
    """Every formula of the recipe, number by number."""
    total = dict.fromkeys(("focal", "dice", "iou", "object_score"), 0.0)
    for n in range(len(logits)):
        y = target[n].flatten().tolist()
        is_present = any(y)
        p = sigmoid(object_score[n, 0].item())
        total["object_score"] += -math.log(p if is_present else 1 - p)
        if not is_present:
            continue
        found = []
        for m in range(logits.shape[1]):
            z = logits[n, m].flatten().tolist()
            focal = 0.0
            for value, truth in zip(z, y, strict=True):
                right = sigmoid(value) if truth else 1 - sigmoid(value)
                focal += (0.25 if truth else 0.75) * (1 - right) ** 2 * -math.log(right) / len(z)
            soft = [sigmoid(value) for value in z]
            overlap = sum(a * b for a, b in zip(soft, y, strict=True))
            dice = 1 - (2 * overlap + 1) / (sum(soft) + sum(y) + 1)
            union = sum(value > 0 or truth for value, truth in zip(z, y, strict=True))
            true_iou = sum(value > 0 and truth for value, truth in zip(z, y, strict=True)) / max(union, 1)
            error = ious[n, m].item() - true_iou
            found.append((focal, dice, abs(error) if config.iou_error == "l1" else error**2))
        if config.supervised == "least_loss":
            best = min(range(len(found)), key=lambda m: config.focal * found[m][0] + config.dice * found[m][1])
        else:
            best = max(range(len(found)), key=lambda m: ious[n, m].item())
        total["focal"] += found[best][0]
        total["dice"] += found[best][1]
        errors = [f[2] for f in found] if config.supervise_all_iou else [found[best][2]]
        total["iou"] += sum(errors) / len(errors)
    return {name: value / num_objects for name, value in total.items()}


@pytest.mark.parametrize("iou_error", ["l1", "mse"])
@pytest.mark.parametrize("all_ious", [True, False])
@pytest.mark.parametrize("supervised", ["least_loss", "predicted_best"])
def test_losses_are_what_the_formulas_say(answers, iou_error, all_ious, supervised):
    config = LossConfig(iou_error=iou_error, supervise_all_iou=all_ious, supervised=supervised)
    ours = prediction_losses(*answers, config, num_objects=4)
    for name, value in slow(*answers, config, 4).items():
        assert getattr(ours, name).item() == pytest.approx(value, rel=1e-4), name


@pytest.fixture
def reference_loss(monkeypatch):
    """The reference's training loss; what its trainer wants installed but the loss does not use is stood in for."""
    pytest.importorskip("sam2", reason="the reference package sam2==1.1.0 is not installed; `make setup` installs it")
    trainer = types.ModuleType("training.trainer")
    trainer.CORE_LOSS_KEY = "core_loss"
    monkeypatch.setitem(sys.modules, "training.trainer", trainer)
    module = pytest.importorskip("training.loss_fns")
    monkeypatch.delitem(sys.modules, "training.loss_fns")
    return module.MultiStepMultiMasksAndIous


@pytest.mark.parametrize("iou_error", ["l1", "mse"])
@pytest.mark.parametrize("all_ious", [True, False])
def test_losses_are_those_of_the_reference(answers, reference_loss, iou_error, all_ious):
    logits, ious, object_score, target = answers
    theirs = reference_loss(
        weight_dict={"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 1},
        supervise_all_iou=all_ious,
        iou_use_l1_loss=iou_error == "l1",
        pred_obj_scores=True,
        focal_gamma_obj_score=0.0,
        focal_alpha_obj_score=-1.0,
    )
    frame = {
        "multistep_pred_multimasks_high_res": [logits, logits[:, :1]],
        "multistep_pred_ious": [ious, ious[:, :1]],
        "multistep_object_score_logits": [object_score, object_score],
    }
    expected = theirs([frame, frame], target[None].expand(2, -1, -1, -1))
    config = LossConfig(iou_error=iou_error, supervise_all_iou=all_ious)
    step = prediction_losses(logits, ious, object_score, target, config, num_objects=4)
    correction = prediction_losses(logits[:, :1], ious[:, :1], object_score, target, config, num_objects=4)
    ours = step + correction + step + correction
    assert ours.focal.item() == pytest.approx(expected["loss_mask"].item(), rel=1e-5)
    assert ours.dice.item() == pytest.approx(expected["loss_dice"].item(), rel=1e-5)
    assert ours.iou.item() == pytest.approx(expected["loss_iou"].item(), rel=1e-5)
    assert ours.object_score.item() == pytest.approx(expected["loss_class"].item(), rel=1e-5)
    assert ours.total(config).item() == pytest.approx(expected["core_loss"].item(), rel=1e-5)


def test_an_object_that_is_not_real_counts_nowhere(answers):
    logits, ious, object_score, target = answers
    config = LossConfig(bce=1.0)
    is_real = torch.tensor([True, True, True, False])
    some = prediction_losses(logits, ious, object_score, target, config, num_objects=3, is_real=is_real)
    alone = prediction_losses(logits[:3], ious[:3], object_score[:3], target[:3], config, num_objects=3)
    torch.testing.assert_close(some.total(config), alone.total(config))


def test_an_absent_object_teaches_object_score_alone(answers):
    logits, ious, object_score, target = answers
    logits, ious = logits.requires_grad_(), ious.requires_grad_()
    prediction_losses(logits, ious, object_score, target, LossConfig(), num_objects=4).total(LossConfig()).backward()
    assert not logits.grad[2].any()
    assert not ious.grad[2].any()
    assert logits.grad[0].any()


def test_an_absent_object_may_also_teach_an_expected_iou_of_nothing(answers):
    expected_ious = answers[1]
    config = LossConfig(supervise_absent_iou=True)
    usual, more = (prediction_losses(*answers, c, num_objects=4) for c in (LossConfig(), config))
    assert more.iou - usual.iou == pytest.approx(expected_ious[2].mean() / 4)
    for name in ("focal", "dice", "object_score"):
        assert torch.equal(getattr(more, name), getattr(usual, name))


def test_plain_entropy_counts_object_pixels_twice():
    logits, target = torch.tensor([[[[1.0, -2.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    expected = (-2 * math.log(sigmoid(1.0)) - math.log(1 - sigmoid(-2.0))) / 2
    assert bce_loss(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_the_earlier_recipe_is_the_entropy_of_the_chosen_mask_alone(answers):
    logits, ious, object_score, target = answers
    config = LossConfig(focal=0, dice=0, iou=0, object_score=0, bce=1, supervised="predicted_best")
    ours = prediction_losses(logits, ious, object_score, target, config, num_objects=4).total(config)
    chosen = logits[torch.arange(4), ious.argmax(dim=1)]
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    assert ours.item() == pytest.approx(loss(chosen, target.float()).item(), rel=1e-5)


def test_no_gradient_reaches_the_mask_through_its_own_iou(answers):
    logits, ious, object_score, target = answers
    config = LossConfig(focal=0, dice=0, object_score=0)
    logits = logits.requires_grad_()
    loss = prediction_losses(logits, ious.requires_grad_(), object_score, target, config, num_objects=4).total(config)
    loss.backward()
    assert logits.grad is None or not logits.grad.any()
    assert ious.grad.any()


def test_losses_add_up_and_scale(answers):
    config = LossConfig()
    one = prediction_losses(*answers, config, num_objects=4)
    torch.testing.assert_close((one * 0.5 + one * 0.5).total(config), one.total(config))


@pytest.mark.parametrize(
    ("values", "word"),
    [({"dice": -1.0}, "dice"), (dict.fromkeys(("focal", "dice", "iou", "object_score"), 0.0), "nothing to learn")],
)
def test_weights_that_make_no_sense_are_refused(values, word):
    with pytest.raises(ConfigError, match=word):
        replace(LossConfig(), **values)
