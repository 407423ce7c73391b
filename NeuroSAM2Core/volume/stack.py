"""A volume seen along one axis, always the same way up whatever way the file stores it, so that a model sees one picture of one brain.

Axial slices have the front at the top and the patient's right on the left, and go upwards; coronal ones have the top at the top and the
patient's right on the left, and go forwards; sagittal ones have the top at the top and the front on the left, and go to the left. These
are views: nothing is copied.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.volume.plane import Axis, SlicePlane, anatomical_axes
from NeuroSAM2Core.volume.volume import Volume

VIEWS = {
    2: ((2, 1), (1, -1), (0, -1)),
    1: ((1, 1), (2, -1), (0, -1)),
    0: ((0, -1), (2, -1), (1, -1)),
}
"""By the world axis that slices are stacked along: for slices, rows and columns the world axis (R, A, S) and its sign as they count up."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceStack:
    """The slices of a volume along one stored axis in canonical orientation."""

    axis: Axis
    voxels: NDArray[Any]
    """(N, H, W), a view."""
    order: tuple[int, int, int]
    """The stored array axis that became slices, rows, columns."""
    flipped: tuple[bool, bool, bool]
    """Whether slices, rows, columns count against the stored grid."""

    @classmethod
    def of(cls, volume: Volume, axis: Axis) -> "SliceStack":
        """The canonical view along a stored axis."""
        world_of = anatomical_axes(volume.ijk_to_ras)  # by i, j, k
        stored = list(Axis)
        view = VIEWS[world_of[stored.index(axis)]]
        order, flipped = [], []
        for world, sign in view:
            number = world_of.index(world)
            points_up = volume.ijk_to_ras[world, number] * sign > 0
            order.append(stored[number].array_axis)
            flipped.append(not points_up)
        voxels = np.transpose(volume.voxels, order)[tuple(slice(None, None, -1 if f else 1) for f in flipped)]
        return cls(axis, voxels, (order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))

    def __len__(self) -> int:
        return len(self.voxels)

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(H, W) of every slice."""
        return self.voxels.shape[1], self.voxels.shape[2]

    @property
    def is_transposed(self) -> bool:
        """Canonical rows are stored columns."""
        return self.order[1] > self.order[2]

    def number_of(self, index: int) -> int:
        """The slice's number in the stack from its index along the stored axis, and the other way round."""
        return len(self) - 1 - index if self.flipped[0] else index

    def plane(self, number: int) -> SlicePlane:
        """The stored plane of a slice of the stack."""
        return SlicePlane(self.axis, self.number_of(number))

    def to_stack(self, row: float, col: float) -> tuple[float, float]:
        """A pixel of a stored plane as a pixel of the stack."""
        if self.is_transposed:
            row, col = col, row
        height, width = self.slice_shape
        return (height - 1 - row if self.flipped[1] else row), (width - 1 - col if self.flipped[2] else col)

    def box_to_stack(self, row0: float, col0: float, row1: float, col1: float) -> tuple[float, float, float, float]:
        """A box of a stored plane, given by its outermost pixels, as one of the stack."""
        a, b = self.to_stack(row0, col0), self.to_stack(row1, col1)
        return min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])

    def mask_to_stack(self, mask: NDArray[Any]) -> NDArray[Any]:
        """A picture (H, W) of a stored plane as the stack sees it; a view."""
        turned = mask.T if self.is_transposed else mask
        return turned[:: -1 if self.flipped[1] else 1, :: -1 if self.flipped[2] else 1]

    def mask_from_stack(self, mask: NDArray[Any]) -> NDArray[Any]:
        """A picture (H, W) of the stack as the stored plane sees it; a view."""
        turned = mask[:: -1 if self.flipped[1] else 1, :: -1 if self.flipped[2] else 1]
        return turned.T if self.is_transposed else turned
