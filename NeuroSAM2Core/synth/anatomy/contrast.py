"""From labels to a picture: mean intensities in the real orders of T1, T2, FLAIR and CT, or any at all, and what a scanner does to them.

Source: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", 2023; Gudbjartsson and
Patz, "The Rician distribution of noisy MRI data", 1995.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from NeuroSAM2Core.synth.anatomy.grid import torch_generator
from NeuroSAM2Core.synth.anatomy.labels import ID, NAMES, NUM_LABELS, VENTRICLES, ids
from NeuroSAM2Core.synth.anatomy.modalities import MODALITIES, PROBABILITIES, TOWARDS_WHITE, Range
from NeuroSAM2Core.synth.noise import blur, smooth_noise

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
