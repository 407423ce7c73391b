"""Slices of a volume: their planes and pixels, the volume as a stack of them, their masks and how those are cleaned.

A plane is a slice of the stored grid. A stack shows a volume along one axis, always the same way up whatever way the file stores it, so
that a model sees one picture of one brain: axial slices have the front at the top and the patient's right on the left, and go upwards;
coronal ones have the top at the top and the patient's right on the left, and go forwards; sagittal ones have the top at the top and the
front on the left, and go to the left. These are views: nothing is copied.
"""

import itertools
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ConfigError, GeometryError
from NeuroSAM2Core.volume.volume import Matrix, Volume


class Axis(StrEnum):
    """An axis of the stored grid."""

    I = "i"  # noqa: E741
    J = "j"
    K = "k"

    @property
    def array_axis(self) -> int:
        """The axis of the (K, J, I) array."""
        return "kji".index(self.value)


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
        return array[(slice(None),) * self.axis.array_axis + (self.index,)]

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


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskCleanup:
    """Holes that are filled and islands that are removed. A size is the width of a disc on a slice, and of a ball in the whole object."""

    hole_mm: float | None = None
    """Holes smaller than this are filled; 0: none; None: as the engine does by itself."""
    island_mm: float | None = None
    """Islands smaller than this are removed; 0: none; None: as the engine does by itself."""
    is_whole: bool = False
    """The object is cleaned as a whole, too, once a propagation has come to its end."""

    def __post_init__(self) -> None:
        for name, size in (("holes", self.hole_mm), ("islands", self.island_mm)):
            if size is not None and not (size >= 0 and math.isfinite(size)):
                raise ConfigError(f"the size of {name} is {size:g} mm; expected 0 or more", hint="0 leaves them alone")


DEFAULT_CLEANUP = MaskCleanup()
"""As the engine cleans where nobody says anything."""


def disc(width_mm: float, pixel_mm2: float) -> float:
    """Pixels of a disc."""
    return math.pi / 4 * width_mm**2 / pixel_mm2


def ball(width_mm: float, voxel_mm3: float) -> float:
    """Voxels of a ball."""
    return math.pi / 6 * width_mm**3 / voxel_mm3


def ball_of_disc(pixels: float) -> float:
    """Voxels of the ball that is as wide as a disc of so many pixels, where both have sides of 1."""
    return ball(2 * math.sqrt(pixels / math.pi), 1.0)


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceMask:
    """One object on one slice of the stored grid."""

    object_id: int
    plane: SlicePlane
    mask: NDArray[np.bool_]
    """(H, W)."""
    predicted_iou: float
    """The overlap with the truth that the model expects, 0 to 1."""
    object_score: float
    """Probability that the object is in this slice, 0 to 1."""
    revision: int = 0
    """Of the prompts that this answers; 0 where there were none."""
    num_readings: int = 1
    """How many masks the prompts of this slice can mean; 1 where they mean one."""
    ending: str = ""
    """Why the object ends on this slice, a value of `propagation.track.Ending`; empty where it is there or a person removed it."""

    @classmethod
    def drawn(cls, object_id: int, plane: SlicePlane, mask: NDArray[np.bool_]) -> "SliceMask":
        """A mask that a person has drawn: it is sure."""
        return cls(object_id=object_id, plane=plane, mask=mask, predicted_iou=1.0, object_score=float(mask.any()))


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask as bits, row by row."""
    return np.packbits(mask, axis=None).tobytes()


def unpack_mask(bits: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The inverse of `pack_mask`."""
    count = shape[0] * shape[1]
    flat = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count)
    return flat.astype(bool).reshape(shape)
