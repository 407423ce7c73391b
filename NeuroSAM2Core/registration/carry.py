"""What was outlined on an earlier scan, as prompts on the later one. They are few, so that the model answers anew."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import labels_on_grid
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, box_from_mask
from NeuroSAM2Core.prompts.simulate import suggested_kind
from NeuroSAM2Core.registration.register import Registration
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume

MAX_SLICES = 5
"""With prompts, for each object."""
MARGIN_PX = 1.0
"""Around a box: no registration is exact."""


@dataclass(frozen=True, slots=True, eq=False)
class CarriedObject:
    """An object on the later scan."""

    prompts: ObjectPrompts
    """Boxes; on slices where a box would say little, the mask itself."""
    masks: dict[SlicePlane, MaskPrompt]
    """Of the slices on which the mask is the prompt."""


def carried_labels(labels: Volume, later: Volume, registration: Registration) -> NDArray[np.int32]:
    """A label map of the earlier scan on the grid of the later one, (K, J, I); the nearest voxels.

    Raises:
        DataError: Nothing of it lies in the later scan.
    """
    return labels_on_grid(labels.moved(registration.to_later), later).labels


def prompts_of(mask: NDArray[np.bool_], axis: Axis, *, max_slices: int = MAX_SLICES) -> CarriedObject:
    """Prompts that say where an object is, on few of its slices.

    Args:
        mask: (K, J, I).
        axis: Along which it is segmented.
        max_slices: At most so many.

    Raises:
        DataError: It is empty.
    """
    along = axis.array_axis
    areas = mask.sum(axis=tuple(n for n in range(3) if n != along))
    there = np.flatnonzero(areas)
    if not len(there):
        raise DataError("the object is empty: nothing of it lies in the later scan")
    count = min(max_slices, max(1, len(there) // 2))
    places = (np.arange(count) + 0.5) / count * len(there)
    prompts, masks = ObjectPrompts(), {}
    for index in sorted({int(there[min(int(place), len(there) - 1)]) for place in places}):
        plane = SlicePlane(axis, index)
        part = plane.of(mask)
        if suggested_kind(part) == "box":
            box = box_from_mask(part)
            assert box is not None, "the slice has the object"
            rows, cols = part.shape
            wider = BoxPrompt(
                max(0.0, box.row0 - MARGIN_PX),
                max(0.0, box.col0 - MARGIN_PX),
                min(rows - 1.0, box.row1 + MARGIN_PX),
                min(cols - 1.0, box.col1 + MARGIN_PX),
            )
            prompts = prompts.with_box(plane, wider)
        else:
            prompts = prompts.with_confirmed(plane)
            masks[plane] = MaskPrompt(np.ascontiguousarray(part))
    return CarriedObject(prompts, masks)
