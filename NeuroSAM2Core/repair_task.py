"""A repair of one object as a value: done on the spot, or by a process beside the one that shows the object.

    any_python /path/to/NeuroSAM2Core/launch.py -m NeuroSAM2Core.repair_task TASK.npz RESULT.npz

The masks are those of `repair` and `components.cpu`; here they are cut out, sent and returned slice by slice, so that whoever shows the
object has little to do at a time.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.components.cpu import fill_holes, largest_component
from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.repair import (
    close_gaps,
    fill_between,
    grow,
    open_bridges,
    part_at,
    remove_small_parts,
    shrink,
    smooth,
    split_parts,
)

Mask = NDArray[np.bool_]
Triple = tuple[int, int, int]
LABELLING = 20
"""How much longer it takes to find the parts of a mask than to add a moved copy of it, about."""
QUICK = 4e7
"""Voxels times moved copies that are done on the spot: a few hundredths of a second."""


class RepairKind(Enum):
    """What is done."""

    KEEP_LARGEST = "keep largest"
    REMOVE_SMALL = "remove small"
    FILL_HOLES = "fill holes"
    SMOOTH = "smooth"
    OPEN = "open"
    CLOSE = "close"
    GROW = "grow"
    SHRINK = "shrink"
    KEEP_PART = "keep part"
    REMOVE_PART = "remove part"
    SPLIT = "split"
    FILL_BETWEEN = "fill between"


MOVES = {RepairKind.OPEN: 2, RepairKind.CLOSE: 2, RepairKind.GROW: 1, RepairKind.SHRINK: 1}
"""How many times the mask is moved by every step of a ball."""


@dataclass(frozen=True, slots=True, eq=False)
class ChangedSlices:
    """The slices on which two masks differ, as they are afterwards: few bytes where most of the image stays as it is."""

    indices: tuple[int, ...]
    """Of the image, along the axis that the mask was cut along."""
    corner: tuple[int, int]
    """Row and column where the part that is known begins; outside it there is nothing."""
    width: int
    """Columns of that part."""
    bits: NDArray[np.uint8]
    """(slices, rows, bytes): eight columns each."""

    @classmethod
    def between(cls, before: Mask, after: Mask, axis: int, first: Triple) -> "ChangedSlices":
        """Of two masks (K, J, I) that begin at `first` in the image, along an array axis."""
        others = tuple(a for a in range(3) if a != axis)
        places = np.flatnonzero((before != after).any(axis=others))
        bits = np.packbits(np.moveaxis(after, axis, 0)[places], axis=-1)
        row, col = (first[a] for a in others)
        indices = tuple(int(place) + first[axis] for place in places)
        return cls(indices, (row, col), after.shape[others[1]], bits)

    def masks(self, shape: tuple[int, int]) -> Iterator[tuple[int, Mask]]:
        """Each slice's index, and its mask of the image's shape."""
        (row, col), height = self.corner, self.bits.shape[1]
        for index, bits in zip(self.indices, self.bits, strict=True):
            mask = np.zeros(shape, bool)
            mask[row : row + height, col : col + self.width] = np.unpackbits(bits, axis=-1, count=self.width)
            yield index, mask


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairTask:
    """What is to be done to an object in 3-D."""

    kind: RepairKind
    image_shape: Triple
    """(K, J, I): there is nothing outside the image."""
    spacing_mm: tuple[float, float, float]
    """Along K, J and I."""
    first: Triple
    """Where the mask that is given begins in the image, (k, j, i); it ends where the object does."""
    axis: int
    """The array axis whose slices are returned."""
    length_mm: float = 1.0
    """How far is grown, shrunk and smoothed, and how wide a small part is."""
    place: Triple | None = None
    """A voxel of the part that is kept or removed, (k, j, i) of the image."""
    keys: tuple[int, ...] = ()
    """The slices between which others are drawn."""

    def is_quick(self, shape: Triple) -> bool:
        """Whether a mask of that shape is done in a few hundredths of a second."""
        moves = MOVES.get(self.kind, 0)
        copies = moves * math.prod(2 * steps + 1 for steps in self._reach[:2]) or LABELLING
        return copies * math.prod(size + 2 * steps for size, steps in zip(shape, self._reach, strict=True)) <= QUICK

    def changes(self, mask: Mask) -> list[ChangedSlices]:
        """How the object changes, and then each part that becomes an object of its own.

        Args:
            mask: The object, (K, J, I), without empty slices around it.

        Raises:
            DataError: It has too many parts to split.
        """
        room = [
            (min(steps, start), min(steps, whole - start - size))
            for steps, start, size, whole in zip(self._reach, self.first, mask.shape, self.image_shape, strict=True)
        ]
        before = np.pad(mask, room) if any(map(any, room)) else mask
        k, j, i = (start - side[0] for start, side in zip(self.first, room, strict=True))
        after, *parts = self._after(before, (k, j, i))
        nothing = np.zeros_like(before) if parts else before
        return [
            ChangedSlices.between(before, after, self.axis, (k, j, i)),
            *(ChangedSlices.between(nothing, part, self.axis, (k, j, i)) for part in parts),
        ]

    @property
    def _reach(self) -> Triple:
        """How many voxels around the object are looked at: more than can change, so that only the image's border is one."""
        if self.kind is RepairKind.FILL_BETWEEN:
            return 1, 1, 1
        if self.kind not in (*MOVES, RepairKind.SMOOTH):
            return 0, 0, 0
        k, j, i = (2 * math.ceil(self.length_mm / one) + 2 for one in self.spacing_mm)
        return k, j, i

    def _after(self, mask: Mask, first: Triple) -> list[Mask]:
        match self.kind:
            case RepairKind.SPLIT:
                return split_parts(mask)
            case RepairKind.FILL_BETWEEN:
                return [self._filled(mask, first)]
            case RepairKind.KEEP_PART | RepairKind.REMOVE_PART:
                assert self.place is not None, "a part is at a place"
                part = part_at(mask, tuple(n - start for n, start in zip(self.place, first, strict=True)))
                return [part if self.kind is RepairKind.KEEP_PART else mask & ~part]
            case _:
                return [repaired(self.kind, mask, self.spacing_mm, self.length_mm)]

    def _filled(self, mask: Mask, first: Triple) -> Mask:
        slices = np.moveaxis(mask, self.axis, 0)
        rows, cols = (one for a, one in enumerate(self.spacing_mm) if a != self.axis)
        start, filled = first[self.axis], mask.copy()
        known = {index: slices[index - start] for index in self.keys if 0 <= index - start < len(slices)}
        for index, one in fill_between(known, (rows, cols)).items():
            np.moveaxis(filled, self.axis, 0)[index - start] = one
        return filled


def repaired(kind: RepairKind, mask: Mask, spacing_mm: tuple[float, ...], length_mm: float) -> Mask:
    """A mask in 2-D or 3-D after a repair that needs no place.

    Args:
        kind: One that gives one mask of one mask.
        mask: (H, W) or (K, J, I).
        spacing_mm: Along its axes.
        length_mm: See `RepairTask`.
    """
    match kind:
        case RepairKind.KEEP_LARGEST:
            return largest_component(mask)
        case RepairKind.FILL_HOLES:
            return fill_holes(mask)
        case RepairKind.REMOVE_SMALL:
            return remove_small_parts(mask, spacing_mm, length_mm)
        case RepairKind.SMOOTH:
            return smooth(mask, spacing_mm, length_mm)
        case RepairKind.OPEN:
            return open_bridges(mask, spacing_mm, length_mm)
        case RepairKind.CLOSE:
            return close_gaps(mask, spacing_mm, length_mm)
        case RepairKind.GROW:
            return grow(mask, spacing_mm, length_mm)
        case RepairKind.SHRINK:
            return shrink(mask, spacing_mm, length_mm)
        case _:
            raise AssertionError(f"{kind} needs more than a mask")


def write_task(path: Path, task: RepairTask, mask: Mask) -> None:
    """Writes a task with its mask."""
    said = json.dumps(asdict(task) | {"kind": task.kind.value})
    with path.open("wb") as file:
        np.savez(file, task=said, shape=mask.shape, bits=np.packbits(mask))


def read_result(path: Path) -> list[ChangedSlices]:
    """What became of a task.

    Raises:
        DataError: It cannot be done; the process says why.
    """
    with np.load(path, allow_pickle=False) as found:
        if "message" in found:
            raise DataError(str(found["message"]), hint=str(found["hint"]))
        result: list[ChangedSlices] = []
        while f"bits{len(result)}" in found:
            row, col, width, *indices = found[f"where{len(result)}"].tolist()
            result.append(ChangedSlices(tuple(indices), (row, col), width, found[f"bits{len(result)}"]))
        return result


def main(arguments: Sequence[str]) -> None:
    """Does the task in one file, and writes another one with the result."""
    source, target = map(Path, arguments)
    with np.load(source, allow_pickle=False) as found:
        shape = tuple(found["shape"].tolist())
        mask = np.unpackbits(found["bits"], count=math.prod(shape)).reshape(shape).astype(bool)
        task = decoded(RepairTask, parse_json(str(found["task"])), "task")
    arrays: dict[str, Any] = {}
    try:
        for number, one in enumerate(task.changes(mask)):
            arrays[f"where{number}"] = np.array([*one.corner, one.width, *one.indices])
            arrays[f"bits{number}"] = one.bits
    except NeuroSAM2Error as error:
        arrays = {"message": error.message, "hint": error.hint}
    with target.open("wb") as file:
        np.savez(file, **arrays)


if __name__ == "__main__":
    main(sys.argv[1:])
