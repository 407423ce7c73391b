"""Interpolation by matrices is what PyTorch's kernels do, where they exist."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from NeuroSAM2Core.model.layers import resize_bicubic, resized, sample_bilinear, values_at

GENERATOR = torch.Generator()
SIZES = [((7, 7), (64, 64)), ((64, 64), (256, 256)), ((90, 61), (64, 64)), ((256, 300), (64, 17)), ((1, 9), (3, 4))]


def picture(height, width, channels=3):
    return torch.randn(2, channels, height, width, generator=GENERATOR.manual_seed(0))


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_a_stretched_picture_is_a_bicubic_one(before, after):
    grid = picture(*before)
    assert_same(resize_bicubic(grid, *after), F.interpolate(grid, size=after, mode="bicubic"))


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_a_resized_picture_is_an_antialiased_one(before, after):
    grid = picture(*before)
    assert_same(resized(grid, *after), F.interpolate(grid, size=after, mode="bilinear", antialias=True))


@pytest.mark.parametrize("function", [resize_bicubic, resized])
def test_gradients_are_the_same(function):
    kernel = {resize_bicubic: {"mode": "bicubic"}, resized: {"mode": "bilinear", "antialias": True}}[function]
    ours, theirs = (picture(20, 12).requires_grad_() for _ in range(2))
    weights = torch.randn(2, 3, 9, 30, generator=GENERATOR.manual_seed(1))
    (function(ours, 9, 30) * weights).sum().backward()
    (F.interpolate(theirs, size=(9, 30), **kernel) * weights).sum().backward()
    assert_same(ours.grad, theirs.grad)


def test_what_was_made_for_inference_can_be_trained_with():
    with torch.inference_mode():
        resized(picture(11, 13), 5, 5)
    grid = picture(11, 13).requires_grad_()
    resized(grid, 5, 5).sum().backward()
    assert grid.grad is not None


def test_nothing_is_rounded_by_autocast():
    grid = picture(40, 40)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(resized(grid, 16, 16), resized(picture(40, 40), 16, 16))
    assert_same(resized(grid, 16, 16), F.interpolate(grid, size=(16, 16), mode="bilinear", antialias=True))


def test_sampled_features_are_the_same_inside_and_beyond_the_border():
    grid = picture(6, 9)
    places = 1.4 * torch.rand(2, 50, 2, generator=GENERATOR.manual_seed(2)) - 0.2
    expected = F.grid_sample(grid, 2 * places[:, None] - 1, padding_mode="border", align_corners=False)[:, :, 0].mT
    assert_same(sample_bilinear(grid, places), expected)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_values_at_places_are_the_same_inside_and_beyond_the_border(kernel):
    maps = picture(6, 9)[0]
    places = 1.4 * torch.rand(50, 2, generator=GENERATOR.manual_seed(3)) - 0.2
    expected = F.grid_sample(
        maps[None], 2 * places[None, None] - 1, mode=kernel, padding_mode="border", align_corners=False
    )[0, :, 0]
    rows, cols = places[:, 1] * 6 - 0.5, places[:, 0] * 9 - 0.5
    assert_same(values_at(maps, rows.tolist(), cols.tolist(), kernel), expected)
