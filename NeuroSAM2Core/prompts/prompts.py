"""The prompts of an object on a slice: points, a box, a mask, a scribble, a lasso; and as a person types them.

Places are pixels of the slice, (row, col), pixel centres at integers. A `PromptSet` is the complete set, not a change: whoever gets the
latest one knows all prompts of that object on that slice. A scribble becomes a chain of clicks, a lasso a mask; they are kept as the
path of the hand, without its jitter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.volume.plane import SlicePlane


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """A click: this pixel belongs to the object, or it does not."""

    row: float
    col: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.row) and math.isfinite(self.col)):
            raise PromptError(f"point ({self.row}, {self.col}) is not a place")


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A box around the object; the given rows and columns are the outermost ones inside it."""

    row0: float
    col0: float
    row1: float
    col1: float

    def __post_init__(self) -> None:
        box = (self.row0, self.col0, self.row1, self.col1)
        description = f"box ({', '.join(f'{v:g}' for v in box)})"
        if not all(math.isfinite(v) for v in box):
            raise PromptError(f"{description} has a corner that is not a place")
        if self.row1 < self.row0:
            raise PromptError(
                f"{description} has bottom < top; expected top <= bottom", hint="give row0, col0, row1, col1"
            )
        if self.col1 < self.col0:
            raise PromptError(
                f"{description} has right < left; expected left <= right", hint="give row0, col0, row1, col1"
            )


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrompt:
    """The object's outline on the slice, given as a mask (H, W)."""

    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != bool:
            raise PromptError(f"a mask prompt is a (H, W) array of bool; got {self.mask.dtype} {self.mask.shape}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PromptSet:
    """All prompts of one object on one slice."""

    object_id: int
    plane: SlicePlane
    points: tuple[PointPrompt, ...] = ()
    box: BoxPrompt | None = None
    mask: MaskPrompt | None = None
    reading: int = 0
    """Which of the masks that a first click can mean, 0 for the most likely; without a box or a mask only."""
    revision: int = 0
    """Counts the prompt sets of this object and slice; an answer to an older one is out of date."""

    def __post_init__(self) -> None:
        if self.object_id < 1:
            raise PromptError(f"object ids start at 1; got {self.object_id}")
        if self.reading < 0:
            raise PromptError(f"readings are counted from 0; got {self.reading}")
        if self.mask is not None and (self.points or self.box):
            raise PromptError(
                "a mask prompt stands alone on its slice", hint="clear the slice before adding points or a box"
            )

    @property
    def is_empty(self) -> bool:
        """There are no prompts."""
        return not self.points and self.box is None and self.mask is None

    def with_point(self, point: PointPrompt) -> "PromptSet":
        """One more click."""
        return replace(self, points=(*self.points, point), revision=self.revision + 1)

    def with_reading(self, reading: int) -> "PromptSet":
        """Another reading of the first click."""
        return replace(self, reading=reading, revision=self.revision + 1)

    def without_last_point(self) -> "PromptSet":
        """One click fewer."""
        return replace(self, points=self.points[:-1], revision=self.revision + 1)

    def with_box(self, box: BoxPrompt) -> "PromptSet":
        """The box, in place of the one before."""
        return replace(self, box=box, reading=0, revision=self.revision + 1)

    def with_mask(self, mask: MaskPrompt) -> "PromptSet":
        """The mask, in place of everything before."""
        return replace(self, mask=mask, points=(), box=None, reading=0, revision=self.revision + 1)

    def check_inside(self, height: int, width: int) -> None:
        """Checks that every prompt is on the slice.

        Raises:
            PromptError: One is not.
        """
        for point in self.points:
            _check_place(f"point ({point.row:g}, {point.col:g})", point.row, point.col, height, width)
        if self.box is not None:
            b = self.box
            description = f"box ({b.row0:g}, {b.col0:g}, {b.row1:g}, {b.col1:g})"
            _check_place(description, b.row0, b.col0, height, width)
            _check_place(description, b.row1, b.col1, height, width)
        if self.mask is not None and self.mask.mask.shape != (height, width):
            raise PromptError(f"the mask has shape {self.mask.mask.shape}; the slice has {(height, width)}")


def _check_place(description: str, row: float, col: float, height: int, width: int) -> None:
    if not (-0.5 <= row <= height - 0.5 and -0.5 <= col <= width - 0.5):
        raise PromptError(
            f"{description} is outside the slice; rows go from 0 to {height - 1} and columns from 0 to {width - 1}",
            hint="rows and columns are voxel indices of the file's own grid",
        )


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


BOX_EXAMPLE = "for example axial:90:40,60,150,170"
POINT_EXAMPLE = "for example axial:90:100,120,+"


@dataclass(frozen=True, slots=True)
class TypedBox:
    """A box and the slice it was typed for."""

    axis: str
    index: int
    box: BoxPrompt


@dataclass(frozen=True, slots=True)
class TypedPoint:
    """A point and the slice it was typed for."""

    axis: str
    index: int
    point: PointPrompt


def parse_box(text: str) -> TypedBox:
    """`AXIS:INDEX:R0,C0,R1,C1`.

    Raises:
        PromptError: It is not.
    """
    axis, index, rest = _parts(text, "box", BOX_EXAMPLE)
    numbers = _numbers(rest.split(","), text, BOX_EXAMPLE)
    if len(numbers) != 4:
        raise PromptError(f"box {text!r} has {len(numbers)} numbers; expected 4", hint=BOX_EXAMPLE)
    return TypedBox(axis, index, BoxPrompt(*numbers))


def parse_point(text: str) -> TypedPoint:
    """`AXIS:INDEX:R,C[,+|-]`; positive where no sign is given.

    Raises:
        PromptError: It is not.
    """
    axis, index, rest = _parts(text, "point", POINT_EXAMPLE)
    words = rest.split(",")
    sign = words.pop().strip() if words[-1].strip() in ("+", "-") else "+"
    numbers = _numbers(words, text, POINT_EXAMPLE)
    if len(numbers) != 2:
        raise PromptError(f"point {text!r} has {len(numbers)} numbers; expected 2", hint=POINT_EXAMPLE)
    return TypedPoint(axis, index, PointPrompt(numbers[0], numbers[1], sign == "+"))


def _parts(text: str, what: str, example: str) -> tuple[str, int, str]:
    parts = text.split(":")
    if len(parts) != 3:
        raise PromptError(f"{what} {text!r} is not AXIS:INDEX:PLACE", hint=example)
    try:
        return parts[0], int(parts[1]), parts[2]
    except ValueError:
        raise PromptError(f"slice {parts[1]!r} in {text!r} is not a whole number", hint=example) from None


def _numbers(words: list[str], text: str, example: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise PromptError(f"{text!r} has a place that is not a number", hint=example) from None
