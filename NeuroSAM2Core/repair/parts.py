"""The parts of a mask, in 2-D and 3-D: the one at a place, the small ones, each by itself. They connect through corners.

The largest part and holes are `components.cpu`'s.
"""

import math

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import bounding_box, corners, label_parts, remove_islands
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume.cleanup import ball, disc

Mask = NDArray[np.bool_]
MAX_PARTS = 32
"""More are no objects but specks."""


def part_at(mask: Mask, place: tuple[int, ...]) -> Mask:
    """The part that a pixel or voxel belongs to; nothing where none is there."""
    part = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is not None and mask[place]:
        labels, _ = label_parts(mask[box], corners(mask.ndim))
        part[box] = labels == labels[tuple(n - side.start for n, side in zip(place, box, strict=True))]
    return part


def remove_small_parts(mask: Mask, spacing_mm: tuple[float, ...], width_mm: float) -> Mask:
    """The mask without the parts that are smaller than a disc, or a ball, of a width; its largest part always stays."""
    cell = math.prod(spacing_mm)
    size = disc(width_mm, cell) if mask.ndim == 2 else ball(width_mm, cell)
    return remove_islands(mask, min_size=math.ceil(size))


def split_parts(mask: Mask) -> list[Mask]:
    """The parts by themselves, the largest first; of equal ones, the one whose first voxel comes first.

    Raises:
        DataError: They are too many to be objects.
    """
    box = bounding_box(mask)
    if box is None:
        return []
    labels, count = label_parts(mask[box], corners(mask.ndim))
    if count > MAX_PARTS:
        raise DataError(
            f"it has {count} parts; {MAX_PARTS} can become objects", hint="remove the small parts first, then split"
        )
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    firsts = [int((labels == label).argmax()) for label in range(1, count + 1)]
    parts = []
    for number in sorted(range(count), key=lambda n: (-sizes[n], firsts[n])):
        part = np.zeros_like(mask)
        part[box] = labels == number + 1
        parts.append(part)
    return parts
