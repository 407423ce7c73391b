"""Lesions that a sample may be about: smooth blobs with lobes, which drift from slice to slice, drawn into single planes of a head."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from NeuroSAM2Core.synth.anatomy.labels import CEREBELLUM, CEREBRUM, ID, table_of

LESION = ID["lesion core"]
IS_BRAIN: Bool[np.ndarray, "labels"] = table_of(*CEREBRUM, *CEREBELLUM, "brainstem", "fourth ventricle")
"""Where lesions begin; heads have none of their own."""
RADIUS_MM = (3.0, 16.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesion:
    """A lesion around a place on a slice."""

    slice: int
    centre: Float[np.ndarray, "2"]
    """Row and column on that slice, mm."""
    radii: Float[np.ndarray, "2"]
    """Of its largest section, mm."""
    angle: float
    depth: float
    """Half its extent through the slices, mm."""
    offset: float
    """The slice lies so far above the largest section, as a share of the depth."""
    drift: Float[np.ndarray, "2"]
    """Of the centre from slice to slice, mm."""
    lobes: int
    lobe_size: float
    """As a share of the radius."""
    lobe_phase: float

    @classmethod
    def draw(cls, plane: UInt8[np.ndarray, "h w"], number: int, rng: np.random.Generator) -> "Lesion | None":
        """A lesion somewhere in the brain of a slice; None where it shows none."""
        rows, cols = np.nonzero(IS_BRAIN[plane])
        if not len(rows):
            return None
        spot = int(rng.integers(len(rows)))
        radius = float(np.exp(rng.uniform(*np.log(RADIUS_MM))))
        return cls(
            slice=number,
            centre=np.array([rows[spot], cols[spot]], float),
            radii=radius * rng.uniform(0.6, 1.4, 2),
            angle=rng.uniform(0, np.pi),
            depth=radius * rng.uniform(0.7, 2.5),
            offset=rng.uniform(-0.6, 0.6),
            drift=rng.uniform(0, 0.2 * np.pi, 2),
            lobes=int(rng.integers(2, 5)),
            lobe_size=rng.uniform(0, 0.25),
            lobe_phase=rng.uniform(0, 2 * np.pi),
        )

    def drawn_into(self, plane: UInt8[np.ndarray, "h w"], number: int) -> UInt8[np.ndarray, "h w"]:
        """A slice with the lesion's section in it; outside of the head there is none."""
        away = number - self.slice
        height = away / self.depth + self.offset
        if abs(height) >= 1:
            return plane
        row, col = np.ogrid[: plane.shape[0], : plane.shape[1]]
        down, across = row - self.centre[0] - self.drift[0] * away, col - self.centre[1] - self.drift[1] * away
        along = down * np.cos(self.angle) + across * np.sin(self.angle)
        beside = across * np.cos(self.angle) - down * np.sin(self.angle)
        reach = 1 + self.lobe_size * np.sin(self.lobes * np.arctan2(beside, along) + self.lobe_phase)
        squared = (along / self.radii[0]) ** 2 + (beside / self.radii[1]) ** 2
        inside = squared < (1 - height**2) * reach**2
        return np.where(inside & (plane > 0), np.uint8(LESION), plane)
