"""Outputs of a command: never an input, and nothing that exists is replaced without asking. How they are written is in `disk`."""

import argparse
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from NeuroSAM2Core.errors import DataError


def add_overwrite_option(
    parser: argparse.ArgumentParser, *, what: str = "replace files that are there already"
) -> None:
    """Declares `--overwrite` of a command, with its help."""
    parser.add_argument("--overwrite", action="store_true", help=what)


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


def is_there(path: Path) -> DataError:
    """The refusal to replace a file."""
    return DataError(
        f"{path} is there already",
        hint="choose another name, or replace it with --overwrite; in Python, overwrite=True",
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Reports what keeps a file from being written as a mistake of the person.

    Raises:
        DataError: It is there already, or cannot be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):  # not where its folder is a file
            raise is_there(path) from error
        raise DataError(f"cannot write {path}: {error.strerror or error}", hint="choose another folder") from error


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
            raise is_there(path)
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
