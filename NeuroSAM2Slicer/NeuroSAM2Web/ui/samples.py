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
        source = png_source(picture)
        if source:
            self._state.train_sample = {"src": source, "caption": self._carousel.caption}


def png_source(picture: Path) -> str:
    """A picture as the source of an image of the page; empty where it is drawn anew at this moment."""
    try:
        data = picture.read_bytes()
    except OSError:
        return ""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
