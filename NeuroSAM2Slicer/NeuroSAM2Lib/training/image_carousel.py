"""Pictures of clips, one of them open. Pure."""

from collections.abc import Sequence
from pathlib import Path

from NeuroSAM2Lib.i18n import tr as _


class ImageCarousel:
    """Begins empty."""

    def __init__(self) -> None:
        self._pictures: tuple[Path, ...] = ()
        self._number = 0

    @property
    def picture(self) -> Path | None:
        """The one that is open; None in an empty carousel."""
        return self._pictures[self._number] if self._pictures else None

    @property
    def caption(self) -> str:
        """Which one that is; empty in an empty carousel."""
        return (
            _("Clip {number} of {count}").format(number=self._number + 1, count=len(self._pictures))
            if self._pictures
            else ""
        )

    def fill(self, pictures: Sequence[Path]) -> bool:
        """These pictures, open at the first; false, and nothing happens, where they are the same as before."""
        if tuple(pictures) == self._pictures:
            return False
        self._pictures, self._number = tuple(pictures), 0
        return True

    def turn(self, step: int) -> None:
        """So many pictures on; after the last comes the first."""
        if self._pictures:
            self._number = (self._number + step) % len(self._pictures)
