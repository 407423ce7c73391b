"""The one normalisation."""

import numpy as np
import pytest

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.volume import IntensityWindow, ct_window, is_constant, padding_mark, percentile_window


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


def head(offset=0.0):
    """A fifth of dark surroundings, then tissue between 20 and 120."""
    values = np.random.default_rng(0).normal(70, 15, size=(20, 30, 40)) + offset
    return np.clip(values, 20 + offset, 120 + offset)


@pytest.mark.parametrize("mark", [-32768.0, -3024.0, -2000.0, -1024.0, -1e30, np.finfo(np.float32).min])
@pytest.mark.parametrize("share", [0.006, 0.2, 0.9])
def test_padding_at_the_lowest_value_does_not_set_the_window(mark, share):
    padded = head().astype(np.float32)
    padded[np.random.default_rng(1).random(padded.shape) < share] = mark
    window = percentile_window(padded)
    rest = padded[padded > mark]
    np.testing.assert_allclose((window.low, window.high), np.percentile(rest, (0.5, 99.5)), rtol=1e-5)
    assert padding_mark(padded) == np.float32(mark)
    assert window.normalise(padded)[padded == np.float32(mark)].max() == 0


def test_two_kinds_of_padding_are_left_out():
    padded = head()
    padded[:4], padded[4:8] = -32768, -3024
    assert percentile_window(padded).low > 0


def test_padding_at_zero_below_an_offset_is_left_out():
    padded = head(offset=30000)
    padded[:5] = 0
    assert percentile_window(padded).low > 30000


def test_the_background_of_a_magnitude_image_stays_black():
    stripped = head()
    stripped[:15] = 0
    assert padding_mark(stripped) is None
    assert percentile_window(stripped).low == 0


@pytest.mark.parametrize("values", [np.zeros((3, 4)), np.full((3, 4), 7, np.int16), np.full((3, 4), np.nan)])
def test_a_constant_volume_is_known_as_one(values):
    assert is_constant(values)
    assert not is_constant(np.arange(4))


def test_padding_does_not_hide_that_a_volume_is_constant():
    values = np.full((10, 10), 40, np.int16)
    values[:2] = -32768
    assert is_constant(values)
