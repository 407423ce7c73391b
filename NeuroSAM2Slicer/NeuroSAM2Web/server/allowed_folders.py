"""Which files the app may touch: those in the chosen folders, links followed. Pure paths; nothing is read here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Lib.scene.files.file_kinds import is_readable

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of the file list."""

    name: str
    path: str
    is_folder: bool
    size: str
    """For people; empty for a folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What the file list shows."""

    folder: str
    """Empty for the list of chosen folders."""
    parent: str | None
    """One step up; None where there is none."""
    entries: tuple[Entry, ...]


class AllowedFolders:
    """The chosen folders and all below them.

    Args:
        roots: Those that exist are taken, each once.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(dict.fromkeys(root.resolve() for root in roots if root.is_dir()))

    def resolve(self, text: str) -> Path:
        """The real path behind what was typed or chosen.

        Raises:
            DataError: It lies outside, or cannot be one.
        """
        try:
            path = Path(text).expanduser()
            path = (path if path.is_absolute() else self.roots[0] / path).resolve()
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise DataError(f"{text!r} is no path") from error
        if not any(path.is_relative_to(root) for root in self.roots):
            allowed = ", ".join(map(str, self.roots)) or "none"
            raise DataError(
                f"{path} is outside the folders that the app may use: {allowed}",
                hint="start the app with --folder to allow another one",
            )
        return path

    def file(self, text: str) -> Path:
        """A file that is there.

        Raises:
            DataError: It is not, or lies outside.
        """
        path = self.resolve(text)
        if not disk.is_file(path):
            raise DataError(f"there is no file {path}", hint="choose one from the list")
        return path

    def folder(self, text: str) -> Path:
        """A folder that is there.

        Raises:
            DataError: It is not, or lies outside.
        """
        path = self.resolve(text)
        if not disk.is_folder(path):
            raise DataError(f"there is no folder {path}", hint="choose one from the list")
        return path

    def target(self, folder: str, name: str) -> Path:
        """Where a file of that name is to be written.

        Raises:
            DataError: The folder is not there or lies outside, or the name is none.
        """
        check_name(name)
        return self.resolve(str(self.folder(folder) / name))

    def listing(self, folder: str = "") -> Listing:
        """What is in a folder: folders, and files that can be opened. Without one, the chosen folders.

        Raises:
            DataError: It is not there, lies outside or may not be looked into.
        """
        if not folder:
            roots = (Entry(name=str(root), path=str(root), is_folder=True, size="") for root in self.roots)
            return Listing(folder="", parent=None, entries=tuple(roots))
        path = self.folder(folder)
        try:
            found = sorted(path.iterdir(), key=lambda one: (not one.is_dir(), one.name.lower()))
            entries = tuple(entry for one in found if (entry := self._entry(one)) is not None)
        except OSError as error:
            raise DataError(f"{path} cannot be looked into: {error.strerror or error}") from error
        parent = "" if path in self.roots else str(path.parent)
        return Listing(folder=str(path), parent=parent, entries=entries)

    def _entry(self, path: Path) -> Entry | None:
        if path.name.startswith(".") or not any(path.resolve().is_relative_to(root) for root in self.roots):
            return None
        if path.is_dir():
            return Entry(name=path.name, path=str(path), is_folder=True, size="")
        if path.is_file() and is_readable(path.name):
            return Entry(name=path.name, path=str(path), is_folder=False, size=size_text(path.stat().st_size))
        return None


def check_name(name: str) -> None:
    """Refuses what is no name for a file in a folder.

    Raises:
        DataError: It is empty, or has a path in it.
    """
    if not name or name in (".", "..") or Path(name).name != name or "\\" in name or "\0" in name:
        raise DataError(f"{name!r} is no name for a file", hint="leave out slashes")


def size_text(num_bytes: int) -> str:
    """For people: 12 kB, 3.4 MB."""
    size = float(num_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit != "MB" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
