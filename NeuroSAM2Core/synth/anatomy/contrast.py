"""From labels to a picture: mean intensities in the real orders of T1, T2, FLAIR and CT, or any at all, and what a scanner does to them.

Source: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", 2023; Gudbjartsson
and Patz, "The Rician distribution of noisy MRI data", 1995.

Mean intensities of tissues in T1, T2, FLAIR and CT, as ranges that a contrast is drawn from.

In MRI they are relative to white matter in T1, in CT they are Hounsfield units. Fat is up to 2.6 times as bright as white matter in T1:
the window of a whole head then leaves a tenth of the grey levels to the contrast of grey and white matter.

Typical T1 and T2 images of label maps: fixed means of each tissue, mild noise. Training draws its contrasts elsewhere.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Float32, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.synth.anatomy.grid import torch_generator
from NeuroSAM2Core.synth.anatomy.labels import ID, NAMES, NUM_LABELS, VENTRICLES, ids
from NeuroSAM2Core.synth.frame import blur, smooth_noise

Range = tuple[float, float]
MODALITIES: dict[str, dict[str, Range]] = {
    "T1": {
        "white matter": (1.0, 1.0), "cortex": (0.58, 0.9), "CSF": (0.12, 0.45), "fat": (1.2, 2.6),
        "skin": (0.8, 1.6), "muscle": (0.45, 0.85), "skull": (0.05, 0.25), "diploe": (0.5, 1.9), "eye": (0.15, 0.4),
        "air cavity": (0.0, 0.06), "choroid plexus": (0.4, 0.9), "lesion core": (0.3, 1.5), "lesion rim": (0.6, 1.7),
        "oedema": (0.4, 0.85),
    },
    "T2": {
        "white matter": (0.45, 0.6), "cortex": (0.62, 0.85), "CSF": (0.95, 1.6), "fat": (0.6, 1.7),
        "skin": (0.4, 0.9), "muscle": (0.2, 0.4), "skull": (0.03, 0.15), "diploe": (0.4, 1.0), "eye": (0.95, 1.6),
        "air cavity": (0.0, 0.06), "choroid plexus": (0.7, 1.1), "lesion core": (0.5, 1.4), "lesion rim": (0.5, 1.1),
        "oedema": (0.8, 1.2),
    },
    "FLAIR": {
        "white matter": (0.5, 0.65), "cortex": (0.64, 0.85), "CSF": (0.05, 0.25), "fat": (0.6, 1.7),
        "skin": (0.4, 0.9), "muscle": (0.25, 0.45), "skull": (0.03, 0.15), "diploe": (0.4, 1.0), "eye": (0.05, 0.3),
        "air cavity": (0.0, 0.06), "choroid plexus": (0.4, 0.8), "lesion core": (0.3, 1.4), "lesion rim": (0.7, 1.3),
        "oedema": (0.85, 1.3),
    },
    "CT": {
        "white matter": (22, 30), "cortex": (33, 42), "CSF": (2, 14), "fat": (-110, -70), "skin": (20, 60),
        "muscle": (45, 65), "skull": (600, 1500), "diploe": (200, 600), "eye": (5, 20), "air cavity": (-1000, -700),
        "choroid plexus": (30, 120), "lesion core": (10, 75), "lesion rim": (25, 80), "oedema": (12, 24),
    },
}  # fmt: skip
PROBABILITIES = {"T1": 0.42, "T2": 0.16, "FLAIR": 0.12, "CT": 0.1}
"""The rest is any contrast at all."""
TOWARDS_WHITE: dict[str, Range] = {
    "thalamus": (0.2, 0.75), "caudate": (-0.1, 0.25), "putamen": (0.0, 0.4), "pallidum": (0.4, 1.15),
    "accumbens": (-0.1, 0.2), "hippocampus": (-0.15, 0.2), "amygdala": (-0.15, 0.15), "ventral DC": (0.4, 0.95),
    "brainstem": (0.65, 1.0), "corpus callosum": (0.95, 1.1), "cerebellar cortex": (-0.15, 0.2),
    "cerebellar white matter": (0.7, 1.05), "cortex": (0.0, 0.0), "white matter": (1.0, 1.0),
}  # fmt: skip
"""Where tissues lie between cortex (0) and white matter (1)."""


SHARE = {
    "thalamus": 0.5, "caudate": 0.1, "putamen": 0.2, "pallidum": 0.75, "accumbens": 0.05, "hippocampus": 0.0, "amygdala": 0.0,
    "ventral DC": 0.7, "brainstem": 0.85, "corpus callosum": 1.0, "cerebellar cortex": 0.0, "cerebellar white matter": 0.9,
    "cortex": 0.0, "white matter": 1.0,
}  # fmt: skip
"""Where the mean of a tissue is on the way from cortex to white matter."""
MEANS = {
    "T1": {
        "white matter": 1.0, "cortex": 0.72, "CSF": 0.28, "fat": 2.0, "skin": 1.2, "muscle": 0.65, "skull": 0.15, "diploe": 1.1,
        "eye": 0.25, "air cavity": 0.03, "choroid plexus": 0.6, "lesion core": 0.8, "lesion rim": 1.1, "oedema": 0.6,
    },
    "T2": {
        "white matter": 0.52, "cortex": 0.73, "CSF": 1.3, "fat": 1.2, "skin": 0.6, "muscle": 0.3, "skull": 0.08, "diploe": 0.7,
        "eye": 1.3, "air cavity": 0.03, "choroid plexus": 0.9, "lesion core": 1.0, "lesion rim": 0.8, "oedema": 1.0,
    },
}  # fmt: skip
"""Beside white matter in T1 = 1."""


def render_typical(labels: NDArray[np.uint8], modality: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """An image of labels: tissue means, texture, partial volume, a bias field and Rician noise."""
    values = MEANS[modality]
    means = np.zeros(256, dtype=np.float32)
    for name, number in ID.items():
        tissue = name.removesuffix(" L").removesuffix(" R")
        if tissue in SHARE:
            means[number] = values["cortex"] + SHARE[tissue] * (values["white matter"] - values["cortex"])
        else:
            means[number] = values.get("CSF" if "ventricle" in tissue else tissue, 0.0)
    if modality == "T2":
        means[[ID["pallidum L"], ID["pallidum R"]]] = 0.8 * values["white matter"]  # iron
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    image = torch.from_numpy(means[labels])
    size = (image.shape[0], image.shape[1], image.shape[2])
    inside = torch.from_numpy(labels > 0)
    image += 0.02 * torch.randn(size, generator=generator) * inside
    image += 0.03 * smooth_noise(size, 8.0, generator) * inside
    image = blur(image, (0.6, 0.6, 0.6))
    image = image * torch.exp(0.15 * smooth_noise(size, 100.0, generator))
    real, imaginary = (0.03 * torch.randn(size, generator=generator) for _ in range(2))
    return torch.sqrt((image + real) ** 2 + imaginary**2).numpy().astype(np.float32)


CT_UNIT = 60.0
"""HU that count as much as white matter in MRI: what noise is measured in."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contrast:
    """The mean intensity of every label, in the modality's own units."""

    means: Float32[np.ndarray, "labels"]
    unit: float
    """What noise is measured in."""
    is_ct: bool = False


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """A modality with its values jittered, or means that have nothing to do with each other."""
    means = rng.random(NUM_LABELS).astype(np.float32)
    if rng.random() < 0.7:
        means[0] = 0.0
    chance = rng.random()
    for name, probability in PROBABILITIES.items():
        if chance < probability:
            return _draw_modality(name, means, rng)
        chance -= probability
    if rng.random() < 0.85:  # both sides alike
        for n, name in enumerate(NAMES):
            if name.endswith(" R"):
                means[n] = means[ID[name[:-1] + "L"]]
    if rng.random() < 0.7:
        means[ids(*VENTRICLES)] = means[ID["CSF"]]
        means[ID["corpus callosum"]] = means[ID["white matter L"]]
    return Contrast(means=means, unit=0.7)


def _draw_modality(kind: str, means: Float32[np.ndarray, "labels"], rng: np.random.Generator) -> Contrast:
    values = {name: rng.uniform(*between) for name, between in MODALITIES[kind].items()}
    cortex, white = values["cortex"], values["white matter"]
    for name, between in TOWARDS_WHITE.items():
        means[ids(name)] = cortex + rng.uniform(*between) * (white - cortex)
    if kind in ("T2", "FLAIR") and rng.random() < 0.6:  # iron
        means[ids("pallidum")] = white * rng.uniform(0.6, 1.0)
    means[ids(*VENTRICLES)] = values["CSF"]
    for name, value in values.items():
        if name not in TOWARDS_WHITE:
            means[ids(name)] = value
    is_ct = kind == "CT"
    means[0] = -1000 if is_ct else 0.0
    return Contrast(means=means, unit=CT_UNIT if is_ct else 1.0, is_ct=is_ct)


def render(
    labels: UInt8[np.ndarray, "t h w"],
    contrast: Contrast,
    rng: np.random.Generator,
    *,
    slice_sigma_mm: float = 0.0,
    pixels_per_mm: float = 1.0,
) -> Float[Tensor, "t h w"]:
    """A picture of a slab of labels, in the modality's units: texture, partial volume, bias field and noise.

    Args:
        labels: T runs through the slices, 1 mm apart.
        contrast: Of the whole volume.
        rng: Draws the rest.
        slice_sigma_mm: Blur through the slices; 0 for the same as within them.
        pixels_per_mm: Within the slices.
    """
    generator = torch_generator(rng)
    size, numbers = (labels.shape[0], labels.shape[1], labels.shape[2]), torch.from_numpy(labels.astype(np.int64))
    means = torch.from_numpy(contrast.means)
    spread = torch.from_numpy(rng.random(NUM_LABELS).astype(np.float32)) * rng.uniform(0.0, 0.06) * contrast.unit
    image = means[numbers] + spread[numbers] * torch.randn(size, generator=generator)
    if rng.random() < 0.6:  # tissue is not even
        cell = rng.uniform(3, 14)
        uneven = smooth_noise(size, (cell, cell * pixels_per_mm, cell * pixels_per_mm), generator)
        image += rng.uniform(0.0, 0.06) * contrast.unit * uneven * (numbers > 0)
    sigma = rng.uniform(0.25, 0.85) if rng.random() < 0.8 else rng.uniform(0.85, 1.6)
    image = blur(image, (slice_sigma_mm or sigma, sigma * pixels_per_mm, sigma * pixels_per_mm))  # partial volume
    if rng.random() < 0.2:  # a coarser grid, interpolated back
        factor = rng.uniform(1.2, 2.4) * pixels_per_mm
        coarse = (size[0], max(8, round(size[1] / factor)), max(8, round(size[2] / factor)))
        image = F.interpolate(
            F.interpolate(image[None, None], size=coarse, mode="trilinear"), size=size, mode="trilinear"
        )[0, 0]
    deviation = (rng.uniform(0.0, 0.05) if rng.random() < 0.8 else rng.uniform(0.05, 0.1)) * contrast.unit
    real, imaginary = (torch.randn(size, generator=generator) * deviation for _ in range(2))
    if contrast.is_ct:
        return image + 2 * real
    if rng.random() < 0.7:
        cell = rng.uniform(60, 140)
        bias = smooth_noise(size, (cell, cell * pixels_per_mm, cell * pixels_per_mm), generator)
        image = image * torch.exp(rng.uniform(0.03, 0.35) * bias)
    image = torch.sqrt((image + real) ** 2 + imaginary**2)  # Rician noise
    if rng.random() < 0.3:  # as after skull stripping or defacing: exactly nothing outside
        image = image * (numbers > 0)
    return image


def volume_window(contrast: Contrast, label_volumes: Int[np.ndarray, "labels"]) -> Range:
    """The 0.5 and 99.5 percentiles of a whole head, from how many voxels each label has."""
    order = np.argsort(contrast.means)
    below = np.cumsum(label_volumes[order]) / label_volumes.sum()
    places = np.minimum(np.searchsorted(below, (0.005, 0.995)), NUM_LABELS - 1)
    low, high = (float(contrast.means[order[place]]) for place in places)
    return low, max(high, low + 0.1 * contrast.unit)


def seen_window(values: Float[Tensor, "..."]) -> Range:
    """The 1 and 99 percentiles of what is seen in a part of a picture; padding does not count."""
    low, high = np.percentile(without_padding(values.numpy()), (1, 99))
    return float(low), float(max(high, low + 1e-3))


def without_padding(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n"]:
    """The values without those equal to the lowest one, where these are more than a twentieth: they are padding or air."""
    values = values.ravel()
    rest = values[values > values.min()]
    return rest if len(rest) and len(values) - len(rest) > 0.05 * len(values) else values


def windowed(image: Float[Tensor, "t h w"], window: Range, rng: np.random.Generator) -> Float[Tensor, "t h w"]:
    """A picture scaled to 0 to 1 by a window; sometimes with a gamma, seldom inverted."""
    image = ((image - window[0]) / (window[1] - window[0])).clamp(0, 1)
    if rng.random() < 0.4:
        image = image ** float(2 ** rng.uniform(-0.6, 0.6))
    return 1 - image if rng.random() < 0.05 else image
