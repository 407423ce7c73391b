"""Files that are whole or not there, with Windows' rules where no Windows is."""

import errno
import os
from pathlib import Path

import pytest

from NeuroSAM2Core import disk


@pytest.fixture
def on_windows(monkeypatch):
    monkeypatch.setattr(disk, "IS_WINDOWS", True)
    monkeypatch.setattr(disk, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))


class SurfaceState:
    """Something that is refused so many times, as a file that another program has open."""

    def __init__(self, times: int) -> None:
        self.left, self.num_tries = times, 0

    def __call__(self) -> str:
        self.num_tries += 1
        self.left -= 1
        if self.left >= 0:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return "done"


@pytest.mark.usefixtures("on_windows")
def test_a_file_that_is_held_for_a_moment_is_waited_for():
    held = SurfaceState(3)
    assert disk.with_retries(held) == "done"
    assert held.num_tries == 4


@pytest.mark.usefixtures("on_windows")
def test_a_file_that_is_held_for_good_is_given_up():
    held = SurfaceState(100)
    with pytest.raises(PermissionError):
        disk.with_retries(held)
    assert held.num_tries == 4


def test_elsewhere_a_refusal_is_final(monkeypatch):
    monkeypatch.setattr(disk, "IS_WINDOWS", False)
    held = SurfaceState(1)
    with pytest.raises(PermissionError):
        disk.with_retries(held)
    assert held.num_tries == 1


def test_what_is_written_is_whole_or_not_there(tmp_path):
    path = tmp_path / "notes.txt"
    disk.write_atomically(path, "ä\n")
    with pytest.raises(RuntimeError), disk.replaced_atomically(path) as partial:
        partial.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert path.read_bytes() == "ä\n".encode()
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("has_links", [True, False])
def test_of_two_that_choose_one_name_the_later_is_refused(tmp_path, monkeypatch, has_links):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.txt"
    with pytest.raises(FileExistsError), disk.replaced_atomically(path, overwrite=False) as later:
        later.write_bytes(b"later")
        disk.write_atomically(path, b"first", overwrite=False)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_name_as_long_as_the_system_takes_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    disk.write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_the_mark_of_windows_programs_is_no_content(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbfkey = 1\r\n")
    assert disk.read_text(path) == "key = 1\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C:\\data\\t1.nii", "\\\\?\\C:\\data\\t1.nii"),
        ("\\\\server\\share\\t1.nii", "\\\\?\\UNC\\server\\share\\t1.nii"),
        ("\\\\?\\C:\\t1.nii", "\\\\?\\C:\\t1.nii"),
    ],
)
def test_windows_takes_any_length_behind_its_prefix(path, expected):
    assert disk.verbatim(path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T1 of 2024", "T1 of 2024"),
        ("a/b: c?", "a-b- c-"),
        ("con", "_con"),
        ("NUL.nii.gz", "_NUL.nii.gz"),
        ("..", "file"),
        ("a\n\t. ", "a--"),
    ],
)
def test_every_text_becomes_a_name_that_all_systems_take(text, expected):
    assert disk.file_name(text) == expected


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", "caf\u00e9 \u8133.1"), ("latin-1", "caf\u00e9 _.1"), ("ascii", "caf_ _.1")]
)
def test_a_name_keeps_the_letters_that_the_locale_has(encoding, expected, monkeypatch):
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode(encoding))
    assert disk.file_name("caf\u00e9 \u8133.1") == expected


@pytest.mark.usefixtures("on_windows")
def test_a_path_that_is_too_long_is_named_as_the_reason(tmp_path):
    short = Path(tmp_path.anchor) / "data"
    path = short / ("d" * 150) / ("e" * 150)
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert "Windows takes 259" in disk.reason(missing, path)
    assert disk.reason(missing, short) == "No such file or directory"


def test_names_are_handed_over_as_utf8_and_taken_back_whatever_the_locale(monkeypatch):
    as_python_has_it, real = "äł".encode().decode("latin-1"), "äł"
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("latin-1"))
    assert disk.as_utf8(Path(as_python_has_it)) == real
    assert disk.from_utf8(real) == as_python_has_it


def test_a_file_that_cannot_be_moved_to_a_free_name_leaves_the_name_free(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no links here")

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    source, target = tmp_path / "partial", tmp_path / "whole"
    source.write_bytes(b"voxels")
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        disk.move_to_free_name(source, target)
    assert list(tmp_path.iterdir()) == [source]
