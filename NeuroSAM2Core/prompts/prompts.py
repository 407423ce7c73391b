"""The prompts of an object on a slice: points, a box, a mask.

Places are pixels of the slice, (row, col), pixel centres at integers. A `PromptSet` is the complete set, not a change: whoever gets the
latest one knows all prompts of that object on that slice.
"""

import math
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
