"""A bank of heads: individuals completed, deformed and dressed in a head many times, kept as files that clips are cut from.

Each head is `NNN.npy` (labels (K, J, I) uint8, 1 mm, 11.5 MB) with `NNN.npz` (voxels of each label on each slice of every axis, and the
donor). A head follows from its number alone: a bank that was cut short is continued, and one that grows keeps the heads it has.

Random shape: an affine map and an elastic one at three scales, single structures that grow or shrink, and atrophy.

Everything around the brain: fluid, skull with diploe, fat, muscle, a face with air cavities, skin and eyes.

The outer shape of the head and the inside of its skull are those of an average head, deformed together with the brain; all thicknesses
are formulas with noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from NeuroSAM2Core import disk
from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.completion import completed, with_white_matter
from NeuroSAM2Core.synth.anatomy.grid import brain_length, distance_outside, draw_noise, enlarged, within
from NeuroSAM2Core.synth.anatomy.individuals import (
    HELD_OUT_DONORS,
    TRAINING_DONORS,
    AnatomySources,
    Individual,
    find_sources,
    read_individual,
)
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, ID, NUCLEI, NUM_LABELS, is_in, table_of

LENGTH_MM = (150.0, 185.0)
"""From pole to pole, of the brains that are drawn."""
CELLS_MM = (55, 24, 11)
"""Scales of the elastic deformation."""


def deformed(labels: UInt8[np.ndarray, "k j i"], rng: np.random.Generator) -> UInt8[np.ndarray, "k j i"]:
    """A label map turned by up to 15 degrees, scaled, sheared and bent; each voxel takes the nearest label."""
    shear = np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3)) * (1 - np.eye(3))
    scale = rng.uniform(*LENGTH_MM) / brain_length(labels) * rng.uniform(0.94, 1.06, 3)
    matrix = _rotation(rng, 0.26) @ shear @ np.diag(1 / scale)  # from the result to the source
    coarse = labels[::4, ::4, ::4]
    brain = np.argwhere((coarse > 0) & (coarse < ID["brainstem"])) * 4
    middle = np.array(labels.shape) / 2 + [16, 0, 0] + rng.uniform(-8, 8, 3)
    offset = brain.mean(0) - matrix @ middle
    k, j, i = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in labels.shape], indexing="ij", sparse=True)
    places = [matrix[a, 0] * k + matrix[a, 1] * j + matrix[a, 2] * i + offset[a] for a in range(3)]
    strengths_mm = rng.uniform(2, 8), rng.uniform(0.5, 3.5), rng.uniform(0, 1.2)
    for place in places:
        for strength, cell in zip(strengths_mm, CELLS_MM, strict=True):
            place += strength * draw_noise(rng, cell, (labels.shape[0], labels.shape[1], labels.shape[2]))
    out: UInt8[np.ndarray, "k j i"] = ndimage.map_coordinates(labels, places, order=0, mode="constant")
    return out


def _rotation(rng: np.random.Generator, largest: float) -> Float[np.ndarray, "3 3"]:
    """A rotation by up to `largest` radians about each axis."""
    matrix = np.eye(3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle = rng.uniform(-largest, largest)
        turn = np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def resize_structures(labels: UInt8[np.ndarray, "k j i"], rng: np.random.Generator) -> None:
    """Lets up to three nuclei, now and then a ventricle, grow or shrink against the white matter around them; in place."""
    for _ in range(int(rng.integers(0, 4))):
        side = "LR"[int(rng.integers(2))]
        number, white = ID[f"{rng.choice(NUCLEI)} {side}"], ID[f"white matter {side}"]
        if rng.random() < 0.6:
            grow(labels, number, white, rng.uniform(0.5, 2.0))
        else:
            shrink(labels, number, white, rng.uniform(0.5, 1.5))
    if rng.random() < 0.2:  # hydrocephalus, or one side larger than the other
        sides = "LR" if rng.random() < 0.6 else "LR"[int(rng.integers(2))]
        reach_mm = rng.uniform(1.0, 4.0)
        for side in sides:
            grow(labels, ID[f"lateral ventricle {side}"], ID[f"white matter {side}"], reach_mm)
    if rng.random() < 0.25:
        shrink_cortex(labels, rng.uniform(0.5, 1.2))


def grow(labels: UInt8[np.ndarray, "k j i"], number: int, into: int, reach_mm: float) -> None:
    """Gives a label what lies within a distance of it and has another label; in place."""
    box = bounding_box(labels == number, margin=int(reach_mm) + 2)
    if box is not None:
        part = labels[box]
        part[within(part == number, reach_mm) & (part == into)] = number


def shrink(labels: UInt8[np.ndarray, "k j i"], number: int, against: int, depth_mm: float) -> None:
    """Gives the rim of a label, where it borders on another, to that other; in place."""
    box = bounding_box(labels == number, margin=int(depth_mm) + 2)
    if box is not None:
        part = labels[box]
        part[(part == number) & within(part == against, depth_mm)] = against


def shrink_cortex(labels: UInt8[np.ndarray, "k j i"], depth_mm: float) -> None:
    """Widens the sulci at the cost of the cortex, as in atrophy; in place."""
    outside = (labels == 0) | (labels == ID["CSF"]) | (labels > ID["air cavity"])
    labels[is_in(labels, "cortex") & within(outside, depth_mm)] = ID["CSF"]


HEAD, INNER_SKULL = 100, 101
"""Placeholders in a label map before its surroundings are made."""


def with_placeholders(labels: UInt8[np.ndarray, "k j i"], individual: Individual) -> UInt8[np.ndarray, "k j i"]:
    """A brain's labels with the two placeholders around it, to be deformed together."""
    around = np.where(individual.inner_skull, INNER_SKULL, np.where(individual.head, HEAD, 0))
    return np.where(labels > 0, labels, around).astype(np.uint8)


def add_surroundings(labels: UInt8[np.ndarray, "k j i"], rng: np.random.Generator) -> None:
    """Replaces the two placeholders by the parts of a head; in place."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    brain = (labels > 0) & (labels < HEAD)
    head, inner = labels >= HEAD, labels == INNER_SKULL
    inside = _within_dura(brain, inner, rng)
    outside = distance_outside(inside)
    bone = np.maximum(rng.uniform(3.5, 8.0) * (1 + 0.35 * draw_noise(rng, 40, shape)), 1.5)
    scalp = bone + np.maximum(rng.uniform(2.5, 9.0) * (1 + 0.4 * draw_noise(rng, 60, shape)), 1.5)
    head = (head | (outside < scalp)) & ~brain
    deep = distance_outside(~(head | brain))
    skin = deep < rng.uniform(1.2, 2.6)
    labels[head] = ID["fat"]
    _add_face(labels, head & (outside > scalp) & (deep > rng.uniform(4, 9)), rng)
    temporal = (outside > bone) & (outside < scalp) & (draw_noise(rng, 30, shape) > 0.7)
    labels[temporal & head] = ID["muscle"]
    labels[skin & head] = ID["skin"]
    is_bone = ~inside & (outside < bone) & ~brain
    labels[is_bone] = ID["skull"]
    marrow = (outside > 0.3 * bone) & (outside < 0.75 * bone) & (draw_noise(rng, 25, shape) > rng.uniform(-0.9, 0.3))
    labels[is_bone & marrow] = ID["diploe"]
    labels[inside & ~brain] = ID["CSF"]
    _add_eyes(labels, brain, rng)


def _within_dura(
    brain: Bool[np.ndarray, "k j i"], inner_skull: Bool[np.ndarray, "k j i"], rng: np.random.Generator
) -> Bool[np.ndarray, "k j i"]:
    """The brain with the fluid around it: its hull and a gap, sometimes all of the skull's inside that is near."""
    shape = (brain.shape[0], brain.shape[1], brain.shape[2])
    coarse = np.pad(brain[::2, ::2, ::2], 6)
    hull = ndimage.binary_closing(coarse, iterations=5)[6:-6, 6:-6, 6:-6]
    outside = distance_outside((enlarged(hull.astype(np.float32), shape) > 0.5) | brain)
    inside = outside < np.maximum(rng.uniform(0.8, 4.5) * (1 + 0.5 * draw_noise(rng, 40, shape)), 0.6)
    if rng.random() < 0.5:
        inside |= inner_skull & (outside < rng.uniform(4, 9))
    return inside


def _add_face(labels: UInt8[np.ndarray, "k j i"], face: Bool[np.ndarray, "k j i"], rng: np.random.Generator) -> None:
    """Fills the face with muscle, and with fat, air and bone by noise; in place."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    labels[face] = ID["muscle"]
    soft, hard = draw_noise(rng, rng.uniform(9, 16), shape), draw_noise(rng, rng.uniform(7, 14), shape)
    for label, place in (
        ("fat", soft > 0.55),
        ("air cavity", soft < -0.65),
        ("skull", hard > 0.6),
        ("diploe", hard > 0.85),
    ):
        labels[face & place] = ID[label]


def _add_eyes(labels: UInt8[np.ndarray, "k j i"], brain: Bool[np.ndarray, "k j i"], rng: np.random.Generator) -> None:
    """Adds two balls in front of the lower front of the brain, with fat behind; in place."""
    k, j, i = np.where(brain[::3, ::3, ::3])
    middle, low, front = 3 * np.median(i), 3 * np.percentile(k, 24), 3 * np.percentile(j, 99.5)
    radius = rng.uniform(10, 14)
    for side in (-1, 1):
        eye = (low + rng.uniform(-4, 4), front - rng.uniform(4, 12), middle + side * rng.uniform(27, 34))
        for label, reach, back in (("fat", radius + 5, 6), ("eye", radius, 0)):
            centre = (eye[0], eye[1] - back, eye[2])
            box = tuple(slice(max(0, int(c - reach - 2)), int(c + reach + 3)) for c in centre)
            part = labels[box]
            places = [s.start + np.arange(n) - c for s, n, c in zip(box, part.shape, centre, strict=True)]
            squares = np.sum([g**2 for g in np.meshgrid(*places, indexing="ij")], axis=0)
            part[(squares < reach**2) & ~brain[box] & ~np.isin(part, [0, ID["CSF"], ID["skull"]])] = ID[label]


T = TypeVar("T")
R = TypeVar("R")
TRAINING_STREAM, HELD_OUT_STREAM = 77, 78
STRIPPED = 0.25
"""Probability that a head is nothing but a brain, as after skull stripping."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One label map of a bank."""

    labels: UInt8[np.ndarray, "k j i"]
    """Memory-mapped where it was read from a file and the system lets go of such files."""
    counts: tuple[Int[np.ndarray, "k labels"], Int[np.ndarray, "j labels"], Int[np.ndarray, "i labels"]]
    """For each axis: voxels of each label on each slice."""
    donor: str = ""

    @classmethod
    def of(cls, labels: UInt8[np.ndarray, "k j i"], donor: str = "") -> "Head":
        """A label map with its labels counted."""
        k, j, i = (_count(labels, axis) for axis in range(3))
        return cls(labels, (k, j, i), donor)

    @property
    def volumes(self) -> Int[np.ndarray, "labels"]:
        """Voxels of each label."""
        return self.counts[0].sum(0)

    def save(self, folder: Path, number: int) -> None:
        """Writes the two files; the label map last, so that a head which is there is whole."""
        target = _path(folder, number)
        k, j, i = self.counts
        np.savez(target.with_suffix(".npz"), donor=np.array(self.donor), axis0=k, axis1=j, axis2=i)
        with disk.replaced_atomically(target, suffix=".partial.npy") as partial_file:
            np.save(partial_file, self.labels)

    @classmethod
    def load(cls, folder: Path, number: int) -> "Head":
        """A head of a bank; its labels stay in the file until they are used.

        Raises:
            DataError: It is not there or damaged.
        """
        path = _path(folder, number)
        try:
            with np.load(path.with_suffix(".npz")) as kept:
                counts = (kept["axis0"], kept["axis1"], kept["axis2"])
                return cls(np.load(path, mmap_mode="r" if disk.MAPS_FILES else None), counts, str(kept["donor"]))
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"head {number} of {folder} cannot be read: {error}", hint="delete its files; they are made again"
            ) from error


def make_head(individual: Individual, rng: np.random.Generator, *, donor: str = "") -> Head:
    """A new head of an individual whose white matter is filled in; see `with_white_matter`."""
    labels = deformed(with_placeholders(completed(individual, rng), individual), rng)
    resize_structures(labels, rng)
    add_surroundings(labels, rng)
    if rng.random() < STRIPPED:
        kept = table_of(*BRAIN, *(["CSF"] if rng.random() < 0.5 else []))
        labels[~kept[labels]] = 0
    return Head.of(labels, donor)


def donor_of(number: int, *, held_out: bool) -> str:
    """The donor that a head is made of; they take turns."""
    donors = HELD_OUT_DONORS if held_out else TRAINING_DONORS
    return donors[number % len(donors)]


def missing_heads(folder: Path, count: int) -> list[int]:
    """The numbers below `count` that a bank does not have yet."""
    return [number for number in range(count) if not _path(folder, number).exists()]


def check_bank(folder: Path, count: int) -> None:
    """Checks that a bank has so many heads.

    Raises:
        DataError: It lacks some.
    """
    missing = missing_heads(folder, count)
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} of {count} heads",
            hint="`neurosam2 pretrain FOLDER --recipe anatomy`, or refiner, makes them before it trains",
        )


def load_training_heads(folder: Path, count: int) -> list[Head]:
    """The first heads of a bank, to train on.

    Raises:
        DataError: A head is missing, damaged, or made of a donor that is kept for development.
    """
    check_bank(folder, count)
    heads = [Head.load(folder, number) for number in range(count)]
    for number, head in enumerate(heads):
        if head.donor in HELD_OUT_DONORS:
            raise DataError(
                f"head {number} of {folder} is made of donor {head.donor}, who is kept for development",
                hint="train on another bank",
            )
    return heads


def build_bank(
    folder: Path,
    count: int,
    *,
    held_out: bool = False,
    sources: AnatomySources | None = None,
    workers: int = 1,
    on_head: Callable[[int], None] = lambda number: None,
) -> None:
    """Makes the heads that a bank lacks.

    Args:
        folder: Where the bank lies.
        count: How many heads it is to have.
        held_out: Make them of the donors that are kept for development.
        sources: Where the published files lie; looked for if None.
        workers: Processes; 0 or 1 to use only this one.
        on_head: Called with the number of each head that was made.

    Raises:
        DataError: The published files are not there.
    """
    numbers = missing_heads(folder, count)
    if not numbers:
        return
    folder.mkdir(parents=True, exist_ok=True)
    donors = sorted({donor_of(number, held_out=held_out) for number in numbers})
    unprepared = [donor for donor in donors if not _individual_path(folder, donor).exists()]
    if unprepared:
        prepare = partial(_prepare, folder, sources or find_sources())
        for _ in _in_processes(prepare, unprepared, workers):
            pass
    for number in _in_processes(partial(_make_and_save, folder, held_out), numbers, workers):
        on_head(number)


def build_head(folder: Path, number: int, *, held_out: bool = False, sources: AnatomySources | None = None) -> Head:
    """One head of a bank, made where it is missing; see `build_bank`."""
    if number in missing_heads(folder, number + 1):
        folder.mkdir(parents=True, exist_ok=True)
        donor = donor_of(number, held_out=held_out)
        if not _individual_path(folder, donor).exists():
            _prepare(folder, sources or find_sources(), donor)
        _make_and_save(folder, held_out, number)
    return Head.load(folder, number)


def _make_and_save(folder: Path, held_out: bool, number: int) -> int:
    donor = donor_of(number, held_out=held_out)
    rng = np.random.default_rng((HELD_OUT_STREAM if held_out else TRAINING_STREAM, number))
    make_head(_load_individual(folder, donor), rng, donor=donor).save(folder, number)
    return number


def _prepare(folder: Path, sources: AnatomySources, donor: str) -> None:
    """Keeps an individual with its white matter in the bank's folder: more heads can then be made without the published files."""
    individual = read_individual(donor, sources)
    kept = _individual_path(folder, donor)
    with disk.replaced_atomically(kept, suffix=".partial.npz") as partial_file:
        np.savez_compressed(
            partial_file,
            labels=with_white_matter(individual),
            cingulate=individual.cingulate,
            head=individual.head,
            inner_skull=individual.inner_skull,
        )


def _load_individual(folder: Path, donor: str) -> Individual:
    with np.load(_individual_path(folder, donor)) as values:
        return Individual(**{name: values[name] for name in values.files})


def _in_processes(task: Callable[[T], R], inputs: Sequence[T], workers: int) -> Iterator[R]:
    """The task's results in any order, computed by so many processes; by this one if there are fewer than two."""
    if workers < 2:
        yield from map(task, inputs)
        return
    with get_context("spawn").Pool(min(workers, len(inputs)), torch.set_num_threads, (1,)) as pool:
        yield from pool.imap_unordered(task, inputs)


def _count(labels: UInt8[np.ndarray, "k j i"], axis: int) -> Int[np.ndarray, "slices labels"]:
    planes = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1).astype(np.int64)
    planes += (np.arange(len(planes)) * NUM_LABELS)[:, None]
    counts = np.bincount(planes.ravel(), minlength=len(planes) * NUM_LABELS)
    return counts.reshape(-1, NUM_LABELS).astype(np.int32)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}.npy"


def _individual_path(folder: Path, donor: str) -> Path:
    return folder / f"donor_{donor}.npz"
