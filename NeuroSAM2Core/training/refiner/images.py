"""Pictures of what a view shows: mean intensities of tissues near those of T1, T2, FLAIR and CT, or any, and what a scanner does to them.

`synth.anatomy.contrast` makes volumes for clips; here single small pictures are made, fast, and several slices of one volume alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from NeuroSAM2Core.model.mask_refiner import SIDE
from NeuroSAM2Core.synth.anatomy.labels import ID, NAMES, NUM_LABELS, VENTRICLES
from NeuroSAM2Core.synth.anatomy.typical_images import MEANS, SHARE
from NeuroSAM2Core.training.config.refiner import SampleConfig
from NeuroSAM2Core.training.refiner.grids import FINE, pooled, smooth_field
from NeuroSAM2Core.training.refiner.lesions import IS_BRAIN, LESION

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
