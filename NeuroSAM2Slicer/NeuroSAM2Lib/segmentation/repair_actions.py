"""Repairs of the active object by hand. Each is one undo step, and the slices that it changes are confirmed, as painted ones are.

What a repair makes of a mask is decided by `NeuroSAM2Core.repair_task`. One of a large object goes on at the polls of the session, see
`BackgroundRun`; if the object changes before it is computed, it is dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ConfigError, PromptError
from NeuroSAM2Core.measures import ObjectMask
from NeuroSAM2Core.prompts import LassoPrompt
from NeuroSAM2Core.repair import MAX_MM, paint_ball, paint_disc, part_at
from NeuroSAM2Core.repair_task import ChangedSlices, RepairKind, RepairTask, repaired
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.beside import Work
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import path_on, pick_pixel
from NeuroSAM2Lib.segmentation.background_run import FEW_SLICES
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.view_state import Activity

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
        self._repair(_("Keep largest part"), RepairKind.KEEP_LARGEST)

    def remove_small(self) -> None:
        """Removes parts that are narrower than the length; the largest stays."""
        self._repair(_("Remove small parts"), RepairKind.REMOVE_SMALL)

    def fill_holes(self) -> None:
        """Fills what is enclosed."""
        self._repair(_("Fill holes"), RepairKind.FILL_HOLES)

    def smooth(self) -> None:
        """Smooths the outline by a median."""
        self._repair(_("Smooth"), RepairKind.SMOOTH)

    def open(self) -> None:
        """Takes thin bridges and spikes away."""
        self._repair(_("Remove thin parts"), RepairKind.OPEN)

    def close(self) -> None:
        """Fills narrow gaps."""
        self._repair(_("Close gaps"), RepairKind.CLOSE)

    def grow(self) -> None:
        """Makes it larger all around."""
        self._repair(_("Grow"), RepairKind.GROW)

    def shrink(self) -> None:
        """Makes it smaller all around."""
        self._repair(_("Shrink"), RepairKind.SHRINK)

    def keep_part(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Keeps only the part at a world position, (3,) in mm.

        Raises:
            PromptError: There is none, or the position is outside the volume.
        """
        self._choose_part(ras, view, _("Keep part"), RepairKind.KEEP_PART)

    def remove_part(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Removes the part at a world position; see `keep_part`."""
        self._choose_part(ras, view, _("Remove part"), RepairKind.REMOVE_PART)

    def split(self) -> None:
        """Makes an object of each part but the largest.

        Raises:
            DataError: They are too many.
        """
        with self._session.action():
            self._begin(self._number(), _("Split"), RepairKind.SPLIT)

    def fill_between(self) -> None:
        """Draws the slices between confirmed ones by their shapes; of an object without any, between those that show it."""
        with self._session.action():
            self._begin(self._number(), _("Fill between slices"), RepairKind.FILL_BETWEEN)

    def remove_from_slice(self) -> None:
        """The object is not on this slice."""
        with self._session.action():
            number = self._number()
            empty = np.zeros_like(self._document.slice_io.read(number, self._plane))
            self._redraw(number, {self._plane: empty}, _("Not on this slice"))

    def copy_to_neighbour(self, offset: int) -> SlicePlane:
        """What is on this slice is on the next one (1) or the one before (-1), too. Returns that slice.

        Raises:
            PromptError: There is nothing here, or no slice there.
        """
        with self._session.action():
            number = self._number()
            target = SlicePlane(self._plane.axis, self._plane.index + offset)
            mask = self._document.slice_io.read(number, self._plane)
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

    def _repair(self, name: str, kind: RepairKind) -> None:
        with self._session.action():
            number = self._number()
            if self._settings.scope is Scope.OBJECT:
                self._begin(number, name, kind)
                return
            mask = self._document.slice_io.read(number, self._plane)
            after = repaired(kind, mask, self._spacing(self._plane.axis), self._settings.length_mm)
            self._finish(number, {} if np.array_equal(mask, after) else {self._plane: after}, name)

    def _choose_part(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None, name: str, kind: RepairKind) -> None:
        with self._session.action():
            number = self._number()
            picked = pick_pixel(self._document.volume, ras, axis=self._document.axis_of(number), view=view)
            row, col = round(picked.row), round(picked.col)
            mask = self._document.slice_io.read(number, picked.plane)
            if not mask[row, col]:
                raise PromptError(_("the object is not there"), hint=_("click on a part of it"))
            if self._settings.scope is Scope.OBJECT:
                i, j, k = (round(one) for one in picked.plane.to_ijk(float(row), float(col)))
                self._begin(number, name, kind, place=(k, j, i))
                return
            part = part_at(mask, (row, col))
            after = part if kind is RepairKind.KEEP_PART else mask & ~part
            self._finish(number, {} if np.array_equal(mask, after) else {picked.plane: after}, name)

    def _number(self) -> int:
        number = self._document.active
        if number is None:
            raise PromptError(_("there is no object yet"), hint=_("place a point or a box first"))
        self._document.objects.check_unlocked(number)
        return number

    def _begin(self, number: int, name: str, kind: RepairKind, *, place: tuple[int, int, int] | None = None) -> None:
        """Repairs the object in 3-D: at once where it is small, otherwise at the session's polls."""
        k, j, i = self._document.volume.spacing_mm[::-1]
        task = RepairTask(
            kind=kind,
            image_shape=self._document.volume.shape,
            spacing_mm=(k, j, i),
            first=(0, 0, 0),
            axis=self._plane.axis.array_axis,
            length_mm=self._settings.length_mm,
            place=place,
        )
        run, shape = self._session.background, self._document.slice_io.reach(number)
        if run.beside is None or (shape[task.axis] <= FEW_SLICES and task.is_quick(shape)):
            for _step in self._repairing(number, name, task, is_at_once=True):
                pass
        else:
            run.begin(self._repairing(number, name, task, is_at_once=False), Activity.REPAIRING)
            self._session.abandon(number)

    def _repairing(self, number: int, name: str, task: RepairTask, *, is_at_once: bool) -> Work[None]:
        run, volume, axis = self._session.background, self._document.volume, self._plane.axis
        before = yield from self._session.reading(number)
        if before.is_empty:
            self._session.notice = UNCHANGED
            return
        keys = self._keys(number, before) if task.kind is RepairKind.FILL_BETWEEN else ()
        task = replace(task, first=before.first, keys=keys)
        if is_at_once or run.beside is None or task.is_quick(before.voxels.shape):
            changes = task.changes(before.voxels)
        else:
            changes = yield from run.beside.changes(task, before.voxels)
        if not is_at_once:
            yield from self._session.check_unchanged(number, volume, before)
        drawn, *parts = changes
        if not drawn.indices:
            self._session.notice = _("it has one part only") if task.kind is RepairKind.SPLIT else UNCHANGED
            return
        steps = self._document.redrawing(
            number, _slices(drawn, axis, volume), name, parts=[_slices(one, axis, volume) for one in parts]
        )
        with nullcontext() if is_at_once else self._session.action():
            self._document.objects.check_unlocked(number)
            self._session.abandon(number)
            next(steps, None)
        total = sum(len(one.indices) for one in changes)
        for done in steps:
            run.progress = done, total
            yield None

    def _finish(self, number: int, drawn: Mapping[SlicePlane, Mask], name: str) -> None:
        if drawn:
            self._redraw(number, drawn, name)
        else:
            self._session.notice = UNCHANGED

    def _redraw(self, number: int, drawn: Mapping[SlicePlane, Mask], name: str) -> None:
        self._session.abandon(number)
        self._document.redraw(number, drawn, name)

    def _spacing(self, axis: Axis) -> tuple[float, float]:
        """Millimetres between rows and between columns of a slice."""
        rows, cols = (one for a, one in enumerate(self._document.volume.spacing_mm[::-1]) if a != axis.array_axis)
        return rows, cols

    def _keys(self, number: int, before: ObjectMask) -> tuple[int, ...]:
        """The slices between which others are drawn: confirmed ones, and those that were painted."""
        record, axis = self._document.objects.record(number), self._plane.axis
        if record.prompts.axis == axis:
            painted = {plane.index for plane in self._document.slice_io.edited_by_hand(number)}
            return tuple(sorted({plane.index for plane in record.prompts.planes} | painted))
        others = tuple(a for a in range(3) if a != axis.array_axis)
        first = before.first[axis.array_axis]
        return tuple(int(index) + first for index in np.flatnonzero(before.voxels.any(axis=others)))


def _slices(changed: ChangedSlices, axis: Axis, volume: Volume) -> Iterator[tuple[SlicePlane, Mask]]:
    height, width = (size for a, size in enumerate(volume.shape) if a != axis.array_axis)
    return ((SlicePlane(axis, index), mask) for index, mask in changed.masks((height, width)))
