"""Holes, islands and largest parts against SciPy and scikit-image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from NeuroSAM2Core.ops import bounding_box, fill_holes, largest_component, remove_islands

SHAPES = st.sampled_from([(17, 23), (9, 11, 13), (1, 1), (40, 3)])


def random_mask(shape, density, seed):
    return np.random.default_rng(seed).random(shape) < density


@given(SHAPES, st.floats(0, 1), st.integers(0, 10**6))
def test_unbounded_hole_filling_equals_scipy(shape, density, seed):
    mask = random_mask(shape, density, seed)
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@given(SHAPES, st.floats(0, 1), st.integers(0, 10**6), st.integers(1, 6))
def test_only_small_holes_are_filled(shape, density, seed, area):
    mask = random_mask(shape, density, seed)
    filled = fill_holes(mask, max_area=area)
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    expected = mask.copy()
    for label in range(1, count + 1):
        if (holes == label).sum() <= area:
            expected |= holes == label
    np.testing.assert_array_equal(filled, expected)


@given(SHAPES, st.floats(0, 0.6), st.integers(0, 10**6), st.integers(1, 9))
def test_islands_below_the_limit_go_and_the_largest_part_stays(shape, density, seed, size):
    mask = random_mask(shape, density, seed)
    labels = measure.label(mask, connectivity=mask.ndim)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = sizes >= size
    keep[sizes == sizes.max()] = True
    keep[0] = False
    kept = remove_islands(mask, min_size=size)
    assert not (kept & ~mask).any()
    if (sizes == sizes.max()).sum() == 1 or sizes.max() >= size:
        np.testing.assert_array_equal(kept, keep[labels])


@given(SHAPES, st.floats(0.01, 0.9), st.integers(0, 10**6))
def test_the_largest_component_is_one_part_of_the_largest_size(shape, density, seed):
    mask = random_mask(shape, density, seed)
    largest = largest_component(mask)
    structure = np.ones((3,) * mask.ndim)
    sizes = np.bincount(ndimage.label(mask, structure)[0].ravel())[1:]
    assert largest.sum() == (sizes.max() if len(sizes) else 0)
    assert ndimage.label(largest, structure)[1] == (1 if len(sizes) else 0)


def test_a_diagonal_wall_encloses_a_hole():
    mask = np.zeros((5, 5), bool)
    mask[[0, 1, 2, 1], [2, 1, 2, 3]] = True
    assert fill_holes(mask)[1, 2]


def test_the_bounding_box_of_nothing_is_none():
    assert bounding_box(np.zeros((3, 3), bool)) is None
