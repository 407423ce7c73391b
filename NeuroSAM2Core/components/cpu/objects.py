"""What is done to a mask, done to every object of a label image."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu.labelling import Mask


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
