"""Prompts that are drawn: a scribble, which becomes a chain of clicks, and a lasso, which becomes a mask.

They are kept as the path of the hand, without its jitter: places are pixels of the slice, (row, col), pixel centres at integers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts.prompts import PointPrompt

Mask = NDArray[np.bool_]
Path = tuple[tuple[float, float], ...]
"""Places, (row, col)."""
DECIMALS = 3
JITTER_PX = 0.5
"""A path is kept to this."""
MAX_PLACES = 100
"""Of a path that is kept; a longer one is kept less exactly."""
MAX_CLICKS = 12
"""Of a scribble, however long and winding it is."""
CLICKS_OF_A_LINE = 3
TURN_OF_A_CLICK = math.radians(45)
"""A scribble gets one click more for each such bend."""


@dataclass(frozen=True, slots=True)
class ScribblePrompt:
    """A line through what belongs to the object, or through what does not."""

    path: Path
    positive: bool = True

    def __post_init__(self) -> None:
        _check_places(self.path, "scribble", 1)

    @classmethod
    def drawn(cls, path: Sequence[tuple[float, float]], *, positive: bool = True) -> "ScribblePrompt":
        """From the places of the hand, however many."""
        return cls(simplified(path), positive)

    @property
    def clicks(self) -> tuple[PointPrompt, ...]:
        """The clicks that say the same, from one end to the other: few along a straight line, more where it bends."""
        return tuple(PointPrompt(row, col, self.positive) for row, col in _spaced_by_bends(self.path))


@dataclass(frozen=True, slots=True)
class LassoPrompt:
    """A closed outline around the object on a slice, or around a part of it."""

    outline: Path

    def __post_init__(self) -> None:
        _check_places(self.outline, "lasso", 3)

    @classmethod
    def drawn(cls, path: Sequence[tuple[float, float]]) -> "LassoPrompt":
        """From the places of the hand, however many.

        Raises:
            PromptError: They enclose nothing.
        """
        return cls(simplified(path))

    def mask(self, shape: tuple[int, int]) -> Mask:
        """The pixels within it, (H, W): those whose centre is; where it crosses itself, by the even-odd rule."""
        return _inside(self.outline, shape)


def simplified(path: Sequence[tuple[float, float]]) -> Path:
    """The path without jitter, at the precision that places are kept in.

    Source: Douglas and Peucker, "Algorithms for the reduction of the number of points", 1973.
    """
    places = np.asarray(path, float).reshape(-1, 2)
    tolerance = JITTER_PX
    while len(kept := places[_corners(places, tolerance)]) > MAX_PLACES:
        tolerance *= 1.5
    return tuple((round(float(row), DECIMALS) + 0.0, round(float(col), DECIMALS) + 0.0) for row, col in kept)


def _check_places(path: Path, name: str, least: int) -> None:
    if len(path) < least or not all(math.isfinite(place) for pair in path for place in pair):
        raise PromptError(f"this {name} is too short", hint="keep the button of the mouse pressed while you draw")


def _corners(places: NDArray[np.float64], tolerance: float) -> list[int]:
    """The places that stay: the ends, and those from which the path without them would be too far away."""
    kept, todo = {0, len(places) - 1}, [(0, len(places) - 1)]
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        way = places[last] - places[first]
        offsets = places[first + 1 : last] - places[first]
        length = float(way @ way)
        along = np.clip(offsets @ way / length, 0, 1) if length else np.zeros(len(offsets))
        away = np.linalg.norm(offsets - along[:, None] * way, axis=1)
        if away.max() > tolerance:
            middle = first + 1 + int(away.argmax())
            kept.add(middle)
            todo += [(first, middle), (middle, last)]
    return sorted(kept)


def _spaced_by_bends(path: Path) -> Path:
    """Places along a path, at equal parts of its length and its bends taken together."""
    places = np.asarray(path, float)
    steps = np.diff(places, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    if len(path) < 2 or not lengths.any():
        return path[:1]
    steps, lengths = steps[lengths > 0], lengths[lengths > 0]
    angles = np.arctan2(steps[:, 0], steps[:, 1])
    turns = np.abs((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi) / TURN_OF_A_CLICK
    efforts = lengths / lengths.sum() * (CLICKS_OF_A_LINE - 1)
    efforts[1:] += turns / 2
    efforts[:-1] += turns / 2
    count = min(MAX_CLICKS, 1 + round(float(efforts.sum())))
    walked, spent = (np.concatenate([[0.0], np.cumsum(one)]) for one in (lengths, efforts))
    at = np.interp(np.linspace(0, spent[-1], count), spent, walked)
    corners = np.concatenate([places[:1], places[:1] + np.cumsum(steps, axis=0)])
    rows, cols = (np.interp(at, walked, corners[:, axis]) for axis in (0, 1))
    found = zip(rows.tolist(), cols.tolist(), strict=True)
    return tuple(dict.fromkeys((round(row, DECIMALS) + 0.0, round(col, DECIMALS) + 0.0) for row, col in found))


def _inside(outline: Path, shape: tuple[int, int]) -> Mask:
    """The pixels within a closed outline; where it crosses itself, by the even-odd rule."""
    mask = np.zeros(shape, bool)
    places = np.asarray(outline, float).reshape(-1, 2)
    if len(places) < 3:
        return mask
    (top, left), (bottom, right) = np.floor(places.min(axis=0)), np.ceil(places.max(axis=0))
    rows = np.arange(max(0, int(top)), min(shape[0] - 1, int(bottom)) + 1)
    cols = np.arange(max(0, int(left)), min(shape[1] - 1, int(right)) + 1)
    if not len(rows) or not len(cols):
        return mask
    inside = np.zeros((len(rows), len(cols)), bool)
    for (row0, col0), (row1, col1) in zip(places, np.roll(places, -1, axis=0), strict=True):
        crossed = (row0 > rows) != (row1 > rows)
        if crossed.any():
            at = col0 + (rows[crossed] - row0) * (col1 - col0) / (row1 - row0)
            inside[crossed] ^= cols[None, :] < at[:, None]
    mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] = inside
    return mask
