"""The voxels of locked objects, kept so that what others paint over them can be taken back.

The Segment Editor knows no locks: its effects and other modules write into any segment.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.segments.layers import LABELMAP
from NeuroSAM2Lib.scene.segments.segment_masks import Mask, read_mask, replace_mask
from NeuroSAM2Lib.segmentation.objects.scene_objects import SegmentedObjects


@dataclass(frozen=True, slots=True)
class LockedMask:
    """An object's voxels as they were locked."""

    image_time: int
    """Of the labelmap, when it was known to hold them."""
    mask: Mask | None


class LockedMasks:
    """The voxels of all locked objects of one segmentation.

    Args:
        objects: The objects.
    """

    def __init__(self, objects: SegmentedObjects) -> None:
        self._objects = objects
        self._known: dict[int, LockedMask] = {}

    def keep(self) -> None:
        """The objects that are locked now are right as they are."""
        self._known = {}
        for number in self._objects.locked:
            try:
                mask = read_mask(self._objects.node, self._objects.segment_id(number))
            except NeuroSAM2Error:  # it is stored as a surface, which nobody paints on
                continue
            self._known[number] = LockedMask(self._image_time(number), mask)

    def unchanged(self) -> tuple[int, ...]:
        """The objects whose labelmap nobody has touched since it was looked at."""
        return tuple(
            n for n in self._objects.locked if n in self._known and self._known[n].image_time == self._image_time(n)
        )

    def trust(self, numbers: tuple[int, ...]) -> None:
        """What was done to the labelmaps of these objects has left their voxels alone."""
        for number in set(numbers).intersection(self._objects.locked):
            self._known[number] = LockedMask(self._image_time(number), self._known[number].mask)

    def changed(self) -> tuple[int, ...]:
        """The objects whose voxels are not what they were."""
        unchanged, changed = self.unchanged(), []
        for number in self._objects.locked:
            if number in self._known and number not in unchanged:
                now = read_mask(self._objects.node, self._objects.segment_id(number))
                if _is_same(self._known[number].mask, now):
                    self.trust((number,))
                else:
                    changed.append(number)
        return tuple(changed)

    def restore(self, number: int) -> None:
        """Puts the voxels of an object back; those that others have gained stay theirs."""
        replace_mask(self._objects.node, self._objects.segment_id(number), self._known[number].mask)
        self.trust((number,))

    def _image_time(self, number: int) -> int:
        segment = self._objects.node.GetSegmentation().GetSegment(self._objects.segment_id(number))
        image = segment.GetRepresentation(LABELMAP)
        return 0 if image is None else int(image.GetMTime())


def _is_same(one: Mask | None, other: Mask | None) -> bool:
    """Two masks have the same voxels, whatever part of the grid they cover."""
    first, second = _inside(one), _inside(other)
    if first is None or second is None:
        return first is second
    return first[0] == second[0] and np.array_equal(first[1], second[1])


def _inside(mask: Mask | None) -> tuple[tuple[int, ...], NDArray[Any]] | None:
    """Where the part of a mask with voxels inside begins, and that part; None without any."""
    if mask is None or mask.IsEmpty():
        return None
    extent = [0] * 6
    if not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(mask, extent):
        return None
    first = mask.GetExtent()[::2]
    i, j, k = (slice(extent[2 * a] - first[a], extent[2 * a + 1] - first[a] + 1) for a in range(3))
    return tuple(extent), voxels_of(mask)[k, j, i]
