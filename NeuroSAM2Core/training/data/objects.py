"""What counts as one object in a label volume: a label value, or each of its connected parts; and on which slices it is seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.config.data import DataConfig

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
    foreground = labels > 0
    present, inverse = np.unique(labels[foreground], return_inverse=True)
    is_wanted = np.isin(present, data.classes) if data.classes else np.ones(len(present), dtype=bool)
    if not is_wanted.any():
        there = f"label values {_listed(present.tolist())}" if len(present) else "no voxel above 0"
        asked = f"; expected one of {_listed(list(data.classes))}" if data.classes else ""
        raise DataError(f"the label is empty: it has {there}{asked}")
    ranks = np.zeros(labels.shape, dtype=np.int32)
    ranks[foreground] = np.where(is_wanted[inverse], inverse + 1, 0)
    parts, names = (_by_part if data.labels == "instances" else _by_value)(ranks, present.tolist())
    sizes = np.bincount(parts.ravel(), minlength=len(names) + 1)[1:]
    is_kept = sizes >= data.min_voxels
    if not is_kept.any():
        raise DataError(
            f"the largest object has {sizes.max()} voxels; expected at least {data.min_voxels}",
            hint="see data.min_voxels",
        )
    number_of = np.concatenate(([0], np.where(is_kept, np.cumsum(is_kept), 0))).astype(np.int32)
    return ObjectMap(number_of[parts], tuple(name for name, kept in zip(names, is_kept, strict=True) if kept))


def _by_value(ranks: NDArray[np.int32], values: list[int]) -> tuple[NDArray[np.int32], list[str]]:
    """Every value is one part; those that are not wanted have no voxels."""
    return ranks, [str(value) for value in values]


def _by_part(ranks: NDArray[np.int32], values: list[int]) -> tuple[NDArray[np.int32], list[str]]:
    """Every connected part of every value."""
    parts = np.zeros_like(ranks)
    names: list[str] = []
    for rank, box in enumerate(ndimage.find_objects(ranks), start=1):
        if box is None:
            continue
        inside, count = ndimage.label(ranks[box] == rank, structure=CORNERS)
        parts[box] += np.where(inside > 0, inside + len(names), 0).astype(np.int32)
        names += [f"{values[rank - 1]}.{number + 1}" for number in range(count)]
    return parts, names


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
