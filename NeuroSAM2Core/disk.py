"""Atomic file operations on every operating system.

A file is written beside its place, flushed to the disk and moved into place. Windows refuses to replace or delete a file while any
program has it open (a virus scanner, an indexer, another reader), so that both are tried for a moment; and it takes paths beyond 259
characters only in a form of their own. Without torch and NumPy: every package may write files.

A `ScratchFolder` holds files on their way (voxels, uploads) and does not outlive its owner, however that ends: beside it lies a file
that its owner keeps locked; the system lets go of the lock when the owner dies. Whoever makes the next folder deletes those that nobody
holds any more, so that a patient's voxels do not stay in the temporary folder after a crash.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

IS_WINDOWS = sys.platform == "win32"
MAPS_FILES = not IS_WINDOWS
"""A file may be memory-mapped for long: elsewhere than on Windows it can be replaced and deleted meanwhile."""
PARTIAL_SUFFIX = ".partial"
RETRY_DELAYS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Between the tries to replace or delete a file that somebody has open."""
MAX_PATH_LENGTH = 259
"""Characters that Windows takes in a path, unless long paths are switched on."""
FORBIDDEN = '<>:"/\\|?*'
"""No part of a file's name on Windows; on other systems only the slash is."""
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"
}
"""Names that mean a device on Windows, whatever ending follows."""
VERBATIM = "\\\\?\\"


@contextlib.contextmanager
def replaced_atomically(path: Path, *, suffix: str = PARTIAL_SUFFIX, overwrite: bool = True) -> Iterator[Path]:
    """A path to write to; what was written there takes the place of `path` when the body ends well.

    Where `path` is a link, what it leads to is replaced. The new file has the mode of the old one, or what the umask leaves.

    Args:
        path: The file.
        suffix: How the name ends that is written to, for writers that go by it.
        overwrite: It may be there already, or be there by the time that the body ends.

    Raises:
        FileExistsError: It is there and may not be replaced.
        OSError: It cannot be written; what was there before still is.
    """
    path = extended(Path(os.path.realpath(path)))
    partial = extended(path.with_name(f".{secrets.token_hex(6)}{suffix}"))
    try:
        yield partial
        with partial.open("rb+") as file:  # Windows flushes no file that is open for reading only
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(path.stat().st_mode))
        replace(partial, path) if overwrite else move_to_free_name(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, *, overwrite: bool = True) -> None:
    """Writes a file, which is whole, or what was there before still is. Text becomes UTF-8, and what that cannot hold is escaped.

    Raises:
        FileExistsError: It is there and may not be replaced.
        OSError: It cannot be written.
    """
    with replaced_atomically(path, overwrite=overwrite) as partial:
        partial.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def read_text(path: Path) -> str:
    """A file that a person may have written: UTF-8, with or without the mark that Windows programs put before it.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is in another encoding.
    """
    if "\0" in str(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return extended(path).read_text(encoding="utf-8-sig")


def is_file(path: Path) -> bool:
    """A file is there; false too for a name that no file can have, whoever wrote it."""
    return os.path.isfile(path)  # noqa: PTH113  (which never raises)


def is_folder(path: Path) -> bool:
    """A folder is there; false too for a name that none can have."""
    return os.path.isdir(path)  # noqa: PTH112


def replace(source: Path, target: Path) -> None:
    """Moves a file onto another; while that one is open on Windows, this is tried again for a moment.

    Raises:
        OSError: It cannot be done.
    """
    with_retries(lambda: source.replace(target))


def move_to_free_name(source: Path, target: Path) -> None:
    """Moves a file to a name that nobody else has; of two programs that choose the same at one instant, one is refused.

    Raises:
        FileExistsError: Something has that name.
        OSError: It cannot be done.
    """
    if IS_WINDOWS:
        source.rename(target)  # which replaces nothing there
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        target.touch(exist_ok=False)
        try:
            source.replace(target)
        except OSError:
            target.unlink(missing_ok=True)
            raise
    else:
        source.unlink()


def delete(path: Path) -> None:
    """Deletes a file, if it is there; while it is open on Windows, this is tried again for a moment.

    Raises:
        OSError: It cannot be done.
    """
    with_retries(lambda: path.unlink(missing_ok=True))


def with_retries(act: Callable[[], T]) -> T:
    """The result of what is tried again, on Windows, while another program has the file open.

    Raises:
        OSError: It is still refused, or for another reason.
    """
    for wait_s in RETRY_DELAYS_S if IS_WINDOWS else ():
        try:
            return act()
        except PermissionError:
            time.sleep(wait_s)
    return act()


def reason(error: OSError, path: Path) -> str:
    """Why a file could not be read or written, for people."""
    length = len(str(path.absolute()))
    if IS_WINDOWS and length > MAX_PATH_LENGTH and not str(path).startswith(VERBATIM):
        return (
            f"the path has {length} characters, and Windows takes {MAX_PATH_LENGTH} unless long paths are switched on"
        )
    return error.strerror or str(error)


def as_utf8(path: Path) -> str:
    """The path for a library that takes names as UTF-8, whatever the locale: VTK, ITK, Qt, PyTorch's own reader."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def from_utf8(name: str) -> str:
    """What such a library says of files and programs, as Python has it in this locale; see `as_utf8`."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def file_name(text: str, default: str = "file") -> str:
    """A name that every system takes for a file, as close to some text as can be; in letters that this locale has for names."""
    kept = ("-" if letter in FORBIDDEN or ord(letter) < ord(" ") else _in_this_locale(letter) for letter in text)
    name = "".join(kept).strip(". ")
    return f"_{name}" if name.partition(".")[0].rstrip().upper() in DEVICES else name or default


def _in_this_locale(letter: str) -> str:
    try:
        os.fsencode(letter)
    except UnicodeEncodeError:
        return "_"
    return letter


def extended(path: Path) -> Path:
    """The path in the form that Windows takes at any length; as it is where it is short, or on another system."""
    return Path(verbatim(str(path.resolve()))) if IS_WINDOWS and len(str(path.absolute())) > MAX_PATH_LENGTH else path


def verbatim(path: str) -> str:
    r"""An absolute Windows path behind `\\?\`, on a drive or a share."""
    if path.startswith(VERBATIM):
        return path
    return f"{VERBATIM}UNC{path[1:]}" if path.startswith("\\\\") else VERBATIM + path


if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PREFIX, LOCK_SUFFIX = "neurosam2-", ".lock"


class ScratchFolder:
    """A new temporary folder that only this user can read; those that were left behind are deleted first.

    Raises:
        OSError: There is not enough memory for one.
    """

    def __init__(self) -> None:
        delete_abandoned()
        self._lock_path, self._lock = _new_lock()
        self.path = self._lock_path.with_suffix("")
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Deletes the folder and all that is in it. Safe to call again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            if not self.path.exists():  # what cannot be deleted now is found by its lock file next time
                with contextlib.suppress(OSError):
                    self._lock_path.unlink(missing_ok=True)


def delete_abandoned() -> None:
    """Deletes this user's folders whose owners are gone."""
    for lock_path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*{LOCK_SUFFIX}"):
        folder = lock_path.with_suffix("")
        with contextlib.suppress(OSError):
            if not _is_ours(lock_path) or folder.is_symlink():
                continue
            lock = os.open(lock_path, os.O_RDWR)
            try:
                is_abandoned = _try_lock(lock)
                if is_abandoned:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
            if is_abandoned and not folder.exists():
                lock_path.unlink()


def _new_lock() -> tuple[Path, int]:
    """A lock file that is held. Another process that deletes old ones may be faster: then a new name is tried."""
    while True:
        path = Path(tempfile.gettempdir()) / f"{PREFIX}{secrets.token_hex(6)}{LOCK_SUFFIX}"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        _try_lock(lock)
        if path.exists():
            return path, lock
        os.close(lock)


def _is_ours(lock_path: Path) -> bool:
    if lock_path.is_symlink() or not lock_path.is_file():
        return False
    return sys.platform == "win32" or lock_path.lstat().st_uid == os.getuid()


def _try_lock(file: int) -> bool:
    """Locks a file for as long as it is open; false where somebody else has."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
