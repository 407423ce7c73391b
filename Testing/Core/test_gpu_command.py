"""`make gpu` ends in time whatever its parts do, and its table says what its head says. The measuring itself needs a GPU."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_components, gpu_tools


def test_a_part_that_hangs_is_killed_with_all_it_started(capfd, tmp_path):
    began = tmp_path / "began"
    child = f"import pathlib, time, os; pathlib.Path({str(began)!r}).write_text(str(os.getpid())); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    started = time.monotonic()
    assert not gpu.finished([sys.executable, "-c", parent], 3)
    assert time.monotonic() - started < 30
    assert "was not through after 3 s" in capfd.readouterr().out
    pid = int(began.read_text(encoding="utf-8"))
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid):
    """There is such a process, and it is not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_part_that_fails_is_named_and_one_that_does_not_is_not(capfd):
    assert not gpu.finished([sys.executable, "-c", "raise SystemExit(3)"], 60)
    assert "ended with 3" in capfd.readouterr().out
    assert gpu.finished([sys.executable, "-c", "pass"], 60)
    assert capfd.readouterr().out == ""


def test_the_parts_cannot_take_longer_than_the_whole(monkeypatch):
    given = []
    now = iter([0.0, 300.0, 390.0, 575.0])
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "missing_packages", lambda cuda: [])
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(gpu, "finished", lambda command, limit: given.append(limit) or True)
    assert gpu.main() == 0
    assert given == [280.0, 90.0, 5.0]
    assert gpu.TOTAL_S < 600


def test_what_is_missing_is_asked_for_in_the_version_of_pytorchs_cuda(monkeypatch):
    monkeypatch.setattr(gpu_tools, "find_spec", lambda module: None)
    monkeypatch.setattr(gpu_tools, "find_program", lambda name: None)
    assert gpu_tools.missing_packages("13.0") == [
        "cupy-cuda13x",
        "connected-components-3d",
        "cuda-toolkit[nvcc,nvvm,crt,cccl,sanitizer]==13.0.*",
    ]
    monkeypatch.setattr(gpu_tools, "find_spec", lambda module: object())
    monkeypatch.setattr(gpu_tools, "find_program", lambda name: name)
    assert gpu_tools.missing_packages("13.0") == []


def test_the_table_compares_with_the_floor_the_cpu_and_the_references_passes(monkeypatch):
    monkeypatch.setattr(gpu_components, "DEVICE", "cpu")
    monkeypatch.setattr(gpu_components, "SHAPES", {"512 x 512": (20, 30), "256 x 512 x 512": (8, 9, 10)})
    monkeypatch.setattr(gpu_components, "copy_bandwidth", lambda: 1e6)
    monkeypatch.setattr(gpu_components, "device_ms", lambda act: (act(), 6.0)[1])
    monkeypatch.setattr(gpu_components, "cpu_ms", lambda act: (act(), 12.0)[1])
    monkeypatch.setattr(gpu_components, "cupy_ms", lambda mask, dims: 3.0)
    lines = [line for line in gpu_components.table().splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    assert len(rows) == 2 * 3 * 4
    flat = dict(zip(head, rows[0], strict=True))
    assert flat == {
        "what": "512 x 512, clean: labels",
        "here": "6.000 ms",
        "CPU": "12.0 ms",
        "CuPy": "3.00 ms",
        "CPU / here": "2x",
        "floor": "3.000 ms",
        "here / floor": "2.0",
        "reference / floor, at least": "2",
    }
    by_name = {row[0]: row for row in rows}
    assert by_name["512 x 512, noisy: holes up to 64"][-1] == "13"
    assert by_name["256 x 512 x 512, noise: labels"][-2:] == ["1.7", ""]


@pytest.mark.skipif(os.name == "nt", reason="make gpu is for Linux")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 0
    assert "skipped, this machine has no CUDA device" in capsys.readouterr().out
