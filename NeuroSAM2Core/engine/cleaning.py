"""From what a person calls a blemish, in mm, to the pixels and voxels that the engine counts. Pure."""

import math
from dataclasses import replace

import numpy as np

from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.volume import Axis, Cleaning
from NeuroSAM2Core.volume.cleaning import ball, ball_of_disc, disc


def on_slices(
    options: EngineOptions, cleaning: Cleaning, spacing_mm: tuple[float, float, float], axis: Axis
) -> EngineOptions:
    """The options for the slices along an axis; the engine's own where nothing is said.

    Args:
        options: The engine's choices.
        cleaning: The person's.
        spacing_mm: Of the volume along i, j, k.
        axis: That slices are stacked along.
    """
    pixel_mm2 = float(np.prod(spacing_mm)) / dict(zip(Axis, spacing_mm, strict=True))[axis]
    holes, islands = options.max_hole_area, options.min_island_area
    if cleaning.hole_mm is not None:
        holes = largest_below(disc(cleaning.hole_mm, pixel_mm2))
    if cleaning.island_mm is not None:
        islands = math.ceil(disc(cleaning.island_mm, pixel_mm2))
    return replace(options, max_hole_area=holes, min_island_area=islands)


def in_whole(options: EngineOptions, cleaning: Cleaning, spacing_mm: tuple[float, float, float]) -> EngineOptions:
    """The options for an object as a whole: balls as wide as the discs on its slices."""
    voxel_mm3 = float(np.prod(spacing_mm))
    area, holes = options.max_hole_area, None
    if cleaning.hole_mm is not None:
        holes = largest_below(ball(cleaning.hole_mm, voxel_mm3))
    elif area is not None:
        holes = math.floor(ball_of_disc(area))
    if cleaning.island_mm is not None:
        islands = math.ceil(ball(cleaning.island_mm, voxel_mm3))
    else:
        islands = math.ceil(ball_of_disc(options.min_island_area))
    return replace(options, max_hole_volume=holes, min_island_volume=islands)


def largest_below(size: float) -> int:
    """The largest whole number that is smaller than a size; 0 where there is none."""
    return max(0, math.ceil(size) - 1)
