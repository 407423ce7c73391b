"""Clean-up settings of masks: how wide holes and islands may be, mm."""

import math
from dataclasses import dataclass

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskCleanup:
    """Holes that are filled and islands that are removed. A size is the width of a disc on a slice, and of a ball in the whole object."""

    hole_mm: float | None = None
    """Holes smaller than this are filled; 0: none; None: as the engine does by itself."""
    island_mm: float | None = None
    """Islands smaller than this are removed; 0: none; None: as the engine does by itself."""
    is_whole: bool = False
    """The object is cleaned as a whole, too, once a propagation has come to its end."""

    def __post_init__(self) -> None:
        for name, size in (("holes", self.hole_mm), ("islands", self.island_mm)):
            if size is not None and not (size >= 0 and math.isfinite(size)):
                raise ConfigError(f"the size of {name} is {size:g} mm; expected 0 or more", hint="0 leaves them alone")


DEFAULT_CLEANUP = MaskCleanup()
"""As the engine cleans where nobody says anything."""


def disc(width_mm: float, pixel_mm2: float) -> float:
    """Pixels of a disc."""
    return math.pi / 4 * width_mm**2 / pixel_mm2


def ball(width_mm: float, voxel_mm3: float) -> float:
    """Voxels of a ball."""
    return math.pi / 6 * width_mm**3 / voxel_mm3


def ball_of_disc(pixels: float) -> float:
    """Voxels of the ball that is as wide as a disc of so many pixels, where both have sides of 1."""
    return ball(2 * math.sqrt(pixels / math.pi), 1.0)
