"""Folders for files on their way (voxels, uploads) that do not outlive their owner, however that ends.

Beside each lies a file that its owner keeps locked; the system lets go of the lock when the owner dies. Whoever makes the next folder
deletes those that nobody holds any more, so that a patient's voxels do not stay in the temporary folder after a crash.
"""

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

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
