"""The list of annotated cases: exported image and label pairs, and the `dataset.json` that names them.

The list lives in the file alone, which is written whole or not at all; so a run that was begun elsewhere finds the same cases. Several
windows may change it: each holds its lock while it does.

What an annotated case is for.

Writes a case into files a little at a time, so that the window never waits for the disk.

The files are plain NIfTI: packing them would take longer than writing them. The image's header holds the hash of its voxels, so that
the same image is known again: its case is replaced, while another one of the same name gets a number. Names are given to whole files,
and under the lock of the list, so that two windows never take the same one. A case is on the list only once both files are whole.
"""

import itertools
import json
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.naming import disambiguated, file_name, folded, stem_of
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.volume_nodes import Fingerprint, hash_of, is_same_position
from NeuroSAM2Lib.segmentation.document import SegmentationDocument

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Role = Literal["training", "validation", "test"]
"""`validation` and `test` cases are held out."""
ROLES: tuple[Role, ...] = ("training", "validation", "test")
ROLE_TITLES: dict[str, str] = dict(zip(ROLES, (_("training"), _("checked while training"), _("held out")), strict=True))
"""For lists."""


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


BUDGET_S = 0.02
"""How long one call may take."""
HASH_CHARS = 64
ENDING = ".nii"


class CaseExport:
    """One case on its way to the list.

    Args:
        cases: The list.
        name: Of the case.
        image: The image.
        labels: On the same grid; 0 for nothing.
        role: What the case is for.

    Raises:
        DataError: Nothing is labelled, or the folder cannot be written to.
    """

    def __init__(self, cases: CaseList, name: str, image: Volume, labels: Volume, role: Role) -> None:
        if not labels.voxels.any():
            raise DataError(_("nothing is segmented in {name}").format(name=name), hint=_("segment something first"))
        self.name = file_name(name)
        """With a number, once it is found that another image has it."""
        self.is_done = False
        self.is_again = False
        """The same image was on the list, or had been."""
        self._cases, self._role, self._image, self._labels = cases, role, image, labels
        try:
            for folder in self._folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        token = secrets.token_hex(6)
        self._partial = [folder / f".{token}{disk.PARTIAL_SUFFIX}" for folder in self._folders]
        self._work = self._write()

    @property
    def _folders(self) -> list[Path]:
        return [self._cases.folder / name for name in ("images", "labels")]

    @property
    def _targets(self) -> list[Path]:
        return [folder / f"{self.name}{ENDING}" for folder in self._folders]

    def advance(self) -> bool:
        """Writes some more; true once the case is on the list.

        Raises:
            DataError: The disk is full, or may not be written to, or the list is not what it should be; nothing is left behind.
        """
        end = time.monotonic() + BUDGET_S
        while not self.is_done and time.monotonic() < end:
            try:
                next(self._work)
            except StopIteration:
                self.is_done = True
            except OSError as error:
                self.cancel()
                raise _cannot_write(self._folders[0], error) from error
            except DataError:
                self.cancel()
                raise
        return self.is_done

    def cancel(self) -> None:
        """Writes no more, and takes away what is not whole."""
        self._work.close()
        for partial in self._partial:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _write(self) -> Generator[None, None, None]:
        from NeuroSAM2Core.volume.header import header_bytes

        hashing = hash_of(self._image)
        while not hashing.step():
            yield
        for partial, volume, note in zip(
            self._partial, (self._image, self._labels), (hashing.volume_id, ""), strict=True
        ):
            with partial.open("xb") as file:
                file.write(header_bytes(volume.stored, volume.voxels.dtype, note))
                for plane in volume.voxels:
                    file.write(plane.tobytes())
                    yield
        with self._cases.locked():
            self._choose_name(hashing.volume_id)
            image, label = self._targets
            moved: list[Path] = []
            try:
                for partial, target in zip(self._partial, self._targets, strict=True):
                    disk.replace(partial, target) if self.is_again else disk.move_to_free_name(partial, target)
                    moved.append(target)
                self._cases.add(image, label, self._role)
            except (OSError, DataError):
                for target in () if self.is_again else moved:  # no case of the list
                    target.unlink(missing_ok=True)
                raise

    def _choose_name(self, voxels: str) -> None:
        """The name that the image has already, or else the first one that is free on every system."""
        stem, (images, labels) = self.name, self._folders
        known = {folded(path.name): path.name.removesuffix(ENDING) for path in (*labels.iterdir(), *images.iterdir())}
        for self.name in itertools.chain([stem], (f"{stem} {number}" for number in itertools.count(2))):
            there = known.get(folded(f"{self.name}{ENDING}"))
            if there is None:
                return
            self.is_again = _is_same(images / f"{there}{ENDING}", self._image, voxels)
            if self.is_again:
                self.name = there
                return


def _is_same(path: Path, image: Volume, voxels: str) -> bool:
    """A file holds an image of that hash in that place."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        header = nibabel.Nifti1Image.from_filename(path).header
        known = bytes(header["descrip"].tobytes()).rstrip(b"\0").decode("ascii", errors="replace")
        if len(known) != HASH_CHARS:  # written by an earlier version, or by someone else
            known = Fingerprint.of(Volume.read(path)).voxels
    except (OSError, ValueError, NeuroSAM2Error, ImageFileError, HeaderDataError, WrapStructError):
        return False
    return known == voxels and is_same_position(image, header.get_best_affine().ravel())


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        _("cannot write to {path}: {reason}").format(path=path, reason=error.strerror or error),
        hint=_("is there space left on the disk?"),
    )
