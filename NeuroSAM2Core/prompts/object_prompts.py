"""All prompts of one object, as a value: points, boxes, scribbles, lassos and kept slices along one stored axis.

A scene keeps it as Markups, a journal as JSON; comparing two of them shows which slices must be answered again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.decoding import Rules, decoded
from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts.prompts import BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, PromptSet, ScribblePrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume

DECIMALS = 3
"""Places are kept to a thousandth of a pixel, so that they are the same after a way through world positions and files."""


@dataclass(frozen=True, slots=True)
class SlicePoint:
    """A click and its slice."""

    index: int
    point: PointPrompt


@dataclass(frozen=True, slots=True)
class SliceBox:
    """A box and its slice."""

    index: int
    box: BoxPrompt


@dataclass(frozen=True, slots=True)
class SliceScribble:
    """A scribble and its slice."""

    index: int
    scribble: ScribblePrompt


@dataclass(frozen=True, slots=True)
class SliceLasso:
    """A lasso and its slice."""

    index: int
    lasso: LassoPrompt


@dataclass(frozen=True, slots=True)
class ChosenReading:
    """Which of the masks that the first click on a slice can mean."""

    index: int
    reading: int
    """From 1; 0, the most likely one, needs no choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectPrompts:
    """All prompts of an object."""

    axis: Axis | None = None
    """The stored axis whose slices are prompted; None while there are no prompts."""
    points: tuple[SlicePoint, ...] = ()
    """In the order in which they were placed."""
    boxes: tuple[SliceBox, ...] = ()
    """By slice, at most one each."""
    scribbles: tuple[SliceScribble, ...] = ()
    """In the order in which they were drawn."""
    lassos: tuple[SliceLasso, ...] = ()
    """In the order in which they were drawn; what is within any on a slice is the prompt there, alone."""
    kept: frozenset[int] = frozenset()
    """Slices confirmed as they are: their mask is the prompt. A slice with other prompts is confirmed by these."""
    readings: frozenset[ChosenReading] = frozenset()
    """Where another than the most likely reading of the first click was chosen; at most one a slice, none beside a box."""

    @classmethod
    def from_json(cls, payload: Mapping[str, object]) -> "ObjectPrompts":
        """From what `to_json` gives; other keys are passed over.

        Raises:
            DecodingError: Something is missing or of another kind.
            PromptError: A prompt is impossible, such as a box upside down.
        """
        return decoded(_StoredPrompts, payload, "prompts", Rules(skips_unknown=True)).to_prompts()

    def to_json(self) -> dict[str, object]:
        """As JSON values: lists that begin with the slice."""
        return {
            "axis": self.axis,
            "points": [[p.index, p.point.row, p.point.col, p.point.positive] for p in self.points],
            "boxes": [[b.index, b.box.row0, b.box.col0, b.box.row1, b.box.col1] for b in self.boxes],
            "scribbles": [
                [s.index, s.scribble.positive, [list(place) for place in s.scribble.path]] for s in self.scribbles
            ],
            "lassos": [[s.index, [list(place) for place in s.lasso.outline]] for s in self.lassos],
            "kept": sorted(self.kept),
            "readings": sorted([r.index, r.reading] for r in self.readings),
        }

    def named(self) -> dict[str, object]:
        """As JSON values with names, for files that people and other programs read."""
        return {
            "axis": self.axis,
            "points": [
                {"slice": p.index, "row": p.point.row, "col": p.point.col, "positive": p.point.positive}
                for p in self.points
            ],
            "boxes": [
                {"slice": b.index, "row0": b.box.row0, "col0": b.box.col0, "row1": b.box.row1, "col1": b.box.col1}
                for b in self.boxes
            ],
            "scribbles": [
                {"slice": s.index, "positive": s.scribble.positive, "path": s.scribble.path} for s in self.scribbles
            ],
            "lassos": [{"slice": s.index, "outline": s.lasso.outline} for s in self.lassos],
            "readings": [
                {"slice": r.index, "reading": r.reading} for r in sorted(self.readings, key=lambda r: r.index)
            ],
            "prompted_slices": self.prompted_slices,
            "slices_confirmed_by_hand": sorted(self.kept),
        }

    @property
    def indices(self) -> tuple[int, ...]:
        """The prompted slices."""
        return tuple(sorted({one.index for some in self._placed for one in some} | self.kept))

    @property
    def planes(self) -> tuple[SlicePlane, ...]:
        """The prompted slices."""
        return () if self.axis is None else tuple(SlicePlane(self.axis, index) for index in self.indices)

    @property
    def prompted_slices(self) -> tuple[int, ...]:
        """The slice of every prompt but kept slices: as often as it has prompts."""
        return tuple(one.index for some in self._placed for one in some)

    @property
    def count(self) -> int:
        """Of all prompts but kept slices."""
        return sum(map(len, self._placed))

    def confirms(self, plane: SlicePlane) -> bool:
        """The slice has prompts."""
        is_placed = any(one.index == plane.index for some in self._placed for one in some)
        return plane.axis == self.axis and (plane.index in self.kept or is_placed)

    def on(self, index: int) -> "ObjectPrompts":
        """The prompts on one slice."""
        return self._on_slices(lambda one: one == index)

    def reading_on(self, index: int) -> int:
        """Which reading of the first click on a slice was chosen, 0 for the most likely."""
        return next((r.reading for r in self.readings if r.index == index), 0)

    def is_single_click(self, index: int) -> bool:
        """The only prompt on a slice is one click, which can mean several things."""
        prompts = self.on(index)
        return len(prompts.points) == prompts.count == 1 and not prompts.kept

    def without(self, index: int) -> "ObjectPrompts":
        """Everything but one slice."""
        return self._on_slices(lambda one: one != index)._consistent_answer()

    def with_point(self, plane: SlicePlane, point: PointPrompt) -> "ObjectPrompts":
        """One more click; it takes the place of a kept mask, and of a lasso.

        Raises:
            PromptError: The object is segmented along another axis.
        """
        along = self._along(plane)._without_masks(plane.index)
        placed = SlicePoint(plane.index, rounded_point(point.row, point.col, positive=point.positive))
        return replace(along, points=(*along.points, placed))

    def with_box(self, plane: SlicePlane, box: BoxPrompt) -> "ObjectPrompts":
        """The box in place of the one before; see `with_point`."""
        along = self._along(plane)._without_masks(plane.index)
        placed = SliceBox(plane.index, rounded_box(box.row0, box.col0, box.row1, box.col1))
        others = (b for b in along.boxes if b.index != plane.index)
        boxes = tuple(sorted((*others, placed), key=lambda b: b.index))
        return replace(along, boxes=boxes, readings=along._readings_but(plane.index))

    def with_scribble(self, plane: SlicePlane, scribble: ScribblePrompt) -> "ObjectPrompts":
        """One more scribble; see `with_point`."""
        along = self._along(plane)._without_masks(plane.index)
        placed = SliceScribble(plane.index, scribble)
        return replace(along, scribbles=(*along.scribbles, placed), readings=along._readings_but(plane.index))

    def with_lasso(self, plane: SlicePlane, lasso: LassoPrompt) -> "ObjectPrompts":
        """One more lasso, in place of what else is on the slice; see `with_point`."""
        along = self._along(plane)
        others = replace(along.without(plane.index), axis=along.axis)
        return replace(others, lassos=(*along.lassos, SliceLasso(plane.index, lasso)))

    def with_reading(self, plane: SlicePlane, reading: int) -> "ObjectPrompts":
        """Another reading of the first click on a slice, 0 for the most likely; see `with_point`."""
        along = self._along(plane)
        chosen = frozenset({ChosenReading(plane.index, reading)} if reading else ())
        return replace(along, readings=along._readings_but(plane.index) | chosen)

    def keeping_readings_since(self, before: "ObjectPrompts") -> "ObjectPrompts":
        """Without the readings of slices whose first click is another one than before, or which have none or a box."""
        return replace(
            self,
            readings=frozenset(
                r
                for r in self.readings
                if not self.on(r.index).boxes and self.on(r.index).points[:1] == before.on(r.index).points[:1] != ()
            ),
        )

    def with_confirmed(self, plane: SlicePlane) -> "ObjectPrompts":
        """The mask as it stands confirms the slice, in place of the prompts there; see `with_point`."""
        along = self._along(plane)
        return replace(along.without(plane.index), axis=along.axis, kept=along.kept | {plane.index})

    def changed_since(self, before: "ObjectPrompts") -> tuple[SlicePlane, ...]:
        """The slices whose prompts differ from those before, removed ones included."""
        planes = dict.fromkeys((*before.planes, *self.planes))
        is_other_axis = before.axis != self.axis
        return tuple(p for p in planes if is_other_axis or self.on(p.index) != before.on(p.index))

    def prompt_set(
        self,
        object_id: int,
        plane: SlicePlane,
        *,
        revision: int,
        mask: NDArray[np.bool_] | None,
        shape: tuple[int, int] | None = None,
    ) -> PromptSet:
        """What the engine is told about a slice.

        Args:
            object_id: The object.
            plane: The slice; without prompts the set is empty.
            revision: Of the prompt set.
            mask: The object on the slice as it stands, (H, W): the prompt of a kept slice.
            shape: Of the slice; needed where it has a lasso.
        """
        prompts = self.on(plane.index) if plane.axis == self.axis else ObjectPrompts()
        if prompts.lassos:
            assert shape is not None, "a lasso becomes a mask of the slice"
            mask = np.logical_or.reduce([one.lasso.mask(shape) for one in prompts.lassos])
        elif not prompts.kept:
            mask = None
        clicks = [click for one in prompts.scribbles for click in one.scribble.clicks]
        return PromptSet(
            object_id=object_id,
            plane=plane,
            points=(*clicks, *(p.point for p in prompts.points)),
            box=prompts.boxes[0].box if prompts.boxes else None,
            mask=None if mask is None else MaskPrompt(mask),
            reading=prompts.reading_on(plane.index),
            revision=revision,
        )

    def inside(self, volume: Volume) -> "ObjectPrompts":
        """Only what lies on slices of a volume."""
        if self.axis is None:
            return self
        axis, kji = self.axis.array_axis, volume.shape
        height, width = (n for a, n in enumerate(kji) if a != axis)
        known = range(kji[axis])

        def is_inside(row: float, col: float) -> bool:
            return -0.5 <= row <= height - 0.5 and -0.5 <= col <= width - 0.5

        there = self._on_slices(lambda index: index in known)
        return replace(
            there,
            points=tuple(p for p in there.points if is_inside(p.point.row, p.point.col)),
            boxes=tuple(
                b for b in there.boxes if is_inside(b.box.row0, b.box.col0) and is_inside(b.box.row1, b.box.col1)
            ),
            scribbles=tuple(s for s in there.scribbles if all(is_inside(*place) for place in s.scribble.path)),
        )._consistent_answer()

    def _on_slices(self, is_wanted: Callable[[int], bool]) -> "ObjectPrompts":
        """What is on some slices."""
        return replace(
            self,
            points=tuple(one for one in self.points if is_wanted(one.index)),
            boxes=tuple(one for one in self.boxes if is_wanted(one.index)),
            scribbles=tuple(one for one in self.scribbles if is_wanted(one.index)),
            lassos=tuple(one for one in self.lassos if is_wanted(one.index)),
            kept=frozenset(filter(is_wanted, self.kept)),
            readings=frozenset(one for one in self.readings if is_wanted(one.index)),
        )

    @property
    def _placed(self) -> tuple[Sequence[SlicePoint | SliceBox | SliceScribble | SliceLasso], ...]:
        return self.points, self.boxes, self.scribbles, self.lassos

    def _without_masks(self, index: int) -> "ObjectPrompts":
        """Without the masks of a slice, which take no other prompts beside them."""
        lassos = tuple(s for s in self.lassos if s.index != index)
        return replace(self, kept=self.kept - {index}, lassos=lassos)

    def _readings_but(self, index: int) -> frozenset[ChosenReading]:
        return frozenset(r for r in self.readings if r.index != index)

    def _along(self, plane: SlicePlane) -> "ObjectPrompts":
        if self.axis not in (None, plane.axis):
            raise PromptError(
                f"this object is segmented along {self.axis}; a prompt along {plane.axis} was given",
                hint="prompt in the same view, or start another object",
            )
        return replace(self, axis=plane.axis)

    def _consistent_answer(self) -> "ObjectPrompts":
        """Without an axis where no prompts are left."""
        return self if self.indices else ObjectPrompts()


def rounded_point(row: float, col: float, *, positive: bool) -> PointPrompt:
    """A point at the precision that places are kept in."""
    return PointPrompt(round(row, DECIMALS) + 0.0, round(col, DECIMALS) + 0.0, positive)


def rounded_box(row0: float, col0: float, row1: float, col1: float) -> BoxPrompt:
    """A box at the precision that places are kept in."""
    return BoxPrompt(*(round(place, DECIMALS) + 0.0 for place in (row0, col0, row1, col1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredPrompts:
    """`ObjectPrompts` in JSON."""

    axis: Axis | None
    points: tuple[tuple[int, float, float, bool], ...]
    boxes: tuple[tuple[int, float, float, float, float], ...]
    kept: tuple[int, ...]
    readings: tuple[tuple[int, int], ...] = ()
    scribbles: tuple[tuple[int, bool, tuple[tuple[float, float], ...]], ...] = ()
    lassos: tuple[tuple[int, tuple[tuple[float, float], ...]], ...] = ()

    def to_prompts(self) -> ObjectPrompts:
        return ObjectPrompts(
            axis=self.axis,
            points=tuple(
                SlicePoint(index, PointPrompt(row, col, is_positive)) for index, row, col, is_positive in self.points
            ),
            boxes=tuple(SliceBox(index, BoxPrompt(*box)) for index, *box in self.boxes),
            scribbles=tuple(
                SliceScribble(index, ScribblePrompt(path, is_positive)) for index, is_positive, path in self.scribbles
            ),
            lassos=tuple(SliceLasso(index, LassoPrompt(outline)) for index, outline in self.lassos),
            kept=frozenset(self.kept),
            readings=frozenset(ChosenReading(*one) for one in self.readings),
        )
