"""The deterministic forms of interpolation are the same functions."""

import pytest
import torch

from NeuroSAM2Core.model.interpolation import sampled, stretched


@pytest.fixture
def deterministic():
    def call(function, *arguments):
        torch.use_deterministic_algorithms(True)
        try:
            return function(*arguments)
        finally:
            torch.use_deterministic_algorithms(False)

    return call


@pytest.mark.parametrize(("height", "width"), [(7, 7), (64, 64), (30, 56)])
def test_a_stretched_picture_is_the_same(deterministic, height, width):
    grid = torch.randn(1, 5, 7, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        deterministic(stretched, grid, height, width), stretched(grid, height, width), atol=1e-5, rtol=1e-5
    )


def test_sampled_features_are_the_same_inside_and_beyond_the_border(deterministic):
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(3, 4, 6, 9, generator=generator)
    places = 1.4 * torch.rand(3, 50, 2, generator=generator) - 0.2
    torch.testing.assert_close(deterministic(sampled, grid, places), sampled(grid, places), atol=1e-5, rtol=1e-5)
