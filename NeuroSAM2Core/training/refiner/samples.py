"""Samples that the mask refiner learns from: a view as inference gives it, and the share of each of its cells that is the object.

The target of a sample is an object of a head or a lesion, the slice that is shown, and the slices where it is known; the objects of each
list are drawn alike often. A view is made by the functions that inference makes it with; only the picture, what is known of the object and
the truth are made here. The batch of every step of a run follows from the seed, the step and the bank alone.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from NeuroSAM2Core.inference.prediction.mask_refinement import IntensityContrast
from NeuroSAM2Core.inference.prediction.mask_transfer import signed_distance
from NeuroSAM2Core.inference.prediction.refiner_view import CellBox, Picture, normalised, view_of_box, view_of_mask
from NeuroSAM2Core.model.mask_refiner import SIDE
from NeuroSAM2Core.synth.anatomy.heads import Head, load_training_heads
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, CEREBRUM, NAMES, NUCLEI, table_of
from NeuroSAM2Core.training.config.pretraining import RefinerConfig, SampleConfig
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.refiner.images import (
    IS_BRAIN,
    Lesion,
    Scanner,
    draw_field_of_view,
    draw_means,
    pooled,
    smooth_field,
    with_lesion,
)

Names = tuple[str, ...]

SMALL: tuple[Names, ...] = tuple((f"{name} {side}",) for name, side in product((*NUCLEI, "lateral ventricle"), "LR"))
MIDDLE: tuple[Names, ...] = tuple(
    (name,)
    for name in (
        *("third ventricle", "fourth ventricle", "ventral DC L", "ventral DC R", "corpus callosum", "brainstem"),
    )
)
JOINED: tuple[Names, ...] = (
    ("cerebellar cortex", "cerebellar white matter"),
    ("cerebellar cortex L", "cerebellar white matter L"),
    ("lateral ventricle",),
    ("thalamus",),
    ("putamen L", "pallidum L"),
    ("putamen R", "pallidum R"),
    ("caudate R", "putamen R"),
    ("hippocampus L", "amygdala L"),
    ("hippocampus R", "amygdala R"),
    ("brainstem", "ventral DC"),
)
"""A name without its side stands for both sides."""
OBJECTS = 3 * SMALL + MIDDLE + JOINED
HEMISPHERE: Names = ("cortex", "white matter", "lateral ventricle", "ventral DC", *NUCLEI)
LARGE_OBJECTS: tuple[Names, ...] = (
    *5 * (BRAIN,),
    *2 * ((*BRAIN, "CSF"),),
    *2 * (CEREBRUM,),
    NAMES[1:],
    *2 * (("white matter", "corpus callosum"),),
    ("cortex", *NUCLEI),
    *2 * (("cerebellar cortex", "cerebellar white matter"),),
    *(tuple(f"{name} {side}" for name in HEMISPHERE) for side in "LR"),
)


MIN_LARGEST_MM2 = 25
"""Objects that reach this on no slice are passed over."""
MIN_PROMPTED_MM2, MIN_PROMPTED_RATIO, MIN_PROMPTED_RATIO_OF_BRAIN = 12, 0.15, 0.4
"""A slice that a person prompts has this much of the object, in mm² and as a share of the largest section."""
MIN_KNOWN_MM2 = 10
GAPS = (1, 1, 1, 2, 3, 5)
"""Slices from the one where the mask is known to the one that is shown."""
CONFIRMED_HERE = 0.4
"""Probability that intensities are known from any slice that a person may have prompted; else from one just before the known one."""
MAX_BEHIND = 7


@dataclass(frozen=True, slots=True)
class Places:
    """The slices that a sample takes from a head; all the same where a box is known."""

    shown: int
    known: int
    """Where the object's mask is known."""
    reference: int
    """Where its intensities are known from."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """An object and the slices that it is seen on."""

    places: Places
    planes: Mapping[int, UInt8[np.ndarray, "h w"]]
    """The labels of these slices, with the lesion."""
    is_object: Bool[np.ndarray, "labels"]
    has_box: bool
    is_large: bool
    covered: int
    """The label that a lesion lies in; 0 for objects of the head."""

    @property
    def known_mask(self) -> Bool[np.ndarray, "h w"]:
        """The object where it is known."""
        return np.asarray(self.is_object[self.planes[self.places.known]])


def draw_target(head: Head, rng: np.random.Generator, config: SampleConfig) -> Target | None:
    """An object of a head along any axis; None where what was drawn can hardly be seen."""
    axis = int(rng.integers(3))
    is_lesion = bool(rng.random() < config.lesion)
    is_large = not is_lesion and bool(rng.random() < config.large)
    objects = LARGE_OBJECTS if is_large else OBJECTS
    is_object = table_of(*("lesion core",) if is_lesion else objects[int(rng.integers(len(objects)))])
    areas = np.asarray(head.counts[axis] @ (IS_BRAIN if is_lesion else is_object))
    has_box = bool(rng.random() < config.box)
    places = _draw_places(areas, rng, has_box=has_box, is_lesion=is_lesion)
    if places is None:
        return None
    stack = np.moveaxis(head.labels, axis, 0)
    numbers = dict.fromkeys((places.shown, places.known, places.reference))
    plain = {number: np.asarray(stack[number]) for number in numbers}
    planes = plain
    if is_lesion:
        lesion = Lesion.draw(plain[places.known], places.known, rng)
        if lesion is None:
            return None
        planes = {number: lesion.drawn_into(plane, number) for number, plane in plain.items()}
    known = is_object[planes[places.known]]
    if known.sum() < MIN_KNOWN_MM2:
        return None
    covered = int(np.bincount(plain[places.known][known]).argmax()) if is_lesion else 0
    return Target(
        places=places, planes=planes, is_object=is_object, has_box=has_box, is_large=is_large, covered=covered
    )


def _draw_places(
    areas: Int[np.ndarray, "slices"], rng: np.random.Generator, *, has_box: bool, is_lesion: bool
) -> Places | None:
    """The slices of a sample; None where a slice would lie outside of the head.

    Args:
        areas: Of the object on each slice, mm²; of the brain for a lesion.
        rng: Draws them.
        has_box: A box on the shown slice is all that is known.
        is_lesion: See `areas`.
    """
    largest = areas.max()
    if largest < MIN_LARGEST_MM2:
        return None
    ratio = MIN_PROMPTED_RATIO_OF_BRAIN if is_lesion else MIN_PROMPTED_RATIO
    prompted = np.flatnonzero(areas >= max(MIN_PROMPTED_MM2, ratio * largest))
    if has_box:
        number = int(rng.choice(prompted))
        return Places(number, number, number)
    direction = 1 if rng.random() < 0.5 else -1
    known = int(rng.choice(np.flatnonzero(areas >= MIN_KNOWN_MM2)))
    shown = known + direction * int(rng.choice(GAPS))
    is_anywhere = rng.random() < CONFIRMED_HERE
    reference = int(rng.choice(prompted)) if is_anywhere else known - direction * int(rng.integers(MAX_BEHIND + 1))
    if not (0 <= shown < len(areas) and 0 <= reference < len(areas)):
        return None
    return Places(shown, known, reference if areas[reference] >= MIN_KNOWN_MM2 else known)


Cells = Bool[np.ndarray, "64 64"]
Shares = Float32[np.ndarray, "64 64"]
"""The share of each cell that is the object."""
MIN_BOX_CELLS, MIN_MASK_CELLS = 6, 4
TIGHT, TIGHT_RANGE, LOOSE_RANGE = 0.45, (-0.06, 0.06), (-0.03, 0.2)
"""Probability of a tight box, and how far the sides of tight and loose ones lie beyond the object, as shares of its sides."""
SPOILT, SIZE_DEVIATION = 0.85, 0.05
"""Probability that a known mask is not the true one, and how much larger or smaller it is, as a share of the object's mean side."""
MAX_ROUGHNESS, ROUGHNESS_RATIO = 2.0, 0.08
"""How far its border strays at most, cells; the latter as a share of the object's mean side."""


@dataclass(frozen=True, slots=True, eq=False)
class RefinerSample:
    """A view and what it shows."""

    view: Float32[np.ndarray, "5 64 64"]
    truth: Shares
    has_box: bool


def draw_sample(heads: Sequence[Head], rng: np.random.Generator, config: SampleConfig) -> RefinerSample:
    """A sample of any of the heads."""
    while True:
        sample = _drawn(heads[int(rng.integers(len(heads)))], rng, config)
        if sample is not None:
            return sample


def _drawn(head: Head, rng: np.random.Generator, config: SampleConfig) -> RefinerSample | None:
    """A sample of a head; None where too little of the object would be seen."""
    target = draw_target(head, rng, config)
    if target is None:
        return None
    field = draw_field_of_view(target.known_mask, rng, config, is_large=target.is_large)
    if field is None:
        return None
    means = draw_means(rng, config)
    if target.covered:
        means = with_lesion(means, target.covered, rng)
    scanner = Scanner.draw(means, field.side_mm, rng)
    labels = {number: field.seen(plane) for number, plane in target.planes.items()}
    pictures = {number: scanner.picture(seen, rng) for number, seen in labels.items()}
    shares = {number: pooled(target.is_object[seen]) for number, seen in labels.items()}
    places = target.places
    truth = shares[places.shown]
    if target.has_box:
        box = draw_box(truth > 0.5, rng)
        view = None if box is None else view_of_box(pictures[places.shown], box)
    else:
        mask = draw_mask(shares[places.known] > 0.5, rng)
        reference = (pictures[places.reference], shares[places.reference] > 0.5)
        view = None if mask is None else neighbour_view(pictures[places.shown], pictures[places.known], mask, reference)
    return None if view is None else RefinerSample(view, truth, target.has_box)


def neighbour_view(
    picture: Picture, neighbour: Picture, mask: Cells, reference: tuple[Picture, Cells]
) -> Float32[np.ndarray, "5 64 64"]:
    """The view of a slice beside one where the object is known.

    Args:
        picture: The slice.
        neighbour: The one beside it.
        mask: The object there.
        reference: A slice that teaches what the object looks like, and the object there, which may be empty.
    """
    contrast = IntensityContrast.of([reference])
    evidence = None if contrast is None else contrast.evidence(picture)
    return view_of_mask(normalised(picture), normalised(neighbour), mask, evidence)


def draw_box(truth: Cells, rng: np.random.Generator) -> CellBox | None:
    """A box as a person draws it around an object; None around one that can hardly be seen."""
    if truth.sum() < MIN_BOX_CELLS:
        return None
    tight = CellBox.around(truth)
    assert tight is not None
    height, width = tight.bottom - tight.top + 1, tight.right - tight.left + 1
    above, before, below, behind = rng.uniform(*(TIGHT_RANGE if rng.random() < TIGHT else LOOSE_RANGE), 4)
    return CellBox(
        max(0, round(tight.top - above * height)),
        max(0, round(tight.left - before * width)),
        min(SIDE - 1, round(tight.bottom + below * height)),
        min(SIDE - 1, round(tight.right + behind * width)),
    )


def draw_mask(truth: Cells, rng: np.random.Generator) -> Cells | None:
    """A mask as propagation leaves it, with borders that stray; None of an object that can hardly be seen."""
    area = int(truth.sum())
    if area < MIN_MASK_CELLS:
        return None
    if rng.random() >= SPOILT or truth.all():
        return truth
    side = np.sqrt(area)
    roughness = min(MAX_ROUGHNESS, ROUGHNESS_RATIO * side) * rng.random()
    distances = signed_distance(truth)
    distances -= np.copysign(0.5, distances)  # from the border, which lies between the cells
    strayed = distances + rng.normal(0, SIZE_DEVIATION) * side
    strayed += roughness * smooth_field(rng, int(rng.integers(4, 12)), SIDE)
    mask = strayed > 0
    return mask if mask.sum() >= MIN_MASK_CELLS else None


HELD_OUT_STREAM = 5
"""Tells the draws that are measured with from those of a run, whatever its seed."""


@dataclass(frozen=True, slots=True, eq=False)
class RefinerBatch:
    """Some samples."""

    views: Float[Tensor, "b 5 64 64"]
    truths: Float[Tensor, "b 1 64 64"]
    """The share of each cell that is the object."""
    has_box: Bool[Tensor, "b"]

    @classmethod
    def of(cls, samples: Sequence[RefinerSample]) -> "RefinerBatch":
        """Samples as one batch."""
        return cls(
            torch.from_numpy(np.stack([sample.view for sample in samples])),
            torch.from_numpy(np.stack([sample.truth for sample in samples]))[:, None],
            torch.tensor([sample.has_box for sample in samples]),
        )

    def to(self, device: torch.device) -> "RefinerBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "RefinerBatch":
        """The same batch in memory that a GPU reads by itself; a data loader asks for it."""
        return self._each(lambda tensor: tensor.pin_memory())

    def share_memory(self) -> None:
        """Moves the tensors to where other processes can have them."""
        for tensor in (self.views, self.truths, self.has_box):
            tensor.share_memory_()

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RefinerBatch":
        return RefinerBatch(change(self.views), change(self.truths), change(self.has_box))


class RefinerBatches(Dataset[RefinerBatch]):
    """The batch of every step.

    Args:
        config: The run.
        bank: The folder of heads; it is opened when the first batch is asked for, in the process that asks.
    """

    def __init__(self, config: RefinerConfig, bank: Path) -> None:
        self.config, self.bank = config, bank

    @cached_property
    def heads(self) -> list[Head]:
        """The bank's heads, opened.

        Raises:
            DataError: A head is missing, or made of a donor that is kept for development.
        """
        return load_training_heads(self.bank, self.config.heads)

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> RefinerBatch:
        rng = np.random.default_rng((self.config.seed, step))
        return RefinerBatch.of([draw_sample(self.heads, rng, self.config.samples) for _ in range(self.config.batch)])


def batches(
    config: RefinerConfig, bank: Path, *, start: int, device: torch.device, workers: int
) -> Generator[RefinerBatch, None, None]:
    """The batches of the steps from `start` on, prepared ahead by worker processes; without any, when they are asked for."""
    steps = range(start, config.steps)
    return loaded(RefinerBatches(config, bank), steps, workers=workers, prefetch=4, pins=device.type == "cuda")


def held_out_samples(config: RefinerConfig, bank: Path) -> RefinerBatch:
    """The samples that runs are measured with: always the same, of the first heads of another bank.

    Raises:
        DataError: A head is missing.
    """
    heads = [Head.load(bank, number) for number in range(config.held_out_heads)]
    rng = np.random.default_rng(HELD_OUT_STREAM)
    return RefinerBatch.of([draw_sample(heads, rng, config.samples) for _ in range(config.held_out_samples)])
