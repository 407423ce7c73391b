"""Pure functions against published numbers."""

import json
from pathlib import Path

import pytest
import torch

from NeuroSAM2Core.inference.propagation.memory_bank import closest
from NeuroSAM2Core.model.layers import RandomFourier, axial_rotations, sine_grid, sine_time
from NeuroSAM2Core.training.config.step import LossConfig
from NeuroSAM2Core.training.step.losses import dice_loss, focal_loss, prediction_losses
from NeuroSAM2Core.training.trainer.parameter_groups import cosine

GOLDENS = json.loads((Path(__file__).parents[1] / "Data" / "sam2_small_goldens.json").read_text(encoding="utf-8"))
CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "channels", "side"), [("256_64x64", 256, 64), ("64_32x32", 64, 32)])
def test_sine_encoding_of_a_grid(name, channels, side):
    grid = sine_grid(channels, side, side, CPU)[0, :, 10, 3]
    for channel, value in GOLDENS[f"sine2d_{name}_at_y10_x3"].items():
        assert grid[int(channel)].item() == pytest.approx(value, abs=1e-5)


def test_sine_encoding_of_time():
    for offset, values in GOLDENS["sine1d_dim256"].items():
        encoded = sine_time(torch.tensor([float(offset)]), 256)[0]
        for channel, value in values.items():
            assert encoded[int(channel)].item() == pytest.approx(value, abs=1e-6)


def test_axial_rotation_angles():
    rotations = axial_rotations(256, 64, CPU)
    for key, angle in GOLDENS["axial_rope_angles_64x64"].items():
        token, index = (int(part.lstrip("tokidx")) for part in key.split("_"))
        expected = torch.polar(torch.tensor(1.0), torch.tensor(angle))
        assert torch.allclose(rotations[token, index], expected, atol=1e-5), key


def test_random_fourier_features():
    golden = GOLDENS["random_pe"]
    encoder = RandomFourier(4)
    encoder.positional_encoding_gaussian_matrix = torch.tensor(golden["matrix"])
    place = (torch.tensor(golden["point_xy"])) / torch.tensor(golden["image"]).flip(0)
    with_half = (torch.tensor(golden["point_xy"]) + 0.5) / torch.tensor(golden["image"]).flip(0)
    expected = torch.tensor(golden["out"])
    assert any(torch.allclose(encoder(p), expected, atol=1e-5) for p in (place, with_half))


def golden_inputs():
    k = torch.arange(2 * 3 * 4 * 4, dtype=torch.float64)
    logits = (3 * torch.sin(0.7 * k)).view(2, 3, 4, 4).float()
    target = torch.zeros(2, 4, 4, dtype=torch.bool)
    target[0, 1:3, 1:4] = True
    ious = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.4, 0.6]])
    return logits, target, ious, torch.tensor([[1.5], [-0.5]])


def test_mask_losses_of_every_candidate():
    logits, target, _, _ = golden_inputs()
    truth = target[:, None].float()
    torch.testing.assert_close(
        focal_loss(logits, truth) / 2, torch.tensor(GOLDENS["loss"]["focal"]), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        dice_loss(logits, truth) / 2, torch.tensor(GOLDENS["loss"]["dice"]), atol=1e-6, rtol=1e-5
    )


def test_losses_of_two_steps_add_up():
    logits, target, ious, object_score = golden_inputs()
    weights = LossConfig()
    both = prediction_losses(logits, ious, object_score, target, weights, num_objects=2) + prediction_losses(
        logits[:, :1], ious[:, :1], object_score, target, weights, num_objects=2
    )
    golden = GOLDENS["loss"]["total"]
    assert both.focal.item() == pytest.approx(golden["loss_mask"], rel=1e-5)
    assert both.dice.item() == pytest.approx(golden["loss_dice"], rel=1e-5)
    assert both.iou.item() == pytest.approx(golden["loss_iou"], rel=1e-5)
    assert both.object_score.item() == pytest.approx(golden["loss_class"], rel=1e-5)
    assert both.total(weights).item() == pytest.approx(golden["core_loss"], rel=1e-5)


def test_cosine_schedule():
    for progress, value in GOLDENS["cosine_5e-6_to_5e-7"].items():
        assert cosine(float(progress), start=5e-6, end=5e-7) == pytest.approx(value, rel=1e-9)


def test_closest_conditioning_slices():
    golden = GOLDENS["select_closest_cond_frames"]
    conditioning = sorted({frame for chosen in golden.values() for frame in chosen})
    for key, expected in golden.items():
        index, limit = (int(part.lstrip("framex")) for part in key.replace("max", "x").split("_x"))
        assert sorted(closest(index, conditioning, limit)) == sorted(expected), key
