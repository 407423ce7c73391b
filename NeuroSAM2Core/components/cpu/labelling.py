"""Connected components of a NumPy mask: labels and their statistics.

cc3d does the labelling where it is installed (`pip install connected-components-3d`), several times as fast; SciPy otherwise. The results
are the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu.runs import Runs
from NeuroSAM2Core.errors import ConfigError

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
