"""Repairs of masks: by a length in mm, by parts, between slices, under a stroke."""

import numpy as np
import pytest
from scipy import ndimage

from NeuroSAM2Core.components.cpu import largest_component
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.repair import (
    close_gaps,
    fill_between,
    grow,
    open_bridges,
    paint_ball,
    paint_disc,
    part_at,
    remove_small_parts,
    shrink,
    smooth,
    split_parts,
)

SPACINGS = [(1.0, 1.0), (0.4, 0.9), (3.0, 0.7, 0.7), (1.0, 1.0, 1.0)]


def specks(spacing, seed=0):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.random((17, 30, 26)[-len(spacing) :]), 2) > 0.505


def disc(shape, centre, radius):
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("length_mm", [0.3, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_growing_and_shrinking_are_a_distance_in_mm(spacing, length_mm):
    mask = specks(spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    assert (grow(mask, spacing, length_mm) == (outside <= length_mm + 1e-6)).all()
    assert (shrink(mask, spacing, length_mm) == (inside > length_mm + 1e-6)).all()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_opening_and_closing_change_nothing_the_second_time(spacing):
    mask = specks(spacing)
    opened, closed = open_bridges(mask, spacing, 1.5), close_gaps(mask, spacing, 1.5)
    assert not (opened & ~mask).any()
    assert not (mask & ~closed).any()
    assert (open_bridges(opened, spacing, 1.5) == opened).all()


def test_smoothing_takes_a_spike_and_fills_a_notch():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    jagged = mask.copy()
    jagged[4, 9], jagged[14, 9] = True, False
    smoothed = smooth(jagged, (0.5, 0.5), 0.6)
    assert not smoothed[4, 9]
    assert smoothed[14, 9]
    reference = ndimage.median_filter(jagged.astype(np.uint8), 3, mode="nearest").astype(bool)
    assert (smoothed == reference).all()


@pytest.mark.parametrize("length_mm", [0.0, -1.0, float("nan"), 1e9])
def test_no_length_and_an_endless_one_are_refused(length_mm):
    with pytest.raises(ConfigError, match="expected more than 0"):
        grow(np.ones((3, 3), bool), (1.0, 1.0), length_mm)


def test_parts_are_taken_by_place_by_size_and_one_by_one():
    mask = np.zeros((10, 20), bool)
    mask[1:4, 1:4] = mask[1:8, 8:14] = mask[9, 19] = True
    assert part_at(mask, (2, 2)).sum() == 9
    assert not part_at(mask, (5, 2)).any()
    assert [int(part.sum()) for part in split_parts(mask)] == [42, 9, 1]
    assert (split_parts(mask)[0] == largest_component(mask)).all()
    assert remove_small_parts(mask, (1.0, 1.0), 2.0).sum() == 51
    assert remove_small_parts(mask, (1.0, 1.0), 50.0).sum() == 42
    assert not split_parts(np.zeros((4, 4), bool))
    assert not part_at(np.zeros((4, 4), bool), (0, 0)).any()


def test_a_sprinkle_of_specks_is_not_split_into_objects():
    mask = np.zeros((40, 40), bool)
    mask[::2, ::2] = True
    with pytest.raises(DataError, match="400 parts"):
        split_parts(mask)


def test_a_cone_between_two_slices_is_filled_as_a_cone():
    radii = np.linspace(12, 4, 9)
    ends = {index: disc((40, 40), (20, 20), radii[index]) for index in (0, 8)}
    filled = fill_between(ends, (1.0, 1.0))
    assert sorted(filled) == list(range(1, 8))
    for index, mask in filled.items():
        assert (mask | ~disc((40, 40), (20, 20), radii[index] - 0.75)).all()
        assert not (mask & ~disc((40, 40), (20, 20), radii[index] + 0.75)).any()


def test_a_slanted_vessel_is_filled_although_its_outlines_do_not_overlap():
    shape = (30, 60)
    filled = fill_between({3: disc(shape, (15, 10), 4), 7: disc(shape, (15, 50), 4)}, (1.0, 1.0))
    for index, col in ((4, 20), (5, 30), (6, 40)):
        assert (filled[index] ^ disc(shape, (15, col), 4)).sum() <= 6


def test_nothing_is_filled_towards_a_slice_without_the_object():
    shape = (20, 20)
    assert fill_between({2: disc(shape, (9, 9), 4), 6: np.zeros(shape, bool)}, (1.0, 1.0)) == {}
    assert fill_between({2: disc(shape, (9, 9), 4), 3: disc(shape, (9, 9), 4)}, (1.0, 1.0)) == {}


def test_a_brush_covers_what_is_near_its_path_and_never_nothing():
    path = [(5.0, 4.0), (5.0, 15.0), (12.0, 15.0)]
    line = np.ones((20, 24), bool)
    for row, col in (*((5, c) for c in range(4, 16)), *((r, 15) for r in range(5, 13))):
        line[row, col] = False
    distance = ndimage.distance_transform_edt(line, sampling=(2.0, 1.0))
    assert (paint_disc(path, 2.6, (20, 24), (2.0, 1.0)) == (distance <= 2.6)).all()
    assert paint_disc([(3.2, 3.4)], 0.01, (20, 24), (1.0, 1.0)).any()
    assert not paint_disc([(-40.0, -40.0)], 2.0, (20, 24), (1.0, 1.0)).any()


def test_a_ball_is_as_wide_across_slices_as_on_its_own():
    masks = paint_ball([(15.0, 15.0)], 6.0, (31, 31), (1.0, 1.0), 2.0)
    assert sorted(masks) == [-3, -2, -1, 0, 1, 2, 3]
    for offset, mask in masks.items():
        assert (mask == disc((31, 31), (15, 15), np.sqrt(36 - (2 * offset) ** 2) + 1e-6)).all()
