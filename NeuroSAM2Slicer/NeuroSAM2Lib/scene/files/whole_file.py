"""Files that are whole or not there: written beside their place and put there in one step."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
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
