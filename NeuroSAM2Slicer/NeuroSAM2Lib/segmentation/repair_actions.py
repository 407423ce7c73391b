"""Repairs of the active object by hand. Each is one undo step, and the slices that it changes are confirmed, as painted ones are.

What a repair makes of a mask is decided by `NeuroSAM2Core.repair` and `NeuroSAM2Core.components.cpu`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import fill_holes, largest_component
from NeuroSAM2Core.errors import ConfigError, PromptError
from NeuroSAM2Core.prompts import LassoPrompt
from NeuroSAM2Core.repair import (
    MAX_MM,
    close_gaps,
    fill_between,
    grow,
    open_bridges,
    paint_ball,
    paint_disc,
    part_at,
    remove_small_parts,
    shrink,
    smooth,
    split_parts,
)
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import path_on, pick_pixel
from NeuroSAM2Lib.segmentation.controller import SessionController

Mask = NDArray[np.bool_]
UNCHANGED = _("there was nothing to change")


class Scope(Enum):
    """Where a repair is done."""

    SLICE = "slice"
    OBJECT = "object"


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairSettings:
    """How repairs are done."""

    scope: Scope = Scope.OBJECT
    length_mm: float = 1.0
    """How far is grown, shrunk and smoothed, and how wide a small part is."""

    def __post_init__(self) -> None:
        if not 0 < self.length_mm <= MAX_MM:
            raise ConfigError(
                _("the length is {length_mm} mm").format(length_mm=self.length_mm),
                hint=_("give more than 0 and at most {most} mm").format(most=MAX_MM),
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Brush:
    """What is painted with."""

    radius_mm: float = 3.0
    is_sphere: bool = False
    """It paints the slices around as well."""

    def __post_init__(self) -> None:
        if not 0 < self.radius_mm <= MAX_MM:
            raise ConfigError(
                _("the radius is {radius_mm} mm").format(radius_mm=self.radius_mm),
                hint=_("give more than 0 and at most {most} mm").format(most=MAX_MM),
            )


class RepairActions:
    """What can be repaired of the active object of a session.

    Every action raises `PromptError` where there is no object, and `DataError` where it is locked.

    Args:
        session: The session.
        plane: The slice that is looked at.
        settings: How it is done.
    """

    def __init__(self, session: SessionController, plane: SlicePlane, settings: RepairSettings) -> None:
        self._session, self._plane, self._settings = session, plane, settings
        self._document = session.document

    def keep_largest(self) -> None:
        """Keeps the largest part."""
        self._repair(_("Keep largest part"), lambda mask, spacing: largest_component(mask))

    def remove_small(self) -> None:
        """Removes parts that are narrower than the length; the largest stays."""
        self._repair(_("Remove small parts"), partial(remove_small_parts, width_mm=self._settings.length_mm))

    def fill_holes(self) -> None:
        """Fills what is enclosed."""
        self._repair(_("Fill holes"), lambda mask, spacing: fill_holes(mask))

    def smooth(self) -> None:
        """Smooths the outline by a median."""
        self._repair(_("Smooth"), partial(smooth, length_mm=self._settings.length_mm))

    def open(self) -> None:
        """Takes thin bridges and spikes away."""
        self._repair(_("Remove thin parts"), partial(open_bridges, length_mm=self._settings.length_mm))

    def close(self) -> None:
        """Fills narrow gaps."""
        self._repair(_("Close gaps"), partial(close_gaps, length_mm=self._settings.length_mm))

    def grow(self) -> None:
        """Makes it larger all around."""
        self._repair(_("Grow"), partial(grow, length_mm=self._settings.length_mm))

    def shrink(self) -> None:
        """Makes it smaller all around."""
        self._repair(_("Shrink"), partial(shrink, length_mm=self._settings.length_mm))

    def keep_part(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Keeps only the part at a world position, (3,) in mm.

        Raises:
            PromptError: There is none, or the position is outside the volume.
        """
        self._choose_part(ras, view, _("Keep part"), keeps=True)

    def remove_part(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Removes the part at a world position; see `keep_part`."""
        self._choose_part(ras, view, _("Remove part"), keeps=False)

    def split(self) -> None:
        """Makes an object of each part but the largest.

        Raises:
            DataError: They are too many.
        """
        with self._session.action():
            number, before = self._begin()
            largest, *others = split_parts(before) or [before]
            if not others:
                self._session.notice = _("it has one part only")
                return
            parts = [self._changed(np.zeros_like(part), part) for part in others]
            self._redraw(number, self._changed(before, largest), _("Split"), parts)

    def fill_between(self) -> None:
        """Draws the slices between confirmed ones by their shapes; of an object without any, between those that show it."""
        with self._session.action():
            number, before = self._begin()
            axis = self._plane.axis
            spacing = self._spacing(axis)
            known = {index: self._of(before, index) for index in self._keys(number, before)}
            drawn = {
                SlicePlane(axis, index): mask
                for index, mask in fill_between(known, spacing).items()
                if not np.array_equal(mask, self._of(before, index))
            }
            self._finish(number, drawn, _("Fill between slices"))

    def remove_from_slice(self) -> None:
        """The object is not on this slice."""
        with self._session.action():
            number, before = self._begin()
            empty = np.zeros_like(self._of(before, self._plane.index))
            self._redraw(number, {self._plane: empty}, _("Not on this slice"))

    def copy_to_neighbour(self, offset: int) -> SlicePlane:
        """What is on this slice is on the next one (1) or the one before (-1), too. Returns that slice.

        Raises:
            PromptError: There is nothing here, or no slice there.
        """
        with self._session.action():
            number, before = self._begin()
            target = SlicePlane(self._plane.axis, self._plane.index + offset)
            mask = self._of(before, self._plane.index)
            if not mask.any():
                raise PromptError(_("the object is not on this slice"), hint=_("go to a slice that shows it"))
            if not 0 <= target.index < self._document.volume.shape[target.axis.array_axis]:
                raise PromptError(_("there is no slice beyond this one"), hint=_("copy in the other direction"))
            self._redraw(number, {target: mask}, _("Copy to next slice"))
            return target

    def paint(
        self, path: Sequence[Matrix], brush: Brush, view: slicer.vtkMRMLSliceNode | None = None, *, adds: bool = True
    ) -> None:
        """Paints along a path on a slice, or rubs out.

        Args:
            path: World positions, (3,) in mm each.
            brush: What with.
            view: Where it was drawn.
            adds: Or rubs out.
        """
        with self._session.action():
            number = self._number()
            plane, pixels, shape = self._on_slice(path, view)
            spacing, volume = self._spacing(plane.axis), self._document.volume
            if brush.is_sphere:
                slice_mm = volume.spacing_mm["ijk".index(plane.axis)]
                painted = paint_ball(pixels, brush.radius_mm, shape, spacing, slice_mm)
            else:
                painted = {0: paint_disc(pixels, brush.radius_mm, shape, spacing)}
            last = volume.shape[plane.axis.array_axis] - 1
            masks = {
                SlicePlane(plane.axis, plane.index + offset): mask
                for offset, mask in painted.items()
                if 0 <= plane.index + offset <= last
            }
            self._draw(number, masks, _("Brush") if adds else _("Eraser"), adds=adds)

    def cut(self, path: Sequence[Matrix], view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Cuts out what is within a closed outline on a slice; see `paint`."""
        with self._session.action():
            number = self._number()
            plane, pixels, shape = self._on_slice(path, view)
            self._draw(number, {plane: LassoPrompt.drawn(pixels).mask(shape)}, _("Scissors"), adds=False)

    def _draw(self, number: int, masks: Mapping[SlicePlane, Mask], name: str, *, adds: bool) -> None:
        """Adds to the object, or takes away, what a stroke has covered on slices."""
        drawn = {}
        for plane, covered in masks.items():
            before = self._document.slice_io.read(number, plane)
            after = before | covered if adds else before & ~covered
            if not np.array_equal(before, after):
                drawn[plane] = after
        self._finish(number, drawn, name)

    def _on_slice(
        self, path: Sequence[Matrix], view: slicer.vtkMRMLSliceNode | None
    ) -> tuple[SlicePlane, list[tuple[float, float]], tuple[int, int]]:
        """The slice that a path is on, its pixels, and the slice's shape."""
        plane = self._session.pick_drawn(path[0], view).plane
        height, width = plane.of(self._document.volume.voxels).shape
        return plane, path_on(self._document.volume, plane, path), (height, width)

    def _repair(self, name: str, repair: Callable[[Mask, tuple[float, ...]], Mask]) -> None:
        with self._session.action():
            number, before = self._begin()
            spacing = self._document.volume.spacing_mm[::-1]
            if self._settings.scope is Scope.SLICE:
                mask = self._of(before, self._plane.index)
                after = repair(mask, self._spacing(self._plane.axis))
                drawn = {} if np.array_equal(mask, after) else {self._plane: after}
            else:
                drawn = self._changed(before, repair(before, spacing))
            self._finish(number, drawn, name)

    def _choose_part(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None, name: str, *, keeps: bool) -> None:
        with self._session.action():
            number, before = self._begin()
            volume = self._document.volume
            picked = pick_pixel(volume, ras, axis=self._document.axis_of(number), view=view)
            pixel = round(picked.row), round(picked.col)
            is_slice = self._settings.scope is Scope.SLICE
            i, j, k = (round(one) for one in picked.plane.to_ijk(*map(float, pixel)))
            mask = picked.plane.of(before) if is_slice else before
            part = part_at(mask, pixel if is_slice else (k, j, i))
            if not part.any():
                raise PromptError(_("the object is not there"), hint=_("click on a part of it"))
            after = part if keeps else mask & ~part
            if np.array_equal(mask, after):
                drawn = {}
            else:
                drawn = {picked.plane: after} if is_slice else self._changed(before, after)
            self._finish(number, drawn, name)

    def _number(self) -> int:
        number = self._document.active
        if number is None:
            raise PromptError(_("there is no object yet"), hint=_("place a point or a box first"))
        self._document.objects.check_unlocked(number)
        return number

    def _begin(self) -> tuple[int, Mask]:
        """The active object, and its voxels (K, J, I) as they are."""
        number = self._number()
        return number, self._document.slice_io.read_whole(number)

    def _finish(self, number: int, drawn: Mapping[SlicePlane, Mask], name: str) -> None:
        if drawn:
            self._redraw(number, drawn, name)
        else:
            self._session.notice = UNCHANGED

    def _redraw(
        self,
        number: int,
        drawn: Mapping[SlicePlane, Mask],
        name: str,
        parts: list[dict[SlicePlane, Mask]] | None = None,
    ) -> None:
        self._session.abandon(number)
        self._document.redraw(number, drawn, name, parts=parts or ())

    def _changed(self, before: Mask, after: Mask) -> dict[SlicePlane, Mask]:
        """The slices on which two masks differ, as they are afterwards."""
        axis = self._plane.axis
        others = tuple(a for a in range(3) if a != axis.array_axis)
        indices = np.flatnonzero((before != after).any(axis=others)).tolist()
        return {SlicePlane(axis, index): self._of(after, index).copy() for index in indices}

    def _of(self, whole: Mask, index: int) -> Mask:
        """A slice along the axis that is looked at."""
        return SlicePlane(self._plane.axis, index).of(whole)

    def _spacing(self, axis: Axis) -> tuple[float, float]:
        """Millimetres between rows and between columns of a slice."""
        rows, cols = (one for a, one in enumerate(self._document.volume.spacing_mm[::-1]) if a != axis.array_axis)
        return rows, cols

    def _keys(self, number: int, before: Mask) -> list[int]:
        """The slices between which others are drawn: confirmed ones, and those that were painted."""
        record, axis = self._document.objects.record(number), self._plane.axis
        if record.prompts.axis == axis:
            painted = {plane.index for plane in self._document.slice_io.edited_by_hand(number)}
            return sorted({plane.index for plane in record.prompts.planes} | painted)
        others = tuple(a for a in range(3) if a != axis.array_axis)
        return [int(index) for index in np.flatnonzero(before.any(axis=others))]
