"""Simulates a user who segments one object through the real engine.

One prompt on the slice where the object is largest, the whole volume, then corrections as a person makes them: a click in the middle of
the largest error on the slice with the most wrong voxels, and the volume again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.measures.agreement import dice
from NeuroSAM2Core.prompts import box_from_mask, click_from_error
from NeuroSAM2Core.training.config.evaluation import FirstPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane

OBJECT_ID = 1
Mask = NDArray[np.bool_]


class Segmenter(Protocol):
    """What is measured: the engine's `Session`, or another tool behind the same prompts."""

    def add_box(self, object_id: int, axis: str, index: int, box: Sequence[float], /) -> object:
        """A box (row0, col0, row1, col1) on a slice."""

    def add_point(
        self, object_id: int, axis: str, index: int, point: Sequence[float], /, *, positive: bool = True
    ) -> object:
        """A click (row, col) on a slice."""

    def propagate(self, object_id: int, /) -> Iterable[object]:
        """Carries the object through the volume, slice by slice."""

    def mask(self, object_id: int, /) -> Mask:
        """The current mask of the object, (K, J, I)."""


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """The result after some prompts."""

    clicks: int
    """Correction clicks so far."""
    dice: float
    """Over the whole volume."""
    slice_dice: float
    """On the slice prompted last."""
    mask: Mask
    """(K, J, I)."""


def evaluate(
    session: Segmenter,
    truth: Mask,
    axis: Axis,
    *,
    start: FirstPrompt = "box",
    num_clicks: int = 5,
    on_slice: Callable[[], object] = lambda: None,
) -> Iterator[Round]:
    """Yields the result after the first prompt and after each correction; ends early where nothing is wrong.

    Args:
        session: Without prompts.
        truth: The object, (K, J, I).
        axis: The stored axis that slices are cut along.
        start: The first prompt: the tight box, or a click in the middle.
        num_clicks: Corrections.
        on_slice: Called after every slice that was done.

    Raises:
        DataError: The truth is empty.
    """
    if not truth.any():
        raise DataError("the label is empty: there is nothing to evaluate")
    plane = SlicePlane(axis, largest_slice(truth, axis))
    middle = click_from_error(plane.of(truth), np.zeros_like(plane.of(truth)))
    box = box_from_mask(plane.of(truth))
    assert middle is not None
    assert box is not None
    if start == "box":
        session.add_box(OBJECT_ID, axis, plane.index, (box.row0, box.col0, box.row1, box.col1))
    else:
        session.add_point(OBJECT_ID, axis, plane.index, (middle.row, middle.col))
    for clicks in range(num_clicks + 1):
        for _ in session.propagate(OBJECT_ID):
            on_slice()
        found = session.mask(OBJECT_ID)
        yield Round(clicks, dice(found, truth), dice(plane.of(found), plane.of(truth)), found)
        if clicks == num_clicks:
            return
        plane = SlicePlane(axis, largest_slice(found ^ truth, axis))
        click = click_from_error(plane.of(truth), plane.of(found))
        if click is None:
            return
        session.add_point(OBJECT_ID, axis, plane.index, (click.row, click.col), positive=click.positive)


def largest_slice(mask: Mask, axis: Axis) -> int:
    """The slice with the most voxels."""
    others = tuple(a for a in range(3) if a != axis.array_axis)
    return int(mask.sum(axis=others).argmax())


def clicks_to(rounds: Sequence[Round], target: float) -> int | None:
    """Corrections until the Dice was reached; None if it was not."""
    return next((r.clicks for r in rounds if r.dice >= target), None)
