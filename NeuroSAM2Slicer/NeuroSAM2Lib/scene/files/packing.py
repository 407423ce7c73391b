"""Files that are whole or not there: written beside their place and put there in one step.

Packs what Slicer has stored unpacked, which is the slow part of saving. Touches no scene, so that a thread may do it.
"""

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Core.outputs import check_outputs, is_there
from NeuroSAM2Lib.i18n import tr as _


def write_complete(path: Path, write: Callable[[Path], bool], *, overwrite: bool = False) -> None:
    """Lets something be written under its own name in a folder beside the target, then puts it there in one step.

    Where the target is a link, what it leads to is replaced; a file that is replaced keeps its mode.

    Args:
        path: The target.
        write: Writes the path that it is given, and says whether it has.
        overwrite: A file that is there may be replaced.

    Raises:
        DataError: It could not be written, or is there already.
    """
    check_outputs([path], overwrite=overwrite)
    target = Path(os.path.realpath(path))
    try:
        folder = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    except OSError as error:
        raise DataError(
            _("cannot write {path}: {reason}").format(path=path, reason=error.strerror or error),
            hint=_("choose a folder that you may write to"),
        ) from error
    try:
        partial = folder / path.name
        if not write(partial) or not partial.is_file():
            raise DataError(_("cannot write {path}").format(path=path), hint=_("is there space left on the disk?"))
        with suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        disk.replace(partial, target) if overwrite else disk.move_to_free_name(partial, target)
    except FileExistsError as error:
        raise is_there(path) from error
    except OSError as error:
        raise DataError(_("cannot write {path}: {reason}").format(path=path, reason=error.strerror or error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PIECE_BYTES = 1 << 20
"""Packed between two questions whether to go on."""
NRRD, SCENE = ".nrrd", ".mrml"
AS_STORED, AS_PACKED = b'useCompression="0"', b'useCompression="1"'
"""In a scene: so was it stored, and so is it from now on."""

IsCancelled = Callable[[], bool]


def never() -> bool:
    """Nobody cancels."""
    return False


def pack_nrrd(stored: Path, whole: IO[bytes], is_cancelled: IsCancelled = never) -> None:
    """Packs an image.

    Args:
        stored: A raw NRRD file.
        whole: Gets it with its voxels packed.
        is_cancelled: Asked for every piece.

    Raises:
        Cancelled: It was asked for.
    """
    from isal import igzip  # Slicer's panel, which packs nothing, loads before packages are installed

    with stored.open("rb") as file:
        while (line := file.readline()).strip():
            whole.write(b"encoding: gzip\n" if line.startswith(b"encoding:") else line)
        whole.write(line)
        with igzip.IGzipFile(filename="", fileobj=whole, mode="wb", mtime=0) as packed:
            while piece := file.read(PIECE_BYTES):
                if is_cancelled():
                    raise Cancelled
                packed.write(piece)


def pack_bundle(stored: Path, path: Path, *, overwrite: bool = False, is_cancelled: IsCancelled = never) -> None:
    """Packs a scene with all its files into a bundle (.mrb); the file is whole or not there.

    Args:
        stored: The folder of the scene; its images are raw NRRD files.
        path: The bundle.
        overwrite: A file that is there may be replaced.
        is_cancelled: Asked for every piece.

    Raises:
        DataError: It could not be written, or is there already.
        Cancelled: It was asked for.
    """

    def write(target: Path) -> bool:
        with zipfile.ZipFile(target, "w") as bundle:
            for one in sorted(each for each in stored.rglob("*") if each.is_file()):
                entry = zipfile.ZipInfo.from_file(one, one.relative_to(stored.parent), strict_timestamps=False)
                if one.suffix == NRRD:
                    with bundle.open(entry, "w", force_zip64=True) as whole:
                        pack_nrrd(one, whole, is_cancelled)
                else:
                    data = one.read_bytes()
                    is_scene = one.suffix == SCENE
                    bundle.writestr(
                        entry, data.replace(AS_STORED, AS_PACKED) if is_scene else data, zipfile.ZIP_DEFLATED
                    )
        if is_cancelled():  # whoever gave it up removes the folder: files may be missing
            raise Cancelled
        return True

    write_complete(path, write, overwrite=overwrite)
