"""The report of a comparison as it lies in its folder, read again only when its file has changed."""

import logging
from pathlib import Path

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.verdict import PICTURE_FILE, REPORT_FILE, Report, read_report

logger = logging.getLogger(__name__)


class ReportReader:
    """Follows the report of one folder.

    Args:
        folder: Of the comparison; need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._report: Report | None = None
        self._stamp: tuple[int, int] | None = None

    @property
    def picture(self) -> Path | None:
        """Of the cases; None where none was drawn."""
        path = self.folder / PICTURE_FILE
        return path if path.is_file() else None

    def read(self) -> Report | None:
        """The report; None where there is none. One that cannot be read, or is of an earlier version, is none, with a warning."""
        path = self.folder / REPORT_FILE
        try:
            found = path.stat()
        except OSError:
            self._report = self._stamp = None
            return None
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._stamp, self._report = stamp, None
            try:
                self._report = read_report(path)
            except DataError as error:
                logger.warning("%s", error)
        return self._report
