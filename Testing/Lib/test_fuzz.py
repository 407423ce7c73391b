"""A few hundred files damaged at random, through the app's own reading functions; `python -m benchmarks.fuzz` reads many more."""

import pytest

from benchmarks.fuzz import KINDS, fuzz
from Testing.Support.left_out import NO_SCENE

pytest.importorskip("slicer", reason=NO_SCENE)  # what the files are read with, in a process of its own
FILES = 320


def test_damaged_files_end_nothing_write_nothing_and_send_nothing():
    issues = fuzz(seed=0, files=FILES)
    assert issues.defects == []
    assert issues.count == FILES
    for kind in KINDS:
        assert issues.outcomes[f"{kind} opened"] > 0 or kind == ".pt"
        assert issues.outcomes[f"{kind} refused"] > 3
