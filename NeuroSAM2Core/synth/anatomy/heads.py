"""A bank of heads: individuals completed, deformed and dressed in a head many times, kept as files that clips are cut from.

Each head is `NNN.npy` (labels (K, J, I) uint8, 1 mm, 11.5 MB) with `NNN.npz` (voxels of each label on each slice of every axis, and the
donor). A head follows from its number alone: a bank that was cut short is continued, and one that grows keeps the heads it has.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.cerebrum import with_white_matter
from NeuroSAM2Core.synth.anatomy.completion import completed
from NeuroSAM2Core.synth.anatomy.deformation import deformed, resize_structures
from NeuroSAM2Core.synth.anatomy.individuals import HELD_OUT_DONORS, TRAINING_DONORS, Individual, read_individual
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, NUM_LABELS, table_of
from NeuroSAM2Core.synth.anatomy.sources import AnatomySources, find_sources
from NeuroSAM2Core.synth.anatomy.surroundings import add_surroundings, with_placeholders

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
