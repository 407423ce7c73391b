"""Random shape: an affine map and an elastic one at three scales, single structures that grow or shrink, and atrophy."""

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from NeuroSAM2Core.synth.anatomy.grid import bounding_box, draw_noise, within
from NeuroSAM2Core.synth.anatomy.labels import ID, NUCLEI, is_in
from NeuroSAM2Core.synth.anatomy.landmarks import brain_length

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
    mask = labels == number
    if mask.any():
        part = labels[bounding_box(mask, int(reach_mm) + 2)]
        part[within(part == number, reach_mm) & (part == into)] = number


def shrink(labels: UInt8[np.ndarray, "k j i"], number: int, against: int, depth_mm: float) -> None:
    """Gives the rim of a label, where it borders on another, to that other; in place."""
    mask = labels == number
    if mask.any():
        part = labels[bounding_box(mask, int(depth_mm) + 2)]
        part[(part == number) & within(part == against, depth_mm)] = against


def shrink_cortex(labels: UInt8[np.ndarray, "k j i"], depth_mm: float) -> None:
    """Widens the sulci at the cost of the cortex, as in atrophy; in place."""
    outside = (labels == 0) | (labels == ID["CSF"]) | (labels > ID["air cavity"])
    labels[is_in(labels, "cortex") & within(outside, depth_mm)] = ID["CSF"]
