"""How long threads spin: short in our own processes, as the person says where the environment does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from NeuroSAM2Core.remote import EngineClient
from NeuroSAM2Core.remote.connector import LOG_NAME
from NeuroSAM2Core.startup import DECISIONS, shorten_spinning

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
SHOWN = "GOMP_SPINCOUNT = '2000'"
"""What GNU's OpenMP prints when it is loaded; by default it spins 300,000 times."""


@pytest.fixture
def undecided(monkeypatch):
    """An environment that says nothing of waiting, in which OpenMP shows how it is set."""
    for name in DECISIONS:
        monkeypatch.setenv(name, "")  # so that what the code under test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    shown = subprocess.run(
        [sys.executable, "-c", "import torch"], capture_output=True, text=True, timeout=LIMIT_S, encoding="utf-8"
    )
    if "GOMP_SPINCOUNT" not in shown.stderr:
        pytest.skip("torch computes with another OpenMP than GNU's here")
    assert SHOWN not in shown.stderr


def test_the_command_line_spins_shortly(undecided, monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    command = [sys.executable, "-m", "NeuroSAM2Core", "download"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, encoding="utf-8")
    assert done.returncode == 0
    assert SHOWN in done.stderr


@pytest.mark.parametrize(
    "program",
    ["from NeuroSAM2Core import Session", "import neurosam2", "import runpy; runpy.run_path('tools/demo.py')"],
    ids=["library", "alias", "demo"],
)
def test_programs_that_use_the_library_spin_shortly(undecided, program):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, encoding="utf-8"
    )
    assert SHOWN in done.stderr


def test_a_worker_spins_shortly(undecided):
    client = EngineClient.launch()
    try:
        log, deadline = client.worker.folder / LOG_NAME, time.monotonic() + LIMIT_S
        while "GOMP_SPINCOUNT" not in log.read_text(encoding="utf-8") and time.monotonic() < deadline:
            client.poll()
            time.sleep(0.01)
        assert SHOWN in log.read_text(encoding="utf-8")
    finally:
        client.close()


@pytest.mark.parametrize("name", DECISIONS)
def test_what_the_person_has_set_stays(undecided, monkeypatch, name):
    monkeypatch.setenv(name, "7")
    before = dict(os.environ)
    shorten_spinning()
    assert dict(os.environ) == before
