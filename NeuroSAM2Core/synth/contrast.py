"""From labels to a picture: a random intensity for each label, then what a scanner does to it.

Source: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", 2023;
Gudbjartsson and Patz, "The Rician distribution of noisy MRI data", 1995.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.synth import brain
from NeuroSAM2Core.synth.noise import blur, chance, smooth_noise, uniform
from NeuroSAM2Core.synth.volume import LabelMap, SyntheticVolume

NUM_LABELS = 32
# Mean intensities by tissue: cortex, white matter, fluid, skull, marrow, scalp, muscle, eyes, air, lesion core, rim, oedema.
T1 = (0.52, 0.78, 0.15, 0.10, 0.60, 0.85, 0.42, 0.20, 0.03, 0.30, 0.80, 0.45)
T2 = (0.55, 0.38, 0.92, 0.08, 0.45, 0.60, 0.25, 0.90, 0.03, 0.80, 0.60, 0.75)
FLAIR = (0.55, 0.45, 0.10, 0.08, 0.45, 0.60, 0.30, 0.15, 0.03, 0.60, 0.75, 0.85)
CT = (0.42, 0.38, 0.30, 0.98, 0.75, 0.15, 0.40, 0.33, 0.02, 0.36, 0.50, 0.34)
MODALITIES = (T1, T2, FLAIR, CT)


def render(label_map: LabelMap, generator: torch.Generator) -> SyntheticVolume:
    """One picture of a label map; every call gives another contrast."""
    means = _means(label_map, generator)
    spread = torch.rand(NUM_LABELS, generator=generator, device=generator.device) * 0.05
    labels = label_map.labels
    image = means[labels.long()]
    size = (labels.shape[0], labels.shape[1], labels.shape[2])
    texture = torch.randn(size, generator=generator, device=generator.device)
    image = image + spread[labels.long()] * texture
    if chance(generator, 0.5):
        image = image + uniform(generator, 0.0, 0.06) * smooth_noise(size, uniform(generator, 3, 12), generator) * (
            image > 0.05
        )
    image = _acquire(image, generator)
    if chance(generator, 0.35):  # as after skull stripping or defacing: nothing at all outside
        image = image * (labels > 0)
    return SyntheticVolume(_finish(image, generator), labels, label_map.objects)


def _means(label_map: LabelMap, generator: torch.Generator) -> Float[Tensor, " labels"]:
    device = generator.device
    means = torch.rand(NUM_LABELS, generator=generator, device=device)
    if chance(generator, 0.7):
        means[0] = 0.0
    kind = uniform(generator)
    if not label_map.is_head or kind > 0.8:
        return means
    modality = T1 if kind < 0.5 else MODALITIES[1 + int(uniform(generator, 0, 3))]
    jitter = (torch.rand(len(modality), generator=generator, device=device) - 0.5) * 0.16
    cortex, white, fluid, skull, marrow, scalp, muscle, eyes, air, core, rim, oedema = (
        torch.tensor(modality, device=device) + jitter
    ).clamp(0, 1)
    deep = torch.rand(4, generator=generator, device=device) * 0.6 + 0.2
    means[0] = 0.0 if chance(generator, 0.8) else 0.04
    means[[brain.CORTEX_RIGHT, brain.CORTEX_LEFT, brain.CEREBELLUM_CORTEX]] = cortex
    means[[brain.WHITE_RIGHT, brain.WHITE_LEFT]] = white
    means[[brain.CEREBELLUM_WHITE, brain.BRAIN_STEM]] = white * 0.95 + cortex * 0.05
    means[[brain.VENTRICLES, brain.CSF]] = fluid
    nuclei = [
        [brain.THALAMUS_RIGHT, brain.THALAMUS_LEFT],
        [brain.PUTAMEN_RIGHT, brain.PUTAMEN_LEFT],
        [brain.CAUDATE_RIGHT, brain.CAUDATE_LEFT],
        [brain.HIPPOCAMPUS_RIGHT, brain.HIPPOCAMPUS_LEFT],
    ]
    for pair, fraction in zip(nuclei, (deep * torch.tensor([1.0, 0.6, 0.3, 0.2], device=device)), strict=True):
        means[pair] = cortex + fraction * (white - cortex)
    outer = (brain.SKULL, brain.MARROW, brain.SCALP, brain.MUSCLE, brain.EYES, brain.AIR)
    for label, value in zip(outer, (skull, marrow, scalp, muscle, eyes, air), strict=True):
        means[label] = value
    for label, value in zip((brain.LESION_CORE, brain.LESION_RIM, brain.OEDEMA), (core, rim, oedema), strict=True):
        means[label] = value if chance(generator, 0.7) else uniform(generator)
    return means


def _acquire(image: Float[Tensor, "d h w"], generator: torch.Generator) -> Float[Tensor, "d h w"]:
    """Partial volume, thick slices, a bias field and Rician noise."""
    sharp = uniform(generator, 0.2, 0.9) if chance(generator, 0.8) else uniform(generator, 0.9, 1.8)
    through = uniform(generator, 0.8, 2.0) if chance(generator, 0.3) else sharp
    image = blur(image, (through, sharp, sharp))
    size = (image.shape[0], image.shape[1], image.shape[2])
    if chance(generator, 0.2):  # a coarser grid, interpolated back
        factor = uniform(generator, 1.3, 2.5)
        coarse = (size[0], max(8, round(size[1] / factor)), max(8, round(size[2] / factor)))
        image = F.interpolate(
            F.interpolate(image[None, None], size=coarse, mode="trilinear"), size=size, mode="trilinear"
        )[0, 0]
    if chance(generator, 0.7):
        strength = uniform(generator, 0.05, 0.4)
        image = image * torch.exp(strength * smooth_noise(size, max(size) / 2.5, generator))
    deviation = uniform(generator, 0.0, 0.05) if chance(generator, 0.8) else uniform(generator, 0.05, 0.12)
    real, imaginary = (torch.randn(size, generator=generator, device=generator.device) * deviation for _ in range(2))
    return torch.sqrt((image + real) ** 2 + imaginary**2)


def _finish(image: Float[Tensor, "d h w"], generator: torch.Generator) -> Float[Tensor, "d h w"]:
    """Gamma, sometimes inversion, and the same robust scaling to 0 to 1 that real volumes get."""
    sample = image.flatten()[:: max(1, image.numel() // 20_000)].sort().values
    low, high = sample[int(0.005 * len(sample))], sample[int(0.995 * (len(sample) - 1))]
    image = ((image - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)
    if chance(generator, 0.5):
        image = image ** (2 ** uniform(generator, -0.7, 0.7))
    return 1 - image if chance(generator, 0.1) else image
