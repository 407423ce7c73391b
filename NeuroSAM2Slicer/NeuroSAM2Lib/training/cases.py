"""The list of annotated cases: exported image and label pairs, and the `dataset.json` that names them.

The list lives in the file alone, which is written whole or not at all; so a run that was begun elsewhere finds the same cases. Several
windows may change it: each holds its lock while it does.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.naming import disambiguated, stem_of
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.training.roles import ROLES, Role

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

FILE, LOCK_FILE = "dataset.json", ".dataset.lock"
LOCK_WAIT_S = 5.0
"""For how long another window may hold the list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An annotated volume."""

    name: str
    role: Role
    image: Path
    label: Path

    @property
    def is_there(self) -> bool:
        """Both files are where they were."""
        return disk.is_file(self.image) and disk.is_file(self.label)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A case in JSON: two files."""

    image: str
    seg: str


@dataclass(frozen=True, slots=True)
class _Lists:
    """The list in JSON; it has a field for each of `ROLES`."""

    training: tuple[_Entry, ...] = ()
    validation: tuple[_Entry, ...] = ()
    test: tuple[_Entry, ...] = ()


class CaseList:
    """The cases in a folder.

    Args:
        folder: Holds `dataset.json`, `images/` and `labels/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        """The file that names them."""
        return self.folder / FILE

    def read(self) -> list[Case]:
        """The cases.

        Raises:
            DataError: The file is not what it should be.
        """
        if not self.path.exists():
            return []
        try:
            lists = decoded(_Lists, parse_json(disk.read_text(self.path)), "", Rules(skips_unknown=True))
        except (OSError, ValueError) as error:
            raise DataError(
                _("{path} cannot be read: {error}").format(path=self.path, error=error),
                hint=_("repair it, or move it away"),
            ) from error
        cases = [
            Case(name=stem_of(Path(one.image)), role=role, image=self.folder / one.image, label=self.folder / one.seg)
            for role in ROLES
            for one in getattr(lists, role)
        ]
        names = disambiguated([case.image for case in cases])
        return [replace(case, name=name) for case, name in zip(cases, names, strict=True)]

    def add(self, image: Path, label: Path, role: Role) -> None:
        """Puts a pair of files on the list, where they are, in place of one with the same image.

        Raises:
            DataError: One of them is not there, or the list cannot be written.
        """
        case = Case(name=stem_of(image), role=role, image=image, label=label)
        if not case.is_there:
            raise DataError(
                _("{image} or {label} is not there").format(image=image, label=label), hint=_("choose the folder again")
            )
        with self.locked():
            self._write([one for one in self.read() if one.image.resolve() != image.resolve()] + [case])

    def remove(self, case: Case) -> None:
        """Takes a case off the list; its files stay."""
        with self.locked():
            self._write([one for one in self.read() if (one.image, one.label) != (case.image, case.label)])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other windows from changing the list, and names of files from being taken, while the body runs; may be nested.

        Raises:
            DataError: Another window does not let go of it, or the folder cannot be written to.
        """
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(self._lock)
            except NotImplementedError:  # a file system without locks
                pass
            except TimeoutError as error:
                raise DataError(
                    _("another window is changing the list in {folder}").format(folder=self.folder), hint=_("try again")
                ) from error
            except OSError as error:
                raise DataError(
                    _("cannot write to {folder}: {reason}").format(folder=self.folder, reason=error.strerror or error)
                ) from error
            yield

    @cached_property
    def _lock(self) -> "AbstractContextManager[object]":
        """One that does nothing where filelock is missing: Slicer works before its packages are installed."""
        try:
            from filelock import FileLock
        except ModuleNotFoundError:
            return nullcontext()
        return FileLock(self.folder / LOCK_FILE, timeout=LOCK_WAIT_S)

    def _write(self, cases: list[Case]) -> None:
        payload = {
            role: [
                {"image": self._relative(one.image), "seg": self._relative(one.label)}
                for one in cases
                if one.role == role
            ]
            for role in ROLES
        }
        if not payload["test"]:
            del payload["test"]
        try:
            disk.write_atomically(self.path, json.dumps(payload, indent=4) + "\n")
        except OSError as error:
            raise DataError(
                _("cannot write {path}: {reason}").format(path=self.path, reason=error.strerror or error)
            ) from error

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)


def labels_of(document: SegmentationDocument) -> Volume:
    """All objects of a session as one label volume; where some overlap, the later one has the voxel."""
    voxels = np.zeros(document.volume.shape, np.uint16)
    for number in sorted(document.objects.segments):
        axis = document.axis_of(number) or Axis.K
        for index in range(document.volume.shape[axis.array_axis]):
            plane = SlicePlane(axis, index)
            plane.of(voxels)[document.slice_io.read(number, plane)] = number
    return document.volume.with_voxels(voxels)
