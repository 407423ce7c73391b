"""Parts, holes, islands and largest parts against SciPy and scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from NeuroSAM2Core.components import cpu
from NeuroSAM2Core.components.cpu import (
    bounding_box,
    dims_of,
    fill_holes,
    label_first_voxels,
    label_parts,
    largest_component,
    remove_islands,
    tabulate_parts,
)
from NeuroSAM2Core.errors import ConfigError
from Testing.Support.masks import CONNECTIVITIES, all_small_images, comb, first_voxel_labels, random_mask, spiral

SHAPES = st.sampled_from([(17, 23), (9, 11, 13), (1, 1), (40, 3)])


@pytest.fixture(params=["cc3d", "SciPy"])
def library(request, monkeypatch):
    """What labels: cc3d where it is installed, SciPy where it is not."""
    if request.param == "SciPy":
        monkeypatch.setattr(cpu, "_cc3d", lambda: None)
    else:
        pytest.importorskip("cc3d")


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_parts_are_those_of_scipy(library, connectivity):
    shape = (61, 67) if dims_of(connectivity) == 2 else (13, 17, 19)
    for seed in range(30):
        mask = random_mask(shape, seed / 29, seed)
        np.testing.assert_array_equal(label_first_voxels(mask, connectivity), first_voxel_labels(mask, connectivity))
        assert label_parts(mask, connectivity)[1] == len(np.unique(first_voxel_labels(mask, connectivity)[mask]))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_spirals_combs_and_all_small_images(library, connectivity):
    small = np.pad(all_small_images(), [(0, 0), (0, 1), (0, 1)]).reshape(256, 256, 5, 5)
    mosaic = np.ascontiguousarray(small.transpose(0, 2, 1, 3)).reshape(1280, 1280)
    for mask in (mosaic, spiral(101), ~spiral(101), comb((50, 51)), np.ones((7, 9), bool), np.zeros((7, 9), bool)):
        np.testing.assert_array_equal(label_first_voxels(mask, connectivity), first_voxel_labels(mask, connectivity))


def test_a_volume_of_more_than_two_to_the_24_voxels(library):
    mask = random_mask((257, 256, 259), 0.097, 0)
    np.testing.assert_array_equal(label_first_voxels(mask, 26), first_voxel_labels(mask, 26))


def test_parts_are_numbered_in_the_order_of_their_first_voxels(library):
    mask = random_mask((20, 30), 0.3, 0)
    labels, parts = tabulate_parts(mask, 8)
    _, first = np.unique(labels[mask], return_index=True)
    assert (np.diff(first) > 0).all()
    assert parts.sizes.sum() == mask.sum()


def test_an_unknown_connectivity_is_named():
    with pytest.raises(ConfigError, match="got 7"):
        dims_of(7)


@settings(deadline=None)
@given(SHAPES, st.floats(0, 1), st.integers(0, 10**6))
def test_unbounded_hole_filling_equals_scipy(shape, density, seed):
    mask = random_mask(shape, density, seed)
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@settings(deadline=None)
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


@settings(deadline=None)
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


@settings(deadline=None)
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
    assert bounding_box(np.zeros((3, 3), bool), margin=1) is None


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0, (slice(1, 3), slice(4, 5))), (2, (slice(0, 5), slice(2, 6))), ([1, 0], (slice(0, 4), slice(4, 5)))],
)
def test_the_margin_of_a_bounding_box_ends_at_the_border(margin, expected):
    mask = np.zeros((5, 6), bool)
    mask[1:3, 4] = True
    assert bounding_box(mask, margin) == expected
