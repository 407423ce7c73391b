"""Connected components on the CPU: holes, islands, the largest part; 2-D and 3-D.

Objects connect through corners (8 neighbours in 2-D, 26 in 3-D) and background through faces (4, 6), so that a hole and the object
around it never both connect through the same corner. Only the bounding box of the mask is looked at.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def fill_holes(mask: Mask, *, max_area: int | None = None) -> Mask:
    """The mask with its enclosed background filled in.

    Args:
        mask: 2-D or 3-D.
        max_area: Fill only holes of up to this many pixels; None for all.
    """
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    crop = np.pad(mask[box], 1)
    labels, count = ndimage.label(~crop)
    if count <= 1:
        return mask.copy()
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    is_hole = np.ones(count + 1, dtype=bool) if max_area is None else sizes <= max_area
    is_hole[0] = False
    is_hole[labels.flat[0]] = False  # the padding is outside
    filled = mask.copy()
    filled[box] |= is_hole[labels][(slice(1, -1),) * mask.ndim]
    return filled


def remove_islands(mask: Mask, *, min_size: int) -> Mask:
    """The mask without parts of fewer pixels; its largest part always stays."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    labels, sizes = _parts(mask[box])
    keep = sizes >= min_size
    keep[int(sizes.argmax())] = True
    keep[0] = False
    return _kept(mask, box, keep[labels])


def largest_component(mask: Mask) -> Mask:
    """The largest part of the mask; the first one found where several are equal."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    labels, sizes = _parts(mask[box])
    return _kept(mask, box, labels == int(sizes.argmax()))


def bounding_box(mask: Mask) -> tuple[slice, ...] | None:
    """The smallest box that holds the mask; None for an empty one."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        places = np.flatnonzero(mask.any(axis=others))
        if not len(places):
            return None
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)


def _parts(crop: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels of the parts and their sizes; the background counts as 0."""
    labels, count = ndimage.label(crop, structure=np.ones((3,) * crop.ndim))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return labels, sizes


def _kept(mask: Mask, box: tuple[slice, ...], crop: Mask) -> Mask:
    kept = np.zeros_like(mask)
    kept[box] = crop
    return kept
