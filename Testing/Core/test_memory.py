"""Memory that is free, of a machine or of a container."""

import psutil
import pytest

from NeuroSAM2Core import memory


@pytest.mark.parametrize(
    "names",
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_the_limit_of_a_container_counts_and_cached_files_do_not(tmp_path, monkeypatch, names):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    (tmp_path / "memory").mkdir()
    for name, text in zip(names, ("5000\n", "3000\n", "anon 100\nactive_file 400\ninactive_file 50\n"), strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert memory.free_memory() == 2450


@pytest.mark.parametrize("limit", ["max\n", ""])
def test_without_a_limit_the_machine_counts(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    for name, text in (("memory.max", limit), ("memory.current", "1\n"), ("memory.stat", "")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert 0 < memory.free_memory() <= psutil.virtual_memory().total
