"""Volumes, geometry, slices and their canonical view."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from NeuroSAM2Core import Volume
from NeuroSAM2Core.errors import GeometryError
from NeuroSAM2Core.volume import Axis, SlicePlane, SliceStack, pack_mask, resolve_axis, unpack_mask

SHAPE = (5, 6, 7)


def voxels(shape=SHAPE):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@st.composite
def matrices(draw, *, largest_angle=0.5):
    """Any permutation and mirroring of the axes, turned a little, with any spacing."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 6.0)] * 3))
    angles = draw(st.tuples(*[st.floats(-largest_angle, largest_angle)] * 3))
    matrix = np.eye(4)
    turn = np.eye(3)
    for (a, b), angle in zip(((0, 1), (1, 2), (0, 2)), angles, strict=True):
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    matrix[:3, :3] = turn @ (np.eye(3)[:, list(order)] * signs * spacing)
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    return matrix


def restored(volume: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same image stored another way: axes i, j, k permuted and mirrored, the matrix changed to match."""
    change = np.eye(4)
    change[:3, :3] = np.eye(3)[:, list(order)]
    array = np.transpose(volume.voxels.T, order)
    matrix = volume.ijk_to_ras @ change
    for axis, flip in enumerate(flips):
        if flip:
            matrix[:3, 3] += matrix[:3, axis] * (array.shape[axis] - 1)
            matrix[:3, axis] *= -1
            array = np.flip(array, axis)
    return Volume(np.ascontiguousarray(array.T), matrix)


@given(matrices())
def test_world_positions_and_voxel_indices_are_inverse(matrix):
    volume = Volume(voxels(), matrix)
    ijk = np.array([[0, 0, 0], [6, 5, 4], [2.5, 1.0, 3.25]])
    np.testing.assert_allclose(volume.to_ijk(volume.to_ras(ijk)), ijk, atol=1e-6)


@given(matrices())
def test_world_positions_equal_those_of_an_independent_library(matrix):
    volume = Volume(voxels(), matrix)
    image = sitk.GetImageFromArray(volume.voxels)
    lps = np.diag([-1.0, -1.0, 1.0]) @ matrix[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
    theirs = np.array(image.TransformIndexToPhysicalPoint((3, 1, 2))) * [-1, -1, 1]
    np.testing.assert_allclose(volume.to_ras(np.array([3, 1, 2])), theirs, atol=1e-6)


@given(matrices(), st.sampled_from(list(Axis)))
def test_pixels_and_voxels_of_a_plane_are_inverse(matrix, axis):
    volume = Volume(voxels(), matrix)
    plane = SlicePlane(axis, 2)
    height, width = plane.of(volume.voxels).shape
    for row, col in itertools.product(range(height), range(width)):
        i, j, k = plane.to_ijk(row, col)
        assert plane.to_pixel(i, j, k) == (row, col)
        assert volume.voxels[int(k), int(j), int(i)] == plane.of(volume.voxels)[row, col]


def test_rows_and_columns_of_a_plain_axial_slice_are_j_and_i():
    assert SlicePlane(Axis.K, 4).to_ijk(row=2, col=3) == (3, 2, 4)


@given(matrices(largest_angle=0.2), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=150)
def test_the_canonical_view_does_not_depend_on_how_the_file_is_stored(matrix, order, flips):
    volume = Volume(voxels(), matrix)
    other = restored(volume, tuple(order), flips)
    for name in ("axial", "coronal", "sagittal"):
        mine = SliceStack.of(volume, resolve_axis(volume, name))
        theirs = SliceStack.of(other, resolve_axis(other, name))
        np.testing.assert_array_equal(mine.voxels, theirs.voxels)


@given(matrices(), st.sampled_from(list(Axis)))
def test_the_canonical_view_is_anatomically_the_right_way_up(matrix, axis):
    volume = Volume(voxels((4, 4, 4)), matrix)
    stack = SliceStack.of(volume, axis)
    directions = []
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        places = [
            np.argwhere(volume.voxels == stack.voxels[tuple(at)])[0][::-1]
            for at in ((1, 1, 1), np.add((1, 1, 1), step))
        ]
        directions.append(volume.to_ras(places[1]) - volume.to_ras(places[0]))
    expected = {"k": "axial", "j": "coronal", "i": "sagittal"}
    anatomy = next(n for n in expected.values() if resolve_axis(volume, n) == axis)
    down, right = directions[1], directions[2]
    through = {"axial": 2, "coronal": 1, "sagittal": 0}[anatomy]
    vertical = {"axial": 1, "coronal": 2, "sagittal": 2}[anatomy]
    horizontal = {"axial": 0, "coronal": 0, "sagittal": 1}[anatomy]
    # With large turns the nearest axis can point slightly the other way; only clear cases can be judged.
    directions = [d / np.linalg.norm(d) for d in directions]
    if abs(directions[0][through]) > 0.8:
        assert down[vertical] < 0
        assert right[horizontal] < 0


@given(st.sampled_from(list(Axis)), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_points_boxes_and_masks_go_to_the_stack_and_back(axis, order, flips):
    volume = restored(Volume(voxels(), np.diag([1.0, 2.0, 3.0, 1.0])), tuple(order), flips)
    stack = SliceStack.of(volume, axis)
    plane = stack.plane(1)
    assert stack.number_of(plane.index) == 1
    stored = plane.of(volume.voxels)
    np.testing.assert_array_equal(stack.mask_to_stack(stored), stack.voxels[1])
    np.testing.assert_array_equal(stack.mask_from_stack(stack.voxels[1]), stored)
    row, col = stack.to_stack(2, 1)
    assert stack.voxels[1][int(row), int(col)] == stored[2, 1]
    row0, col0, row1, col1 = stack.box_to_stack(1, 0, 3, 2)
    inside = stack.voxels[1][int(row0) : int(row1) + 1, int(col0) : int(col1) + 1]
    assert sorted(inside.ravel()) == sorted(stored[1:4, 0:3].ravel())


def test_the_canonical_view_copies_nothing():
    volume = Volume(voxels(), np.eye(4))
    for axis in Axis:
        assert np.shares_memory(SliceStack.of(volume, axis).voxels, volume.voxels)


def test_oblique_axes_are_each_given_one_name():
    angle = np.pi / 4
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = Volume(voxels(), matrix)
    assert {resolve_axis(volume, n) for n in ("axial", "coronal", "sagittal")} == set(Axis)


def test_the_voxels_cannot_be_changed():
    volume = Volume(voxels(), np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        volume.voxels[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("shape", "matrix", "words"),
    [
        ((2, 3), np.eye(4), "three dimensions"),
        ((0, 3, 3), np.eye(4), "at least one voxel"),
        ((2, 3, 4), np.eye(3), "4 x 4"),
        ((2, 3, 4), np.diag([1, np.nan, 1, 1]), "finite"),
        ((2, 3, 4), np.diag([1, 0, 1, 1]), "flat"),
    ],
)
def test_impossible_volumes_are_refused(shape, matrix, words):
    with pytest.raises(GeometryError, match=words):
        Volume(np.zeros(shape), matrix)


def test_a_slice_that_does_not_exist_is_refused_with_the_ones_that_do():
    with pytest.raises(GeometryError, match="slices 0 to 4"):
        SlicePlane(Axis.K, 5).check_inside(Volume(voxels(), np.eye(4)))
    with pytest.raises(GeometryError, match="no axis 'top'"):
        resolve_axis(Volume(voxels(), np.eye(4)), "top")


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**31))
def test_packed_masks_come_back(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) > 0.5
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask), mask.shape), mask)
