"""Objects of a label volume, and the slices and objects of a clip: integers, checked by slow obvious ways."""

import numpy as np
import pytest

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data.clip import plan_clip
from NeuroSAM2Core.training.data.dataset import areas_by_slice, find_objects

SEMANTIC = DataConfig(datasets=("d.json",), min_voxels=1)
INSTANCES = DataConfig(datasets=("d.json",), labels="instances", min_voxels=2)


@pytest.fixture
def labels():
    labels = np.zeros((6, 7, 8), np.int32)
    labels[0, 0, 0] = labels[1, 1, 1] = 1  # one part through a corner
    labels[4:6, 4:6, 4:6] = 1
    labels[0, 5, 5] = 1  # a speck
    labels[2:4, 0:2, 5:8] = 7
    return labels


def test_a_label_value_is_one_object(labels):
    objects = find_objects(labels, SEMANTIC)
    assert objects.names == ("1", "7")
    np.testing.assert_array_equal(objects.mask(1), labels == 1)
    np.testing.assert_array_equal(objects.mask(2), labels == 7)


def test_instances_are_parts_that_touch_through_corners_at_least(labels):
    objects = find_objects(labels, INSTANCES)
    sizes = {name: int(objects.mask(n + 1).sum()) for n, name in enumerate(objects.names)}
    assert sorted(sizes.values()) == [2, 8, 12], "the speck of one voxel is left out"
    assert sizes["7.1"] == 12
    assert objects.numbers[0, 0, 0] == objects.numbers[1, 1, 1] > 0
    assert objects.numbers[0, 5, 5] == 0


def test_only_the_classes_asked_for_are_objects(labels):
    data = DataConfig(datasets=("d.json",), classes=(7, 9))
    assert find_objects(labels, data).names == ("7",)
    with pytest.raises(DataError, match="has label values 1, 7; expected one of 9"):
        find_objects(labels, DataConfig(datasets=("d.json",), classes=(9,)))


def test_a_label_without_objects_says_why(labels):
    with pytest.raises(DataError, match="the label is empty: it has no voxel above 0"):
        find_objects(np.zeros_like(labels), SEMANTIC)
    with pytest.raises(DataError, match="the largest object has 12 voxels; expected at least 13"):
        find_objects(labels, DataConfig(datasets=("d.json",), min_voxels=13))


def test_pixels_are_counted_on_every_slice_of_every_axis(labels):
    objects = find_objects(labels, SEMANTIC)
    for axis, areas in enumerate(areas_by_slice(objects)):
        for n in range(len(objects)):
            others = tuple(a for a in range(3) if a != axis)
            np.testing.assert_array_equal(areas[n], objects.mask(n + 1).sum(axis=others))


AREAS = np.array([[0, 0, 5, 20, 30, 20, 5, 0, 0, 0], [0, 0, 0, 0, 15, 0, 0, 0, 3, 3], [0, 3, 0, 0, 0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("seed", range(40))
def test_a_clip_starts_where_its_objects_are_seen_and_stays_in_the_volume(seed):
    sampling = SamplingConfig(slices=4, max_objects=2, max_gap=2, min_pixels=12)
    plan = plan_clip(AREAS, sampling, np.random.default_rng(seed))
    start = plan.slices[0]
    assert 1 <= len(plan.objects) <= 2
    assert len(set(plan.objects)) == len(plan.objects)
    for number in plan.objects:
        assert AREAS[number - 1, start] >= min(12, AREAS[number - 1].max())
    steps = set(np.diff(plan.slices).tolist())
    assert steps in ({1}, {2}, {-1}, {-2}), "evenly spaced; there is room in one of the directions"
    assert plan == plan_clip(AREAS, sampling, np.random.default_rng(seed))


def test_every_object_and_direction_comes_up():
    sampling = SamplingConfig(slices=3, max_objects=1)
    plans = [plan_clip(AREAS, sampling, np.random.default_rng(seed)) for seed in range(60)]
    assert {plan.objects[0] for plan in plans} == {1, 2, 3}
    assert {plan.slices[1] - plan.slices[0] for plan in plans} == {1, -1}
    assert {plan.slices[0] for plan in plans if plan.objects == (2,)} == {4}
    assert {plan.slices[0] for plan in plans if plan.objects == (3,)} == {1}, "the smallest object is shown where it is"


def test_a_short_volume_is_filled_up_with_its_last_slice():
    plan = plan_clip(np.array([[9, 9, 9]]), SamplingConfig(slices=6, reverse=0.0), np.random.default_rng(0))
    assert len(plan.slices) == 6
    assert plan.slices[-3:] == (2, 2, 2)
    one = plan_clip(np.array([[4]]), SamplingConfig(slices=3), np.random.default_rng(0))
    assert one.slices == (0, 0, 0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DataConfig(datasets=()), "data.datasets is empty"),
        (lambda: DataConfig(datasets=("a",), intensity_range=(0.0, 255.0)), "data.intensity_range"),
        (lambda: DataConfig(datasets=("a",), classes=(0,)), "data.classes"),
        (lambda: DataConfig(datasets=("a",), min_voxels=0), "data.min_voxels"),
        (lambda: DataConfig(datasets=("a",), axis="axail"), "data.axis is one of axial"),
        (lambda: SamplingConfig(slices=0), "sampling.slices must be at least 1"),
        (lambda: SamplingConfig(reverse=1.5), "sampling.reverse"),
    ],
)
def test_a_setting_that_cannot_be_is_named(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
