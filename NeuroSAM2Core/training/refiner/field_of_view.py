"""Where the pixels of a sample lie on its slices: a square around the object, turned, sheared, bent and mirrored."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from NeuroSAM2Core.training.config.refiner import SampleConfig
from NeuroSAM2Core.training.refiner.grids import FINE, smooth_field

MAX_SHIFT = 0.12
"""Of the object from the middle, as a share of the side."""
ANGLE_DEVIATION, ASPECT_DEVIATION, SHEAR_DEVIATION = 0.2, 0.1, 0.08
"""Of the angle in radians, of the logarithm of the square's aspect, of its shear."""
BENT, MAX_BEND = 0.7, 0.035
"""Probability that a view is bent, and the most, as a share of its side."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldOfView:
    """The places on a slice that the pixels of a picture show."""

    rows: Int[np.ndarray, "128 128"]
    cols: Int[np.ndarray, "128 128"]
    side_mm: float

    def seen(self, plane: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "128 128"]:
        """The labels there; beyond the border of the slice those of its border."""
        return np.asarray(plane[self.rows, self.cols])


def draw_field_of_view(
    mask: Bool[np.ndarray, "h w"], rng: np.random.Generator, config: SampleConfig, *, is_large: bool
) -> FieldOfView | None:
    """A view around an object; None where it would be too large.

    Args:
        mask: The object on the slice where it is known, 1 mm, not empty.
        rng: Draws the view.
        config: How large views are.
        is_large: It is one of the large objects, whose views are larger and show less around them.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longer = max(rows[-1] - rows[0], cols[-1] - cols[0]) + 1
    factor = rng.uniform(*(config.large_crop_range if is_large else config.crop_range))
    side = max(float(longer * factor), config.min_crop_mm)
    if side > (config.max_large_crop_mm if is_large else config.max_crop_mm):
        return None
    middle = np.array([rows[0] + rows[-1], cols[0] + cols[-1]]) / 2 + rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * side
    down, across = _bent_grid(rng)
    angle, shear = rng.normal(0, ANGLE_DEVIATION), rng.normal(0, SHEAR_DEVIATION)
    aspect = np.exp(rng.normal(0, ASPECT_DEVIATION))
    row = middle[0] + side * aspect * (np.cos(angle) * down + (np.sin(angle) + shear) * across)
    col = middle[1] + side / aspect * (np.cos(angle) * across - np.sin(angle) * down)
    upside_down, mirrored, transposed = rng.random(3) < 0.5

    def pixels(places: Float[np.ndarray, "128 128"], count: int) -> Int[np.ndarray, "128 128"]:
        numbers = np.rint(places).astype(np.int64).clip(0, count - 1)
        numbers = numbers[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
        return numbers.T if transposed else numbers

    return FieldOfView(pixels(row, mask.shape[0]), pixels(col, mask.shape[1]), side)


def _bent_grid(rng: np.random.Generator) -> tuple[Float[np.ndarray, "128 128"], Float[np.ndarray, "128 128"]]:
    """How far down and across the pixels lie from the middle, as a share of the side."""
    line = (np.arange(FINE) + 0.5) / FINE - 0.5
    down, across = np.meshgrid(line, line, indexing="ij")
    if rng.random() >= BENT:
        return down, across
    knots, bend = int(rng.integers(4, 8)), rng.uniform(0, MAX_BEND)
    return down + bend * smooth_field(rng, knots, FINE), across + bend * smooth_field(rng, knots, FINE)
