"""Temporary folders do not outlive their owners."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from NeuroSAM2Core import disk
from NeuroSAM2Core.disk import ScratchFolder

ROOT = Path(__file__).parents[2]
DIES = """
import os, tempfile
from NeuroSAM2Core.disk import ScratchFolder
folder = ScratchFolder()
(folder.path / "patient.voxels").write_bytes(b"voxels")
print(folder.path, flush=True)
os._exit(9)
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def left_behind() -> Path:
    """The folder of a process that was killed."""
    output = subprocess.run([sys.executable, "-c", DIES], cwd=ROOT, capture_output=True, check=False, timeout=60)
    return Path(os.fsdecode(output.stdout.strip()))


def test_voxels_of_a_killed_process_are_gone_after_the_next_start(temporary_folder):
    folder = left_behind()
    assert (folder / "patient.voxels").exists()
    ScratchFolder().remove()
    assert not folder.exists()
    assert list(temporary_folder.iterdir()) == []


def test_a_folder_in_use_is_left_alone():
    first = ScratchFolder()
    ScratchFolder().remove()
    assert first.path.exists()
    first.remove()
    first.remove()
    assert not first.path.exists()


def test_what_is_not_ours_is_left_alone(temporary_folder):
    elsewhere = temporary_folder / "elsewhere"
    elsewhere.mkdir()
    link = temporary_folder / f"{disk.PREFIX}link"
    link.symlink_to(elsewhere)
    link.with_suffix(disk.LOCK_SUFFIX).touch()
    older = temporary_folder / f"{disk.PREFIX}older"
    older.mkdir()
    ScratchFolder().remove()
    assert elsewhere.exists()
    assert older.exists()


def test_only_its_user_can_read_it():
    folder = ScratchFolder()
    assert folder.path.stat().st_mode & 0o077 == 0
    folder.remove()
