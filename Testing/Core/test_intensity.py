"""The one normalisation."""

import numpy as np
import pytest

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.volume import IntensityWindow, ct_window, percentile_window


def test_values_map_linearly_between_the_ends_of_the_window():
    got = IntensityWindow(10, 20).normalise(np.array([0, 10, 15, 20, 99], np.int16))
    np.testing.assert_allclose(got, [0, 0, 0.5, 1, 1])
    assert got.dtype == np.float32


def test_what_is_no_number_is_black_and_infinity_is_white():
    got = IntensityWindow(0, 1).normalise(np.array([np.nan, -np.inf, np.inf]))
    np.testing.assert_array_equal(got, [0, 0, 1])


def test_percentiles_of_a_small_volume_are_exact():
    values = np.random.default_rng(0).normal(size=(20, 30, 40))
    window = percentile_window(values)
    np.testing.assert_allclose((window.low, window.high), np.percentile(values, (0.5, 99.5)))


def test_percentiles_of_a_large_volume_are_close():
    values = np.random.default_rng(0).normal(size=(100, 120, 140)).astype(np.float32)
    window = percentile_window(values)
    np.testing.assert_allclose((window.low, window.high), np.percentile(values, (0.5, 99.5)), atol=0.05)


def test_voxels_that_are_no_numbers_do_not_count():
    values = np.linspace(0, 100, 1000)
    spoilt = np.concatenate([values, [np.nan] * 500, [np.inf] * 500])
    assert percentile_window(spoilt) == percentile_window(values)


@pytest.mark.parametrize("values", [np.zeros((3, 3, 3)), np.full((3, 3, 3), np.nan)])
def test_a_constant_volume_has_a_window(values):
    window = percentile_window(values)
    assert np.isfinite(window.normalise(values)).all()


def test_a_tiny_object_in_a_constant_volume_is_still_seen():
    values = np.zeros((10, 100, 100))
    values[5, 50, 50] = 7
    assert percentile_window(values).normalise(values).max() == 1


def test_ct_windows_are_known_by_name():
    assert ct_window("brain") == IntensityWindow(0, 80)
    with pytest.raises(ConfigError, match="did you mean 'brain'"):
        ct_window("brian")
    with pytest.raises(ConfigError, match="low < high"):
        IntensityWindow(3, 3)
