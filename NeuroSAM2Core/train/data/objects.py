"""What counts as one object in a label volume: a label value, or each of its connected parts; and on which slices it is seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.train.data.config import DataConfig

CORNERS = np.ones((3, 3, 3), dtype=bool)
"""Parts connect through faces, edges and corners: 26 neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMap:
    """The objects of a volume, numbered from 1."""

    numbers: NDArray[np.int32]
    """(K, J, I): the object of every voxel, 0 for none."""
    names: tuple[str, ...]
    """By number less 1: the label value, and for instances the part's number after a dot."""

    def __len__(self) -> int:
        return len(self.names)

    def mask(self, number: int) -> NDArray[np.bool_]:
        """The voxels of one object, (K, J, I)."""
        return np.asarray(self.numbers == number)


def find_objects(labels: NDArray[np.integer], data: DataConfig) -> ObjectMap:
    """The objects that a run looks at; parts and values with fewer voxels than `data.min_voxels` are left out.

    Raises:
        DataError: There is none.
    """
    present = [int(value) for value in np.unique(labels) if value > 0]
    wanted = [value for value in present if not data.classes or value in data.classes]
    if not wanted:
        there = f"label values {_listed(present)}" if present else "no voxel above 0"
        asked = f"; expected one of {_listed(list(data.classes))}" if data.classes else ""
        raise DataError(f"the label is empty: it has {there}{asked}")
    numbers = np.zeros(labels.shape, dtype=np.int32)
    names: list[str] = []
    largest = 0
    for value in wanted:
        parts, count = (labels == value).astype(np.int32), 1
        if data.labels == "instances":
            parts, count = ndimage.label(parts, structure=CORNERS)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        largest = max(largest, int(sizes.max()))
        new = np.zeros(count + 1, dtype=np.int32)
        for part in np.flatnonzero(sizes >= data.min_voxels) + 1:
            names.append(f"{value}.{part}" if data.labels == "instances" else str(value))
            new[part] = len(names)
        numbers += new[parts]
    if not names:
        raise DataError(
            f"the largest object has {largest} voxels; expected at least {data.min_voxels}", hint="see data.min_voxels"
        )
    return ObjectMap(numbers, tuple(names))


def areas_by_slice(objects: ObjectMap) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How many pixels of each object each slice has: for the three array axes an array (objects, slices)."""
    places = np.nonzero(objects.numbers)
    of = objects.numbers[places] - 1

    def along(axis: int) -> NDArray[np.int64]:
        count = objects.numbers.shape[axis]
        return np.bincount(of * count + places[axis], minlength=len(objects) * count).reshape(len(objects), count)

    return along(0), along(1), along(2)


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
