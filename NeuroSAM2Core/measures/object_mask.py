"""The voxels of one object, kept as the smallest block that holds them: twenty objects in a large volume need little memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu.components import bounding_box

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMask:
    """One object on the grid of a volume."""

    voxels: NDArray[np.bool_]
    """(K, J, I) of the block; of no size where the object has no voxel."""
    first: Triple = (0, 0, 0)
    """Where the block begins, (k, j, i)."""

    @classmethod
    def of(cls, mask: NDArray[np.bool_], first: Triple = (0, 0, 0)) -> "ObjectMask":
        """A copy of the object in a mask.

        Args:
            mask: (K, J, I).
            first: Where the mask begins in the volume, (k, j, i).
        """
        box = bounding_box(mask)
        if box is None:
            return cls(np.zeros((0, 0, 0), bool))
        k, j, i = (start + part.start for start, part in zip(first, box, strict=True))
        return cls(mask[box].copy(), (k, j, i))

    @property
    def is_empty(self) -> bool:
        """It has no voxel."""
        return self.voxels.size == 0

    @property
    def last(self) -> Triple:
        """The last index of the block along each array axis."""
        k, j, i = (start + size - 1 for start, size in zip(self.first, self.voxels.shape, strict=True))
        return k, j, i

    @property
    def block(self) -> tuple[slice, slice, slice]:
        """The block in an array of the whole volume."""
        k, j, i = (slice(start, start + size) for start, size in zip(self.first, self.voxels.shape, strict=True))
        return k, j, i

    def within(self, first: Triple, last: Triple) -> NDArray[np.bool_]:
        """The object in another block, which holds its own."""
        k, j, i = (b - a + 1 for a, b in zip(first, last, strict=True))
        found = np.zeros((k, j, i), bool)
        if not self.is_empty:
            moved = (
                slice(part.start - start, part.stop - start) for part, start in zip(self.block, first, strict=True)
            )
            found[tuple(moved)] = self.voxels
        return found
