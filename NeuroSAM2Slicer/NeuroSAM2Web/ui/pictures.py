"""Pictures in the training panel: the curves of a run, and clips.

The curves of a run as lines of a small drawing. Pure; the page draws them.
Pictures of clips in the page. The twin of Slicer's viewer.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Lib.training.samples import ImageCarousel
from trame_server.state import State

Curve = Sequence[tuple[int, float]]
"""Values by step."""
MAX_POINTS = 300
NUM_MARKS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """Where the axes are, in pixels of the drawing."""

    width: int = 316
    height: int = 150
    left: int = 38
    right: int = 284
    top: int = 10
    bottom: int = 126


BOX = Box()


@dataclass(frozen=True, slots=True)
class Mark:
    """A number beside an axis."""

    place: float
    """Along it, in pixels of the drawing."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What is drawn."""

    loss: str
    """Corners of the line, as SVG wants them."""
    dice: str
    steps: tuple[Mark, ...]
    losses: tuple[Mark, ...]
    dices: tuple[Mark, ...]
    last_loss: str
    last_dice: str
    box: Box = BOX


def draw(losses: Curve, dices: Curve, num_steps: int) -> Drawing:
    """Both curves over the steps of the whole run.

    Args:
        losses: Drawn from 0 to what the largest needs.
        dices: Drawn from 0 to 1.
        num_steps: Of the run.
    """
    last = max([num_steps, 1, *(step for step, _ in (*losses[-1:], *dices[-1:]))])
    top = _round_up(max((value for _, value in losses if math.isfinite(value)), default=1.0))
    return Drawing(
        loss=_corners(losses, last, top),
        dice=_corners(dices, last, 1.0),
        steps=tuple(Mark(_x(step, last), f"{step:.0f}") for step in (0, last / 2, last)),
        losses=_marks(top),
        dices=_marks(1.0) if dices else (),
        last_loss=f"{losses[-1][1]:.3g}" if losses else "",
        last_dice=f"{dices[-1][1]:.3f}" if dices else "",
    )


def _corners(curve: Curve, last: int, top: float) -> str:
    every = math.ceil(len(curve) / MAX_POINTS) or 1
    kept = curve[::-1][::every][::-1]  # the last one stays
    return " ".join(f"{_x(step, last):.1f},{_y(value, top):.1f}" for step, value in kept if math.isfinite(value))


def _marks(top: float) -> tuple[Mark, ...]:
    return tuple(Mark(_y(top * n / NUM_MARKS, top), f"{top * n / NUM_MARKS:.3g}") for n in range(NUM_MARKS + 1))


def _x(step: float, last: int) -> float:
    return BOX.left + (BOX.right - BOX.left) * step / last


def _y(value: float, top: float) -> float:
    return BOX.bottom - (BOX.bottom - BOX.top) * min(max(value / top, 0.0), 1.0)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten, so that the axis stays while the curve moves."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 4, 8, 10) if value <= power * factor * (1 + 1e-9))


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
