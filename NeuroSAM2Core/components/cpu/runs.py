"""A label image as runs: stretches of voxels with one label along the fastest axis.

There are far fewer runs than voxels, so that whatever is asked about parts is asked of runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PAINTED = 1 / 16
"""Above this share of an image painting runs is slower than looking up every voxel."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a contiguous label image in raster order, the background's as well."""

    labels: NDArray[np.integer]
    starts: NDArray[np.int64]
    """Raster index of the first voxel."""
    lengths: NDArray[np.int64]
    """Voxels."""

    @classmethod
    def of(cls, image: NDArray[np.integer]) -> "Runs":
        """All runs; the end of a row does not end one."""
        flat = image.ravel()
        is_start = np.ones(flat.size, dtype=bool)
        np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
        starts = np.flatnonzero(is_start)
        return cls(flat[starts], starts, np.diff(starts, append=flat.size))

    def sizes(self, count: int) -> NDArray[np.int64]:
        """Voxels of every label from 0 to `count`."""
        return np.bincount(self.labels, weights=self.lengths, minlength=count + 1).astype(np.int64)

    def firsts(self, count: int) -> NDArray[np.int64]:
        """The raster index of the first voxel of every label from 0 to `count`."""
        firsts = np.zeros(count + 1, dtype=np.int64)
        firsts[self.labels[::-1]] = self.starts[::-1]  # of several, the last assignment stays
        return firsts

    def chosen(
        self, mask: NDArray[np.bool_], image: NDArray[np.integer], keeps: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """The voxels whose label is kept.

        Args:
            mask: Where there is a label at all.
            image: The label image that the runs are of.
            keeps: By label; False for 0.
        """
        is_kept = keeps[self.labels]
        is_dropped = (self.labels != 0) & ~is_kept
        num_kept, num_dropped = self.lengths[is_kept].sum(), self.lengths[is_dropped].sum()
        if min(num_kept, num_dropped) > MAX_PAINTED * mask.size:
            return keeps[image]
        is_drawn = num_kept <= num_dropped
        result = np.zeros(mask.shape, dtype=bool) if is_drawn else mask.copy(order="C")
        result.ravel()[self._voxels(is_kept if is_drawn else is_dropped)] = is_drawn
        return result

    def _voxels(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        starts, lengths = self.starts[which], self.lengths[which]
        before = np.cumsum(lengths) - lengths
        return np.repeat(starts - before, lengths) + np.arange(lengths.sum())
