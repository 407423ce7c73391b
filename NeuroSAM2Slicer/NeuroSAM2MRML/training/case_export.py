"""Writes a case into files a little at a time, so that the window never waits for the disk.

The files are plain NIfTI: packing them would take longer than writing them. A case is on the list only once both files are whole.
"""

import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume
from NeuroSAM2MRML.training.cases import CaseList
from NeuroSAM2MRML.training.roles import Role

BUDGET_S = 0.02
"""How long one call may take."""
NAMELESS = "case"


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
            raise DataError(f"nothing is outlined in {name}", hint="segment something first")
        self.name = name
        self.is_done = False
        stem = (
            "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name).strip(". ") or NAMELESS
        )
        self._targets = [cases.folder / folder / f"{stem}.nii" for folder in ("images", "labels")]
        self._cases, self._role = cases, role
        try:
            for path in self._targets:
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(path, error) from error
        self._work = self._write(list(zip(self._targets, (image, labels), strict=True)))

    def advance(self) -> bool:
        """Writes some more; true once the case is on the list.

        Raises:
            DataError: The disk is full, or may not be written to; nothing is left behind.
        """
        end = time.monotonic() + BUDGET_S
        while not self.is_done and time.monotonic() < end:
            try:
                next(self._work)
            except StopIteration:
                image, label = self._targets
                self._cases.add_files(self.name, image, label, self._role)
                self.is_done = True
            except OSError as error:
                self.cancel()
                raise _cannot_write(self._targets[0].parent, error) from error
        return self.is_done

    def cancel(self) -> None:
        """Writes no more, and takes away what is not whole."""
        self._work.close()
        for target in self._targets:
            with suppress(OSError):
                _partial(target).unlink(missing_ok=True)

    def _write(self, files: list[tuple[Path, Volume]]) -> Generator[None, None, None]:
        from NeuroSAM2Core.volume.header import header_bytes

        for target, volume in files:
            with _partial(target).open("wb") as file:
                file.write(header_bytes(volume, volume.voxels.dtype))
                for plane in volume.voxels:
                    file.write(plane.tobytes())
                    yield
        for target, _ in files:
            _partial(target).replace(target)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write to {path}: {error.strerror or error}", hint="is there space left on the disk?")
