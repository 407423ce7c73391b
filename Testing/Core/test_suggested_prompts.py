"""The prompt kind that a shape suggests, and one prompt per part."""

import numpy as np
import pytest

from NeuroSAM2Core.prompts.simulate import parts_of, suggested_kind

ROWS, COLS = np.mgrid[:40, :40]
DISC = (ROWS - 20) ** 2 + (COLS - 18) ** 2 < 90
SHAPES = {
    "disc": (DISC, "box"),
    "square": ((ROWS > 5) & (ROWS < 30) & (COLS > 8) & (COLS < 20), "box"),
    "diagonal": (abs(ROWS - COLS) < 3, "click"),
    "ring": (DISC & ((ROWS - 20) ** 2 + (COLS - 18) ** 2 > 60), "click"),
    "two corners": ((ROWS + COLS < 8) | (ROWS + COLS > 70), "click"),
    "nothing": (ROWS < 0, "click"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_box_is_for_shapes_that_fill_it(name):
    mask, kind = SHAPES[name]
    assert suggested_kind(mask) == kind


def test_parts_touch_through_corners_and_come_largest_first():
    mask = np.zeros((20, 20), bool)
    mask[2, 2] = mask[3, 3] = True
    mask[8:12, 8:12] = True
    mask[16, 4:7] = True
    parts = parts_of(mask, max_parts=5)
    assert [int(part.sum()) for part in parts] == [16, 3, 2]
    np.testing.assert_array_equal(np.any(parts, axis=0), mask)
    assert [int(part.sum()) for part in parts_of(mask, max_parts=2)] == [16, 3]
    assert parts_of(mask & False, max_parts=2) == []
