"""Pictures of clips in the page, one at a time. The twin of Slicer's viewer."""

import base64
from collections.abc import Sequence
from pathlib import Path

from trame_server.state import State


class Samples:
    """The viewer.

    Args:
        state: Of the page.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._pictures: tuple[Path, ...] = ()
        self._number = 0
        state.train_sample = None

    def show(self, pictures: Sequence[Path]) -> None:
        """These pictures, from the first one on if they are others."""
        if tuple(pictures) != self._pictures:
            self._pictures, self._number = tuple(pictures), 0
            self._show()

    def turn(self, step: int) -> None:
        """So many pictures on; after the last comes the first."""
        if self._pictures:
            self._number = (self._number + step) % len(self._pictures)
            self._show()

    def _show(self) -> None:
        if not self._pictures:
            self._state.train_sample = None
            return
        try:
            data = base64.b64encode(self._pictures[self._number].read_bytes()).decode()
        except OSError:  # drawn anew at this moment
            self._state.train_sample = None
            return
        caption = f"Clip {self._number + 1} of {len(self._pictures)}"
        self._state.train_sample = {"src": f"data:image/png;base64,{data}", "caption": caption}
