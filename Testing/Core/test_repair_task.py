"""Repairs as values: the same as the functions on the whole image, here and in a process of their own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NeuroSAM2Core import launch
from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.repair import fill_between, part_at, split_parts
from NeuroSAM2Core.repair_task import RepairKind, RepairTask, main, read_result, repaired, write_task

SHAPE, SPACING, LENGTH = (14, 22, 27), (1.5, 0.8, 1.0), 2.0
PLAIN = [
    one
    for one in RepairKind
    if one not in (RepairKind.KEEP_PART, RepairKind.REMOVE_PART, RepairKind.SPLIT, RepairKind.FILL_BETWEEN)
]


def specks(seed):
    """Parts with holes, some at the image's border."""
    mask = np.zeros(SHAPE, bool)
    mask[0:5, 2:12, 15:27] = mask[7:12, 5:17, 4:14] = True
    mask[8:10, 9:12, 7:10] = mask[1:3, 6, 20] = False
    mask[13, 21, 0] = True
    return mask ^ (np.random.default_rng(seed).random(SHAPE) > 0.995)


def task_for(mask, kind, **about):
    box = bounding_box(mask)
    first = tuple(side.start for side in box)
    task = RepairTask(kind=kind, image_shape=SHAPE, spacing_mm=SPACING, first=first, axis=0, length_mm=LENGTH)
    return replace(task, **about), mask[box]


def applied(changed, before, axis):
    """The image with the changed slices in it."""
    after = np.moveaxis(before.copy(), axis, 0)
    for index, mask in changed.masks(after.shape[1:]):
        assert (mask != after[index]).any()
        after[index] = mask
    return np.moveaxis(after, 0, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_cut_out_object_is_repaired_as_in_the_whole_image(kind, axis):
    for seed in range(3):
        mask = specks(seed)
        task, cut = task_for(mask, kind, axis=axis)
        (changed,) = task.changes(cut)
        assert (applied(changed, mask, axis) == repaired(kind, mask, SPACING, LENGTH)).all()


@pytest.mark.parametrize("keeps", [True, False])
def test_the_part_at_a_place_of_the_image_is_kept_or_removed(keeps):
    mask, place = specks(0), (9, 6, 6)
    part = part_at(mask, place)
    task, cut = task_for(mask, RepairKind.KEEP_PART if keeps else RepairKind.REMOVE_PART, place=place)
    (changed,) = task.changes(cut)
    assert (applied(changed, mask, 0) == (part if keeps else mask & ~part)).all()


def test_parts_are_returned_each_by_itself():
    mask = specks(0)
    wanted = split_parts(mask)
    task, cut = task_for(mask, RepairKind.SPLIT, axis=1)
    first, *others = task.changes(cut)
    assert (applied(first, mask, 1) == wanted[0]).all()
    assert len(others) == len(wanted) - 1 > 1
    for one, part in zip(others, wanted[1:], strict=True):
        assert (applied(one, np.zeros_like(mask), 1) == part).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_between_others_are_filled_as_in_the_whole_image(axis):
    mask = specks(0)
    keys = (0, 4, 9, 11)
    slices = np.moveaxis(mask, axis, 0)
    spacing = tuple(one for a, one in enumerate(SPACING) if a != axis)
    wanted = slices.copy()
    for index, filled in fill_between({key: slices[key] for key in keys}, spacing).items():
        wanted[index] = filled
    task, cut = task_for(mask, RepairKind.FILL_BETWEEN, keys=keys, axis=axis)
    (changed,) = task.changes(cut)
    assert (applied(changed, mask, axis) == np.moveaxis(wanted, 0, axis)).all()


def test_a_process_of_its_own_gives_the_same(tmp_path):
    mask = specks(0)
    task, cut = task_for(mask, RepairKind.SPLIT)
    write_task(tmp_path / "task.npz", task, cut)
    program = Path(launch.__file__), "-m", "NeuroSAM2Core.repair_task"
    words = [*map(str, program), str(tmp_path / "task.npz"), str(tmp_path / "result.npz")]
    subprocess.run([sys.executable, *words], check=True, cwd=tmp_path)
    found, wanted = read_result(tmp_path / "result.npz"), task.changes(cut)
    assert [one.indices for one in found] == [one.indices for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert all((a[1] == b[1]).all() for a, b in zip(one.masks(SHAPE[1:]), other.masks(SHAPE[1:]), strict=True))


def test_the_process_says_why_it_cannot_be_done(tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[::2, ::2, ::2] = True
    task, cut = task_for(mask, RepairKind.SPLIT)
    write_task(tmp_path / "task.npz", task, cut)
    main([str(tmp_path / "task.npz"), str(tmp_path / "result.npz")])
    with pytest.raises(DataError, match="parts") as error:
        read_result(tmp_path / "result.npz")
    assert "remove the small parts" in error.value.hint


def test_large_objects_and_long_ways_are_not_quick():
    task, _ = task_for(specks(0), RepairKind.GROW)
    assert task.is_quick((14, 22, 27))
    assert not task.is_quick((400, 512, 512))
    assert not replace(task, length_mm=50.0).is_quick((60, 80, 80))
    assert replace(task, kind=RepairKind.SPLIT).is_quick((60, 80, 80))
    assert not replace(task, kind=RepairKind.SPLIT).is_quick((400, 512, 512))
