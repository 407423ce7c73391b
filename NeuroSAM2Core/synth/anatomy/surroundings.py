"""Everything around the brain: fluid, skull with diploe, fat, muscle, a face with air cavities, skin and eyes.

The outer shape of the head and the inside of its skull are those of an average head, deformed together with the brain; all thicknesses are
formulas with noise.
"""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from NeuroSAM2Core.synth.anatomy.grid import distance_outside, draw_noise, enlarged
from NeuroSAM2Core.synth.anatomy.individuals import Individual
from NeuroSAM2Core.synth.anatomy.labels import ID

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
