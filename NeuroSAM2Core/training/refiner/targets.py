"""The target of a sample: an object of a head or a lesion, the slice that is shown, and the slices where it is known.

What the mask refiner is asked for in heads, as names of labels; the objects of each list are drawn alike often.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Int, UInt8

from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, CEREBRUM, NAMES, NUCLEI, table_of
from NeuroSAM2Core.training.config.pretraining import SampleConfig
from NeuroSAM2Core.training.refiner.images import IS_BRAIN, Lesion

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
