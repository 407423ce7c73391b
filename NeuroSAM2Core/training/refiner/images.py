"""Pictures of what a view shows: mean intensities of tissues near those of T1, T2, FLAIR and CT, or any, and what a scanner does to them.

`synth.anatomy.contrast` makes volumes for clips; here single small pictures are made, fast, and several slices of one volume alike.

The grid of a view and the finer one that it is drawn on, and smooth random fields on them.
Lesions that a sample may be about: smooth blobs with lobes, which drift from slice to slice, drawn into single planes of a head.
Where the pixels of a sample lie on its slices: a square around the object, turned, sheared, bent and mirrored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
from scipy import ndimage

from NeuroSAM2Core.model.mask_refiner import SIDE
from NeuroSAM2Core.synth.anatomy.contrast import MEANS, SHARE
from NeuroSAM2Core.synth.anatomy.labels import CEREBELLUM, CEREBRUM, ID, NAMES, NUM_LABELS, VENTRICLES, table_of
from NeuroSAM2Core.training.config.pretraining import SampleConfig

PIXELS_PER_CELL = 2
FINE = SIDE * PIXELS_PER_CELL
"""Side of the finer grid, pixels."""


def pooled(fine: Shaped[np.ndarray, "128 128"]) -> Float32[np.ndarray, "64 64"]:
    """The mean of each cell's pixels; of a mask, the share of the cell that it covers."""
    pixels = fine.reshape(SIDE, PIXELS_PER_CELL, SIDE, PIXELS_PER_CELL)
    return np.asarray(pixels.mean(axis=(1, 3), dtype=np.float32))


def smooth_field(rng: np.random.Generator, knots: int, side: int) -> Float32[np.ndarray, "side side"]:
    """Standard normal values on `knots` x `knots` places, the outermost ones at the border, and what lies between them."""
    values = torch.from_numpy(rng.standard_normal((1, 1, knots, knots), dtype=np.float32))
    enlarged = F.interpolate(values, size=(side, side), mode="bilinear", align_corners=True)
    return np.asarray(enlarged[0, 0].numpy())


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


MODALITIES: Mapping[str, Mapping[str, float]] = {
    **MEANS,
    "FLAIR": {**MEANS["T2"], "CSF": 0.2},
    "CT": {
        **MEANS["T1"],
        **{"white matter": 0.6, "cortex": 0.66, "CSF": 0.45, "fat": 0.1},
        **{"skull": 3.0, "diploe": 2.0, "muscle": 0.65, "skin": 0.6},
    },
}
"""Mean intensities of tissues."""
PROBABILITIES = {"T1": 0.45, "T2": 0.3, "FLAIR": 0.15, "CT": 0.1}
TISSUES = {name: name.removesuffix(" L").removesuffix(" R") for name in NAMES}
"""By label."""
GREY = ("caudate", "putamen", "hippocampus", "amygdala", "accumbens", "cerebellar cortex")
SHARE_DEVIATION, SHARE_RANGE = 0.12, (-0.3, 1.15)
"""Of where a tissue lies between cortex (0) and white matter (1)."""
IRON = 0.8
"""Pallidum in T2, as a share of white matter."""
INSIDE = np.array([*np.flatnonzero(IS_BRAIN), ID["CSF"]])
"""The labels inside of the skull, whose range of intensities noise is measured in."""


def draw_means(rng: np.random.Generator, config: SampleConfig) -> Float32[np.ndarray, "labels"]:
    """The mean intensity of every label in one volume."""
    tissues = _modality(rng) if rng.random() < config.modality else _any_contrast(rng)
    means = np.zeros(NUM_LABELS, np.float32)
    for number, tissue in enumerate(TISSUES.values()):
        means[number] = tissues[tissue]
    means[0] = 0.0 if rng.random() < 0.7 else rng.random()
    return means


def with_lesion(
    means: Float32[np.ndarray, "labels"], covered: int, rng: np.random.Generator
) -> Float32[np.ndarray, "labels"]:
    """The same means with one of a lesion: darker or brighter than the label it lies in, seldom that of fluid."""
    away = (means[IS_BRAIN].std() + 0.05) * rng.uniform(0.5, 2.5)
    changed = means.copy()
    changed[LESION] = means[covered] + (away if rng.random() < 0.5 else -away)
    if rng.random() < 0.15:
        changed[LESION] = means[ID["CSF"]]
    return changed


def _modality(rng: np.random.Generator) -> dict[str, float]:
    name = str(rng.choice(list(PROBABILITIES), p=list(PROBABILITIES.values())))
    typical = MODALITIES[name]
    white, cortex = typical["white matter"], typical["cortex"]
    if name != "CT":
        cortex = white + (cortex - white) * rng.uniform(0.5, 1.5)
    means = {}
    for tissue in dict.fromkeys(TISSUES.values()):
        if tissue in SHARE:
            share = np.clip(SHARE[tissue] + rng.normal(0, SHARE_DEVIATION), *SHARE_RANGE)
            means[tissue] = float(cortex + share * (white - cortex))
        else:
            typical_mean = typical.get("CSF" if tissue in VENTRICLES else tissue, 0.0)
            means[tissue] = float(typical_mean * np.exp(rng.normal(0, 0.1)))
    means |= {"white matter": white, "cortex": cortex}
    if name == "T2":
        means["pallidum"] = IRON * white
    return means


def _any_contrast(rng: np.random.Generator) -> dict[str, float]:
    """Intensities that have nothing to do with each other, but for fluid, and half of the time grey matter."""
    means = {tissue: rng.random() for tissue in dict.fromkeys(TISSUES.values())}
    means |= dict.fromkeys(VENTRICLES, means["CSF"])
    if rng.random() < 0.5:
        means |= {tissue: means["cortex"] + 0.15 * rng.normal() for tissue in GREY}
    return means


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scanner:
    """What the pictures of one volume have in common."""

    means: Float32[np.ndarray, "labels"]
    texture: Float32[np.ndarray, "128 128"]
    """Added where there is tissue."""
    bias: Float32[np.ndarray, "128 128"]
    """The picture is multiplied by it."""
    blur_px: float
    """Deviation of the blur that makes partial volume, pixels of the finer grid."""
    noise: float
    """Deviation of the noise of a voxel."""
    voxels: int
    """Along a side of the view."""

    @classmethod
    def draw(cls, means: Float32[np.ndarray, "labels"], side_mm: float, rng: np.random.Generator) -> "Scanner":
        """A scanner with voxels of about 1 mm.

        Args:
            means: Of the labels.
            side_mm: Of the view.
            rng: Draws the rest.
        """
        spread = float(np.ptp(means[INSIDE]))
        knots = max(3, int(side_mm / rng.uniform(4, 12)))
        return cls(
            means=means,
            texture=np.float32(rng.uniform(0, 0.05) * spread) * smooth_field(rng, knots, FINE),
            bias=np.exp(np.float32(0.15 * rng.normal()) * smooth_field(rng, 3, FINE)),
            blur_px=rng.uniform(0.4, 1.1) * FINE / side_mm,
            noise=float(np.exp(rng.uniform(*np.log((0.005, 0.08))))) * spread,
            voxels=max(4, int(side_mm)),
        )

    def picture(self, seen: UInt8[np.ndarray, "128 128"], rng: np.random.Generator) -> Float32[np.ndarray, "64 64"]:
        """A picture of labels, with noise of its own."""
        sharp = self.means[seen] + self.texture * (seen > 0)
        blurred = ndimage.gaussian_filter(sharp, self.blur_px, mode="nearest", truncate=2.5)
        return np.asarray(np.abs(pooled(blurred * self.bias) + self._noise(rng)), np.float32)

    def _noise(self, rng: np.random.Generator) -> Float32[np.ndarray, "64 64"]:
        """White where cells hold several voxels, of which they are the mean; else interpolated from voxels."""
        if self.voxels <= SIDE:
            return np.float32(self.noise) * smooth_field(rng, self.voxels, SIDE)
        return np.float32(self.noise * SIDE / self.voxels) * rng.standard_normal((SIDE, SIDE), dtype=np.float32)
