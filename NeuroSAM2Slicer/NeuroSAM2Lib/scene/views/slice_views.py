"""Which stored slice a slice view shows. A view that is not along an axis of the volume snaps to the nearest one and says so."""

import math
from dataclasses import dataclass

import numpy as np
import slicer

from NeuroSAM2Core.errors import PromptError
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
