"""Connected components, holes and islands of NumPy masks, 2-D and 3-D. For tensors see `components.device`.

A mask is labelled by cc3d where it is installed (`pip install connected-components-3d`), several times as fast, and by SciPy otherwise;
the results are the same. A label image is then looked at as runs, stretches of voxels with one label along the fastest axis: there are
far fewer of them than voxels.

Objects connect through corners (8 neighbours in 2-D, 26 in 3-D) and background through faces (4, 6), so that a hole and the object
around it never both connect through the same corner. Only the bounding box of the mask is looked at.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ConfigError

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


Mask = NDArray[np.bool_]
Labels = NDArray[np.integer]
Connectivity = Literal[4, 8, 6, 18, 26]

AXES = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}
"""In how many coordinates neighbours may differ."""


def dims_of(connectivity: Connectivity) -> Literal[2, 3]:
    """The dimensions of the images that a connectivity is for.

    Raises:
        ConfigError: There is no such connectivity.
    """
    if connectivity not in get_args(Connectivity):
        raise ConfigError(f"connectivity must be 4 or 8 (2-D), 6, 18 or 26 (3-D); got {connectivity}")
    return 2 if connectivity in (4, 8) else 3


def corners(dims: int) -> Connectivity:
    """Neighbours through faces, edges and corners: what objects connect through."""
    return 8 if dims == 2 else 26


def faces(dims: int) -> Connectivity:
    """Neighbours through faces: what background connects through."""
    return 4 if dims == 2 else 6


def label_parts(mask: Mask, connectivity: Connectivity) -> tuple[Labels, int]:
    """Labels 1 to the number of parts, in any order, and that number.

    Args:
        mask: Of the dimensions that the connectivity is for.
        connectivity: 4 or 8, 6, 18 or 26 neighbours.
    """
    cc3d = _cc3d()
    if cc3d is None or not mask.size:
        from scipy import ndimage  # here, so that panels start where SciPy is not

        structure = ndimage.generate_binary_structure(mask.ndim, AXES[connectivity])
        labels, count = ndimage.label(mask, structure)
        return labels, int(count)
    return cc3d(mask, connectivity)


def label_first_voxels(mask: Mask, connectivity: Connectivity) -> NDArray[np.integer]:
    """One more than the raster index of its part's first voxel, for every voxel; 0 for the background."""
    labels, count = label_parts(mask, connectivity)
    firsts = Runs.of(labels).firsts(count) + 1
    firsts[0] = 0
    return firsts[labels].astype(_label_dtype(mask))


def _label_dtype(mask: Mask) -> type[np.int32] | type[np.int64]:
    return np.int32 if mask.size < np.iinfo(np.int32).max else np.int64


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTable:
    """Statistics of the parts of one mask, in the order of their first voxels."""

    sizes: NDArray[np.int64]
    """Voxels, (parts)."""
    touches_border: NDArray[np.bool_]
    """Some voxel lies on the border of the image, (parts)."""
    boxes: NDArray[np.int64]
    """First voxel and one past the last, along every axis, (parts, dims, 2)."""


def tabulate_parts(mask: Mask, connectivity: Connectivity) -> tuple[Labels, PartTable]:
    """Labels 1, 2, ... in the order of first voxels, and the parts' statistics."""
    from scipy import ndimage

    labels, count = label_parts(mask, connectivity)
    runs = Runs.of(labels)
    order = np.argsort(runs.firsts(count)[1:])
    numbers = np.zeros(count + 1, dtype=np.int64)
    numbers[order + 1] = np.arange(1, count + 1)
    numbered = numbers[labels]
    sizes = runs.sizes(count)[1:][order]
    boxes = np.array(
        [[(s.start, s.stop) for s in box] for box in ndimage.find_objects(numbered, count)], dtype=np.int64
    )
    boxes = boxes.reshape(count, mask.ndim, 2)
    touches = ((boxes[:, :, 0] == 0) | (boxes[:, :, 1] == mask.shape)).any(axis=1)
    return numbered, PartTable(sizes=sizes, touches_border=touches, boxes=boxes)


def _cc3d() -> Callable[[Mask, Connectivity], tuple[Labels, int]] | None:
    try:
        from cc3d import connected_components
    except ImportError:
        return None

    def label(mask: Mask, connectivity: Connectivity) -> tuple[Labels, int]:
        bytes_ = mask.view(np.uint8)  # its way for bool masks (4.1) mislabels small ones with 8 and 26 neighbours
        labels, count = connected_components(bytes_, connectivity=connectivity, return_N=True)
        return labels, int(count)

    return label


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


def bounding_box(mask: Mask, margin: int | Sequence[int] = 0) -> tuple[slice, ...] | None:
    """The smallest box that holds the mask and a margin of pixels around it, cut at the border; None for an empty mask."""
    box = []
    for axis, wider in enumerate(np.broadcast_to(margin, mask.ndim).tolist()):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        places = np.flatnonzero(mask.any(axis=others))
        if not len(places):
            return None
        box.append(slice(max(0, int(places[0]) - wider), min(mask.shape[axis], int(places[-1]) + 1 + wider)))
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


def for_each_object(
    labels: NDArray[np.integer], act: Callable[[Mask], Mask], *, ids: Iterable[int] | None = None
) -> NDArray[np.integer]:
    """Does something to every object as if it were alone, such as `largest_component`.

    An object may lose voxels to the background and win some from it, but none from another object; where several want the same
    voxel of the background, the one that comes first in `ids` has it.

    Args:
        labels: Objects by number; 0 is the background.
        act: From a mask to a mask.
        ids: The objects; all of them, in ascending order, if None. Others are left alone.
    """
    result = labels.copy()
    for one in np.unique(labels[labels != 0]).tolist() if ids is None else ids:
        before = labels == one
        after = act(before)
        result[before & ~after] = 0
        result[after & (labels == 0) & (result == 0)] = one
    return result
