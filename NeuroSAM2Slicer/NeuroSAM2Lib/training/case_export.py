"""Writes a case into files a little at a time, so that the window never waits for the disk.

The files are plain NIfTI: packing them would take longer than writing them. The image's header holds the hash of its voxels, so that the
same image is known again: its case is replaced, while another one of the same name gets a number. Names are given to whole files, and
under the lock of the list, so that two windows never take the same one. A case is on the list only once both files are whole.
"""

import itertools
import secrets
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.naming import file_name, folded
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.fingerprint import Fingerprint, hash_of, is_same_position
from NeuroSAM2Lib.training.cases import CaseList
from NeuroSAM2Lib.training.roles import Role

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
