"""Holes, islands, the largest part of NumPy masks; 2-D and 3-D.

Objects connect through corners (8 neighbours in 2-D, 26 in 3-D) and background through faces (4, 6), so that a hole and the object
around it never both connect through the same corner. Only the bounding box of the mask is looked at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu.labelling import Connectivity, Labels, Mask, corners, faces, label_parts
from NeuroSAM2Core.components.cpu.runs import Runs

NO_LIMIT = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentFilter:
    """Which parts are kept."""

    min_size: int = 0
    """Voxels."""
    max_size: int = NO_LIMIT
    """Voxels."""
    is_enclosed: bool = False
    """Only parts that do not touch the border of the image."""
    keeps_largest: bool = False
    """And the largest part whatever its size; of several, the one whose first voxel comes first."""


ONLY_LARGEST = ComponentFilter(min_size=NO_LIMIT, keeps_largest=True)


def fill_holes(mask: Mask, *, max_area: int | None = None, connectivity: Connectivity | None = None) -> Mask:
    """The mask with its enclosed background filled in.

    Args:
        mask: 2-D or 3-D.
        max_area: Fill only holes of up to this many pixels; None for all.
        connectivity: Of the background; through faces if None.
    """
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    outside = np.pad(~mask[box], 1, constant_values=True)  # the padding joins all that is not enclosed
    rule = ComponentFilter(max_size=NO_LIMIT if max_area is None else max_area, is_enclosed=True)
    holes = keep_parts(outside, connectivity or faces(mask.ndim), rule)
    filled = mask.copy()
    filled[box] |= holes[(slice(1, -1),) * mask.ndim]
    return filled


def remove_islands(mask: Mask, *, min_size: int) -> Mask:
    """The mask without parts of fewer pixels; its largest part always stays."""
    return keep_parts(mask, corners(mask.ndim), ComponentFilter(min_size=min_size, keeps_largest=True))


def largest_component(mask: Mask) -> Mask:
    """The largest part of the mask; the first one found where several are equal."""
    return keep_parts(mask, corners(mask.ndim), ONLY_LARGEST)


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


def keep_parts(mask: Mask, connectivity: Connectivity, rule: ComponentFilter) -> Mask:
    """The parts of the mask that a rule keeps."""
    kept = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is None:
        return kept
    crop = mask[box]
    labels, count = label_parts(crop, connectivity)
    runs = Runs.of(labels) if count > 1 else None
    sizes = np.array([0, np.count_nonzero(crop)]) if runs is None else runs.sizes(count)
    keeps = (sizes >= rule.min_size) & (sizes <= rule.max_size)
    if rule.is_enclosed:
        keeps[_border_labels(labels, box, mask.shape)] = False
    if rule.keeps_largest:
        keeps[1 if runs is None else _first_largest(runs, sizes)] = True
    keeps[0] = False
    if keeps[1:].all():
        kept[box] = crop
    elif runs is not None and keeps.any():
        kept[box] = runs.chosen(crop, labels, keeps)
    return kept


def _first_largest(runs: Runs, sizes: NDArray[np.int64]) -> int:
    """The label of the largest part; of several, of the one whose first voxel comes first."""
    is_largest = sizes == sizes[1:].max()
    is_largest[0] = False
    return int(runs.labels[int(is_largest[runs.labels].argmax())])


def _border_labels(labels: Labels, box: tuple[slice, ...], shape: tuple[int, ...]) -> NDArray[np.integer]:
    """The labels of a box that lie on the border of the image of that shape."""
    sides = [np.zeros(0, labels.dtype)]
    for axis, (place, size) in enumerate(zip(box, shape, strict=True)):
        sides += [labels.take(0, axis=axis).ravel()] if place.start == 0 else []
        sides += [labels.take(-1, axis=axis).ravel()] if place.stop == size else []
    return np.unique(np.concatenate(sides))
