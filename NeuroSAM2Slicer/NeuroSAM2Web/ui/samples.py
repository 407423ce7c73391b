"""Pictures of clips in the page. The twin of Slicer's viewer."""

import base64
from collections.abc import Sequence
from pathlib import Path

from NeuroSAM2Lib.training.image_carousel import ImageCarousel
from trame_server.state import State


class Samples:
    """The viewer.

    Args:
        state: Of the page.
    """

    def __init__(self, state: State) -> None:
        self._state, self._carousel = state, ImageCarousel()
        self._show()

    def show(self, pictures: Sequence[Path]) -> None:
        """These pictures, from the first one on if they are others."""
        if self._carousel.fill(pictures):
            self._show()

    def turn(self, step: int) -> None:
        """So many pictures on."""
        self._carousel.turn(step)
        self._show()

    def _show(self) -> None:
        self._state.train_sample = None
        picture = self._carousel.picture
        if picture is None:
            return
        try:
            data = base64.b64encode(picture.read_bytes()).decode()
        except OSError:  # drawn anew at this moment
            return
        self._state.train_sample = {"src": f"data:image/png;base64,{data}", "caption": self._carousel.caption}
