"""Slices of the stored grid and their pixels; which stored axis a person means by axial, coronal or sagittal."""

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import GeometryError
from NeuroSAM2Core.volume.volume import Matrix, Volume


class Axis(StrEnum):
    """An axis of the stored grid."""

    I = "i"  # noqa: E741
    J = "j"
    K = "k"

    @property
    def array_axis(self) -> int:
        """The axis of the (K, J, I) array."""
        return {"k": 0, "j": 1, "i": 2}[self.value]


class Direction(StrEnum):
    """Which way through the slices, as their stored index counts."""

    BOTH = "both"
    UP = "up"
    DOWN = "down"


ANATOMICAL = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Slice directions by name, and the world axis (R, A, S) that they are stacked along."""


@dataclass(frozen=True, slots=True)
class SlicePlane:
    """One slice: all voxels with the same index along one axis. Pixels are (row, col) in (k, j, i) order without that axis."""

    axis: Axis
    index: int

    def check_inside(self, volume: Volume) -> None:
        """Checks that the volume has such a slice.

        Raises:
            GeometryError: It has not.
        """
        count = volume.shape[self.axis.array_axis]
        if not 0 <= self.index < count:
            raise GeometryError(
                f"there is no slice {self.index} along {self.axis}; the volume has slices 0 to {count - 1} there",
                hint="slices are counted from 0 along the file's own grid",
            )

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """The slice (H, W) of a (K, J, I) array; a view."""
        return np.moveaxis(array, self.axis.array_axis, 0)[self.index]

    def to_ijk(self, row: float, col: float) -> tuple[float, float, float]:
        """Voxel indices of a pixel."""
        kji = [row, col]
        kji.insert(self.axis.array_axis, self.index)
        k, j, i = kji
        return i, j, k

    def to_pixel(self, i: float, j: float, k: float) -> tuple[float, float]:
        """The pixel (row, col) of voxel indices; the index along the slice's own axis is not looked at."""
        kji = [k, j, i]
        del kji[self.axis.array_axis]
        return kji[0], kji[1]


def anatomical_axes(ijk_to_ras: Matrix) -> tuple[int, int, int]:
    """For each stored axis i, j, k the world axis (0 R, 1 A, 2 S) nearest to it, none taken twice."""
    directions = np.abs(ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0))
    best = max(
        itertools.permutations(range(3)), key=lambda p: sum(directions[world, axis] for axis, world in enumerate(p))
    )
    return best[0], best[1], best[2]


def resolve_axis(volume: Volume, text: str) -> Axis:
    """The stored axis that a person means: axial, coronal, sagittal (the nearest one), or i, j, k.

    Raises:
        GeometryError: It is none of these.
    """
    word = text.strip().lower()
    if word in ANATOMICAL:
        return list(Axis)[anatomical_axes(volume.ijk_to_ras).index(ANATOMICAL[word])]
    try:
        return Axis(word)
    except ValueError:
        raise GeometryError(f"there is no axis {text!r}; expected axial, coronal, sagittal, i, j or k") from None
