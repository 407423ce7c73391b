"""Files that are written: whole or not there, never an input, and nothing that exists is replaced unasked."""

import argparse
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from NeuroSAM2Core.errors import DataError

PARTIAL_SUFFIX = ".partial"
LONGEST_NAME_PART = 40
"""Characters of the target's name in the name of its partial file, which must not become too long."""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to; what was written there takes the place of `path` when the body ends well.

    Where `path` is a link, what it leads to is replaced. The new file has the mode of the old one, or what the umask leaves.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    target = Path(os.path.realpath(path))
    name = f".{target.name[:LONGEST_NAME_PART]}.{os.getpid()}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
    partial = target.with_name(name)
    try:
        yield partial
        with partial.open("rb+") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step, as UTF-8; what UTF-8 cannot hold is escaped.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    """Declares `--overwrite` of a command."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def check_outputs(outputs: Sequence[Path], *, inputs: Sequence[Path] = (), overwrite: bool = False) -> None:
    """Checks, before long work, that files may be written.

    Args:
        outputs: The files. Folders that are not there yet are made when they are written.
        inputs: What is read; none of them may be an output, whatever it is called there.
        overwrite: Files that are there may be replaced.

    Raises:
        DataError: One is an input, is named twice, is there already or cannot be written.
    """
    seen: set[str] = set()
    for path in outputs:
        for given in inputs:
            if _is_same(path, given):
                raise DataError(f"{path} is what is read: it is never replaced", hint="choose another name")
        place = _place(path)
        if place in seen:
            raise DataError(f"{path} is named for two outputs", hint="choose a name for each")
        seen.add(place)
    for path in outputs:
        try:
            _check_output(path, overwrite=overwrite)
        except OSError as error:
            raise DataError(
                f"cannot write {path}: {error.strerror or error}", hint="choose a folder that you may write to"
            ) from error


def _check_output(path: Path, *, overwrite: bool) -> None:
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(mode):
            raise DataError(f"cannot write {path}: it is a folder", hint="add a name to it")
        if not stat.S_ISREG(mode):
            raise DataError(f"cannot write {path}: it is no ordinary file", hint="choose another name")
        if not overwrite:
            raise DataError(f"{path} is there already", hint="choose another name, or replace it with --overwrite")
        if not os.access(target, os.W_OK):
            raise DataError(f"cannot write {path}: it is protected", hint="choose another name")
    folder = next(one for one in target.parents if one.exists())
    if not folder.is_dir():
        raise DataError(f"cannot write {path}: {folder} is no folder", hint="choose another one")
    with tempfile.TemporaryFile(dir=folder):
        pass


def _is_same(path: Path, other: Path) -> bool:
    with suppress(OSError):
        return path.samefile(other)
    return _place(path) == _place(other)


def _place(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))
