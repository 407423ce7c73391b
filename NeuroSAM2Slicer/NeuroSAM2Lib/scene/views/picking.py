"""Picks the pixel of a stored slice at a position in a view: along the object's axis, else the view's, else the scan's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import best_axis, plane_through, shown_slice


@dataclass(frozen=True, kw_only=True, slots=True)
class PickedPixel:
    """A pixel of a slice."""

    plane: SlicePlane
    row: float
    col: float
    is_across: bool = False
    """The view shows slices along another axis."""
    notice: str = ""
    """What the person should know; empty where there is nothing."""


def pick_pixel(volume: Volume, ras: Matrix, *, axis: Axis | None, view: slicer.vtkMRMLSliceNode | None) -> PickedPixel:
    """The pixel at a world position.

    Args:
        volume: In the world.
        ras: (3,) in mm.
        axis: That the object is segmented along; None if it has no prompts.
        view: Where the person points; None if nowhere.

    Raises:
        PromptError: The position is outside the volume.
    """
    notice, is_across = "", False
    if view is not None:
        shown = shown_slice(volume, view)
        notice, is_across = shown.notice, axis is not None and axis != shown.plane.axis
        axis = axis or shown.plane.axis
        if is_across:
            notice = _("this object is segmented along {axis}: the prompt is on its slice there").format(axis=axis)
    plane = plane_through(volume, axis or best_axis(volume), ras)
    row, col = plane.to_pixel(*_ijk(volume, ras))
    return PickedPixel(plane=plane, row=row, col=col, is_across=is_across, notice=notice)


def clipped(volume: Volume, start: Matrix, end: Matrix, axis: Axis) -> tuple[Matrix, Matrix]:
    """Opposite corners of a box with what lies outside the volume cut off.

    Args:
        volume: In the world.
        start: (3,) in mm.
        end: (3,) in mm.
        axis: Of the slice that the box is on; along it nothing is cut.

    Raises:
        PromptError: All of the box lies outside.
    """
    ijk = volume.to_ijk(np.stack([start, end]).astype(float))
    last = np.array(volume.shape[::-1]) - 1
    in_plane = np.array([letter != axis for letter in "ijk"])
    is_outside = (ijk.max(axis=0) < -0.5) | (ijk.min(axis=0) > last + 0.5)
    if (is_outside & in_plane).any():
        raise PromptError(_("the box is outside the volume"), hint=_("draw it over the image"))
    first, second = volume.to_ras(np.where(in_plane, np.clip(ijk, 0, last), ijk))
    return first, second


def box_between(volume: Volume, plane: SlicePlane, start: Matrix, end: Matrix) -> BoxPrompt:
    """The box with these world positions, (3,) in mm, as opposite corners."""
    corners = [plane.to_pixel(*_ijk(volume, ras)) for ras in (start, end)]
    (row0, col0), (row1, col1) = np.min(corners, axis=0), np.max(corners, axis=0)
    return BoxPrompt(float(row0), float(col0), float(row1), float(col1))


def path_on(volume: Volume, plane: SlicePlane, path: Sequence[Matrix]) -> list[tuple[float, float]]:
    """The pixels, (row, col), of a slice that are nearest to world positions, (3,) in mm; they may lie outside it."""
    return [plane.to_pixel(*_ijk(volume, ras)) for ras in path]


def _ijk(volume: Volume, ras: Matrix) -> tuple[float, float, float]:
    i, j, k = volume.to_ijk(np.asarray(ras, dtype=float))
    return float(i), float(j), float(k)
