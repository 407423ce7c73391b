"""Which stored slice a slice view shows. A view that is not along an axis of the volume snaps to the nearest one and says so.

The visible slice of a view, and jumps to another slice.
Picks the pixel of a stored slice at a position in a view: along the object's axis, else the view's, else the scan's.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume, resolve_axis
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix, to_matrix

TOLERANCE_DEG = 0.5


@dataclass(frozen=True, slots=True)
class ShownSlice:
    """The slice of the stored grid that a view stands for."""

    plane: SlicePlane
    angle_deg: float
    """Between the view and the slice."""

    @property
    def notice(self) -> str:
        """What the person should know; empty where the view is along the slice."""
        if self.angle_deg <= TOLERANCE_DEG:
            return ""
        return _(
            "this view is turned {angle_deg:.0f} degrees away from the volume's own slices; "
            "slice {index} along {axis} is used, the nearest one"
        ).format(angle_deg=self.angle_deg, index=self.plane.index, axis=self.plane.axis)


def shown_slice(volume: Volume, slice_node: slicer.vtkMRMLSliceNode, ras: Matrix | None = None) -> ShownSlice:
    """The stored slice that a view shows at a place.

    Args:
        volume: In the world.
        slice_node: The view.
        ras: A world position in the view, (3,) in mm; the view's own middle if None.
    """
    to_ras = to_matrix(slice_node.GetSliceToRAS())
    return nearest_slice(volume, to_ras[:3, 2], to_ras[:3, 3] if ras is None else ras)


def ras_of(slice_node: slicer.vtkMRMLSliceNode, xy: tuple[int, int]) -> Matrix:
    """The world position, (3,) in mm, of a place in a view, in the view's own pixels from its lower left."""
    return np.asarray((to_matrix(slice_node.GetXYToRAS()) @ [*xy, 0, 1])[:3])


def nearest_slice(volume: Volume, normal: Matrix, ras: Matrix) -> ShownSlice:
    """The stored slice most along a plane, through a world position (clamped to the volume)."""
    across = volume.ras_to_ijk[:3, :3]
    cosines = np.abs(across @ normal) / (np.linalg.norm(across, axis=1) * np.linalg.norm(normal))
    number = int(cosines.argmax())
    axis = list(Axis)[number]
    index = nearest_index(float(volume.to_ijk(np.asarray(ras, dtype=float))[number]))
    last = volume.shape[axis.array_axis] - 1
    return ShownSlice(
        SlicePlane(axis, min(max(index, 0), last)), math.degrees(math.acos(min(1.0, float(cosines[number]))))
    )


def nearest_index(place: float) -> int:
    """The slice nearest to a voxel index that is not whole; halves go up."""
    return math.floor(place + 0.5)


def best_axis(volume: Volume) -> Axis:
    """The axis that a scan was acquired along, where nobody says: the one with the largest spacing, axial among equals."""
    spacing = dict(zip(Axis, volume.spacing_mm, strict=True))
    axial = resolve_axis(volume, "axial")
    return max(Axis, key=lambda axis: (round(spacing[axis], 3), axis == axial))


def plane_through(volume: Volume, axis: Axis, ras: Matrix) -> SlicePlane:
    """The slice along an axis that is nearest to a world position, (3,) in mm.

    Raises:
        PromptError: The position is outside the volume.
    """
    ijk = volume.to_ijk(np.asarray(ras, dtype=float))
    plane = SlicePlane(axis, nearest_index(float(ijk["ijk".index(axis)])))
    limits = np.array(volume.shape[::-1])
    if not ((ijk >= -0.5) & (ijk <= limits - 0.5)).all():
        raise PromptError(_("the place is outside the volume"), hint=_("click inside the image"))
    return SlicePlane(axis, min(plane.index, volume.shape[axis.array_axis] - 1))


def slice_nodes(scene: slicer.vtkMRMLScene) -> Iterator[slicer.vtkMRMLSliceNode]:
    """The slice views of the layout, or all if none is in it."""
    found = scene.GetNodesByClass("vtkMRMLSliceNode")
    nodes = [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]
    yield from [node for node in nodes if node.IsMappedInLayout()] or nodes


def visible_plane(scene: slicer.vtkMRMLScene, volume: Volume, axis: Axis | None) -> SlicePlane:
    """The slice along an axis that the first view along it shows; the middle one where no view is along it.

    Args:
        scene: Holds the views.
        volume: In the world.
        axis: The axis; the one that the volume was acquired along if None.
    """
    wanted = axis or best_axis(volume)
    for node in slice_nodes(scene):
        shown = shown_slice(volume, node).plane
        if shown.axis == wanted:
            return shown
    return SlicePlane(wanted, volume.shape[wanted.array_axis] // 2)


def jump_to_slice(scene: slicer.vtkMRMLScene, volume: Volume, plane: SlicePlane) -> None:
    """Moves the views along the slice's axis to it; the others stay where they are.

    A view that is turned away from the slice is also centred on it: only there does it show that very slice.
    """
    middle = (np.array(volume.shape[::-1], float) - 1) / 2
    middle["ijk".index(plane.axis)] = plane.index
    ras = volume.to_ras(middle)
    for node in slice_nodes(scene):
        shown = shown_slice(volume, node)
        if shown.plane.axis != plane.axis:
            continue
        if shown.angle_deg > TOLERANCE_DEG:
            node.JumpSliceByCentering(*map(float, ras))
        else:
            node.JumpSliceByOffsetting(*map(float, ras))


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
