"""A few hundred files damaged at random, through the app's own reading functions; `python -m benchmarks.fuzz` reads many more."""

from benchmarks.fuzz import KINDS, fuzz

FILES = 320


def test_damaged_files_end_nothing_write_nothing_and_send_nothing():
    issues = fuzz(seed=0, files=FILES)
    assert issues.defects == []
    assert issues.count == FILES
    for kind in KINDS:
        assert issues.outcomes[f"{kind} opened"] > 0 or kind == ".pt"
        assert issues.outcomes[f"{kind} refused"] > 3
