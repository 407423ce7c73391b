"""The CUDA kernels, run on the host: the same code, thread by thread in random order, threads interleaved at every access that may race."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from NeuroSAM2Core.components.cpu import (
    ONLY_LARGEST,
    ComponentFilter,
    corners,
    faces,
    fill_holes,
    keep_parts,
    remove_islands,
    tabulate_parts,
)
from Testing.Support.emulated import EmulatedDevice, build, compiler
from Testing.Support.masks import CONNECTIVITIES, all_small_images, comb, first_voxel_labels, random_mask, spiral

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler with ucontext: the kernels cannot be emulated"
)

PERCOLATION = {4: 0.593, 8: 0.407, 6: 0.312, 18: 0.137, 26: 0.097}
"""The density at which one part begins to span a random grid (site percolation): the most tangled of all."""


@pytest.fixture(scope="module")
def library():
    return ctypes.CDLL(str(build()))


@pytest.fixture(
    params=[(0.0, False), (0.2, False), (0.9, True)], ids=["in turn", "interleaved", "interleaved, 64 bits"]
)
def device(library, request):
    switch_probability, is_wide = request.param
    return EmulatedDevice(library=library, switch_probability=switch_probability, is_wide=is_wide)


@pytest.fixture
def quick(library):
    return EmulatedDevice(library=library)


def shape_for(connectivity, rng):
    return tuple(rng.integers(1, [70, 70] if connectivity in (4, 8) else [11, 13, 40]))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_labels_are_those_of_scipy_whatever_the_order_of_threads(device, connectivity):
    rng = np.random.default_rng(connectivity)
    for seed in range(8):
        density = PERCOLATION[connectivity] if seed % 2 else rng.random()
        mask = random_mask(shape_for(connectivity, rng), density, seed)
        expected = first_voxel_labels(mask, connectivity)
        np.testing.assert_array_equal(device.label(mask, connectivity, seed=seed), expected)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_all_images_of_four_by_four_pixels(quick, connectivity):
    images = all_small_images()
    np.testing.assert_array_equal(quick.label(images, connectivity), first_voxel_labels(images, connectivity))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 9, 67), bool),
        np.ones((3, 9, 67), bool),
        np.ones((1, 1, 1), bool),
        np.stack([spiral(65)] * 3),
        ~np.stack([spiral(33)] * 5),
        comb((4, 18, 66)),
        np.indices((5, 33, 65)).sum(axis=0) % 2 == 0,
    ],
    ids=["empty", "full", "one voxel", "spiral", "background of a spiral", "comb", "chequers"],
)
def test_extreme_masks(device, mask, connectivity):
    np.testing.assert_array_equal(device.label(mask, connectivity, seed=3), first_voxel_labels(mask, connectivity))


@pytest.mark.parametrize(("shape", "connectivity"), [((4099, 4101), 8), ((257, 256, 259), 26)])
def test_more_than_two_to_the_24_voxels(quick, shape, connectivity):
    mask = random_mask(shape, PERCOLATION[connectivity], 0)
    assert mask.size > 1 << 24
    np.testing.assert_array_equal(quick.label(mask, connectivity), first_voxel_labels(mask, connectivity))


@pytest.mark.parametrize("connectivity", [8, 26])
def test_any_strides_are_read_where_they_lie(device, connectivity):
    mask = random_mask((12, 20, 36), 0.4, 0)
    for view in (mask.transpose(2, 1, 0), mask[::-1, ::2, 3:], np.broadcast_to(mask[:1], (3, 20, 36))):
        np.testing.assert_array_equal(device.label(view, connectivity), first_voxel_labels(view, connectivity))


def test_sixty_four_bits_are_chosen_before_labels_overflow(quick):
    assert not quick.needs_wide((1, 1, 1, 2**31 - 2))
    assert quick.needs_wide((1, 1, 1, 2**31 - 1))
    assert quick.needs_wide((2, 1024, 1024, 1024))


@pytest.mark.parametrize("dims", [2, 3])
def test_holes_are_those_of_scipy(device, dims):
    rng = np.random.default_rng(dims)
    for seed in range(6):
        mask = random_mask(shape_for(faces(dims), rng), 0.3 + 0.1 * seed, seed)
        filled = device.keep(mask, faces(dims), ComponentFilter(is_enclosed=True), is_background=True, seed=seed)
        np.testing.assert_array_equal(filled, ndimage.binary_fill_holes(mask))
        small = device.keep(
            mask, faces(dims), ComponentFilter(is_enclosed=True, max_size=3), is_background=True, seed=seed
        )
        np.testing.assert_array_equal(small, fill_holes(mask, max_area=3))


@pytest.mark.parametrize("dims", [2, 3])
def test_islands_and_the_largest_part_are_those_of_the_cpu(device, dims):
    rng = np.random.default_rng(dims)
    for seed in range(6):
        mask = random_mask(shape_for(corners(dims), rng), 0.05 + 0.05 * seed, seed)  # with many equal parts
        kept = device.keep(mask, corners(dims), ComponentFilter(min_size=5, keeps_largest=True), seed=seed)
        np.testing.assert_array_equal(kept, remove_islands(mask, min_size=5))
        largest = device.keep(mask, corners(dims), ONLY_LARGEST, seed=seed)
        np.testing.assert_array_equal(largest, keep_parts(mask, corners(dims), ONLY_LARGEST))


def test_every_image_of_a_batch_is_on_its_own(quick):
    batch = random_mask((5, 9, 40), 0.4, 0)
    batch[2] = False
    kept = quick.keep(batch, 8, ONLY_LARGEST)
    for one, expected in zip(kept, batch, strict=True):
        np.testing.assert_array_equal(one, keep_parts(expected, 8, ONLY_LARGEST))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_statistics_are_those_of_the_cpu(device, connectivity):
    dims = 2 if connectivity in (4, 8) else 3
    mask = random_mask(shape_for(connectivity, np.random.default_rng(1)), 0.3, 1)
    labels, parts = tabulate_parts(mask, connectivity)
    rows = max(1, len(parts.sizes) - 2)  # fewer than there are parts
    table = device.tabulate(labels[None], dims, rows=rows)[0].astype(np.int64)
    np.testing.assert_array_equal(table[:, 0], parts.sizes[:rows])
    np.testing.assert_array_equal(table[:, 1], parts.touches_border[:rows])
    np.testing.assert_array_equal(table[:, 5 - dims : 5], parts.boxes[:rows, :, 0])
    np.testing.assert_array_equal(table[:, 8 - dims :], parts.boxes[:rows, :, 1])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([6, 18, 26]), st.tuples(*[st.integers(1, 33)] * 3), st.floats(0, 1), st.integers(0, 2**32))
def test_turning_a_volume_over_turns_its_parts_over(library, connectivity, shape, density, seed):
    device = EmulatedDevice(library=library, switch_probability=0.05)
    mask = random_mask((shape[0] // 4 + 1, *shape[1:]), density, seed)
    labels = device.label(mask, connectivity, seed=seed)
    turned = device.label(mask[:, ::-1, ::-1], connectivity, seed=seed)[:, ::-1, ::-1]
    pairs = np.unique(np.stack([labels[mask], turned[mask]]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels[mask])) == len(np.unique(turned[mask]))
