"""A head with a folded brain in it, made of formulas and noise: no real anatomy is read, none is remembered.

Sulci are the sheets on which a noise field changes its sign, down to a random depth; the cortex is what lies within a cortical
thickness of them and of the outside; white matter is what is left.

Idea: label maps drawn from a generative model and randomised contrasts (Billot et al., "SynthSeg", 2023; Hoffmann et al.,
"SynthMorph", 2022).

The types of this package: a map of labels, the objects a person might ask for, and the picture made of them.

From labels to a picture: a random intensity for each label, then what a scanner does to it.

Source: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", 2023;
Gudbjartsson and Patz, "The Rician distribution of noisy MRI data", 1995.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from NeuroSAM2Core.synth.frame import Frame, blur, border, chance, dilate, smooth_noise, uniform


@dataclass(frozen=True, slots=True)
class SyntheticObject:
    """Something a person might outline."""

    name: str
    labels: frozenset[int]
    """The labels that make it up."""
    weight: float = 1.0
    """How often it is asked for, relative to the others."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Geometry without intensities."""

    labels: UInt8[Tensor, "d h w"]
    """0 is background."""
    objects: tuple[SyntheticObject, ...]
    """Only those with at least one voxel."""
    is_head: bool
    """The labels are those of `brain`, so that tissue contrasts apply."""


@dataclass(frozen=True, slots=True)
class SyntheticVolume:
    """A picture with its truth."""

    image: Float[Tensor, "d h w"]
    """Intensities, 0 to 1."""
    labels: UInt8[Tensor, "d h w"]
    objects: tuple[SyntheticObject, ...]


CORTEX_RIGHT, CORTEX_LEFT, WHITE_RIGHT, WHITE_LEFT = 1, 2, 3, 4
VENTRICLES = 5
THALAMUS_RIGHT, THALAMUS_LEFT, PUTAMEN_RIGHT, PUTAMEN_LEFT, CAUDATE_RIGHT, CAUDATE_LEFT = 6, 7, 8, 9, 10, 11
HIPPOCAMPUS_RIGHT, HIPPOCAMPUS_LEFT = 12, 13
CEREBELLUM_CORTEX, CEREBELLUM_WHITE, BRAIN_STEM = 14, 15, 16
CSF, SKULL, MARROW, SCALP, MUSCLE, EYES, AIR = 17, 18, 19, 20, 21, 22, 23
LESION_CORE, LESION_RIM, OEDEMA = 24, 25, 26

RIGHT = frozenset({CORTEX_RIGHT, WHITE_RIGHT, THALAMUS_RIGHT, PUTAMEN_RIGHT, CAUDATE_RIGHT, HIPPOCAMPUS_RIGHT})
LEFT = frozenset({CORTEX_LEFT, WHITE_LEFT, THALAMUS_LEFT, PUTAMEN_LEFT, CAUDATE_LEFT, HIPPOCAMPUS_LEFT})
LESION = frozenset({LESION_CORE, LESION_RIM, OEDEMA})
CEREBELLUM = frozenset({CEREBELLUM_CORTEX, CEREBELLUM_WHITE})
BRAIN = RIGHT | LEFT | CEREBELLUM | {BRAIN_STEM, VENTRICLES} | LESION
WHITE_LIKE = frozenset({WHITE_RIGHT, WHITE_LEFT})

OBJECTS = (
    SyntheticObject("whole brain", BRAIN, 4.0),
    SyntheticObject("brain with fluid", BRAIN | {CSF}, 2.0),
    SyntheticObject("right cerebrum", RIGHT, 2.0),
    SyntheticObject("left cerebrum", LEFT, 2.0),
    SyntheticObject("cerebrum", RIGHT | LEFT, 1.0),
    SyntheticObject("white matter", WHITE_LIKE, 3.0),
    SyntheticObject("right white matter", frozenset({WHITE_RIGHT}), 2.0),
    SyntheticObject("left white matter", frozenset({WHITE_LEFT}), 2.0),
    SyntheticObject("cortex", frozenset({CORTEX_RIGHT, CORTEX_LEFT}), 0.7),
    SyntheticObject("ventricles", frozenset({VENTRICLES}), 1.0),
    SyntheticObject("right thalamus", frozenset({THALAMUS_RIGHT}), 0.4),
    SyntheticObject("left thalamus", frozenset({THALAMUS_LEFT}), 0.4),
    SyntheticObject("right putamen", frozenset({PUTAMEN_RIGHT}), 0.4),
    SyntheticObject("left putamen", frozenset({PUTAMEN_LEFT}), 0.4),
    SyntheticObject("right caudate", frozenset({CAUDATE_RIGHT}), 0.3),
    SyntheticObject("left caudate", frozenset({CAUDATE_LEFT}), 0.3),
    SyntheticObject("right hippocampus", frozenset({HIPPOCAMPUS_RIGHT}), 0.3),
    SyntheticObject("left hippocampus", frozenset({HIPPOCAMPUS_LEFT}), 0.3),
    SyntheticObject("cerebellum", CEREBELLUM, 0.7),
    SyntheticObject("brain stem", frozenset({BRAIN_STEM}), 0.4),
    SyntheticObject("head", frozenset(range(1, 27)), 0.7),
    SyntheticObject("eyes", frozenset({EYES}), 0.2),
    SyntheticObject("lesion core", frozenset({LESION_CORE}), 1.0),
    SyntheticObject("enhancing lesion", frozenset({LESION_CORE, LESION_RIM}), 1.5),
    SyntheticObject("whole lesion", LESION, 1.5),
)


def head_labels(frame: Frame, generator: torch.Generator) -> Tensor:
    """The labels of a random head in the given pose, (D, H, W) uint8."""
    labels = torch.zeros(frame.size, dtype=torch.uint8, device=generator.device)
    cerebrum = _cerebrum_depth(frame, generator)
    cerebellum = frame.depth((0.0, -0.48, -0.52), (0.50, 0.34, 0.27)) + 0.02 * frame.noise(0.2, generator)
    stem = frame.depth((0.0, -0.25, -0.65), (0.14, 0.15, 0.5))
    hull = torch.maximum(torch.maximum(cerebrum, cerebellum), stem)
    if chance(generator, 0.65):
        _add_surroundings(labels, frame, hull, generator)
    gap = uniform(generator, 0.015, 0.07) * (1 + 0.5 * frame.noise(0.4, generator))
    if chance(generator, 0.85):
        labels[hull > -gap] = CSF
    _add_cerebellum(labels, frame, cerebellum, stem, generator)
    _add_cerebrum(labels, frame, cerebrum, generator)
    _add_deep_structures(labels, frame, cerebrum, generator)
    if chance(generator, 0.35):
        _add_lesion(labels, frame, generator)
    return labels


def _cerebrum_depth(frame: Frame, generator: torch.Generator) -> Tensor:
    main = frame.depth((0.0, 0.0, 0.08), (0.68, 0.87, 0.60))
    main = torch.minimum(main, frame.z + 0.32)
    side = uniform(generator, 0.36, 0.42)
    for sign in (-1.0, 1.0):
        temporal = frame.depth((sign * side, 0.12, -0.28), (0.26, 0.48, 0.24))
        main = torch.maximum(main, temporal)
    return main + 0.03 * frame.noise(0.3, generator)


def _add_surroundings(labels: Tensor, frame: Frame, hull: Tensor, generator: torch.Generator) -> None:
    inner = uniform(generator, 0.03, 0.09)
    skull = inner + uniform(generator, 0.03, 0.08)
    scalp = skull + uniform(generator, 0.04, 0.14)
    wobble = 0.02 * frame.noise(0.5, generator)
    outside = -hull + wobble
    face = torch.maximum(
        frame.depth((0.0, 0.35, -0.75), (0.55, 0.62, 0.75)), frame.depth((0.0, -0.35, -1.0), (0.42, 0.42, 0.9))
    )
    face = face + 0.05 * frame.noise(0.25, generator)
    labels[(outside < scalp) | (face > 0)] = SCALP
    clutter = frame.noise(0.13, generator)
    inside_face = face > 0.05
    labels[inside_face] = MUSCLE
    labels[inside_face & (clutter > 0.45)] = MARROW
    labels[inside_face & (clutter < -0.6)] = AIR
    labels[inside_face & (frame.noise(0.1, generator) > 0.6)] = SKULL
    for sign in (-1.0, 1.0):
        labels[frame.depth((sign * 0.3, 0.80, -0.36), (0.13, 0.13, 0.13)) > 0] = EYES
    labels[outside < skull] = SKULL
    labels[(outside < skull - 0.02) & (outside > inner + 0.02) & (frame.noise(0.3, generator) > -0.2)] = MARROW


def _add_cerebrum(labels: Tensor, frame: Frame, depth: Tensor, generator: torch.Generator) -> None:
    solid = depth > 0
    midline = frame.x + 0.015 * frame.noise(0.4, generator)
    core = frame.depth((0.0, 0.0, 0.0), (0.5, 0.42, 0.30)) > 0
    fissure = (midline.abs() < uniform(generator, 0.008, 0.03)) & ~core
    sulci = _sulci(frame, depth, generator) & ~core
    insula = frame.depth((0.0, 0.05, -0.02), (0.50, 0.38, 0.05))
    sylvian = (
        (insula > -0.12) & (frame.z + 0.12 + 0.03 * frame.noise(0.3, generator)).abs().lt(0.02) & (frame.x.abs() > 0.42)
    )
    open_space = ~solid | fissure | sulci | sylvian
    thickness = max(1, round(uniform(generator, 0.022, 0.06) / frame.voxel))
    cortex = dilate(open_space, thickness) & ~open_space
    if chance(generator, 0.5):
        cortex &= ~core
    is_right = midline > 0
    labels[solid] = torch.where(is_right, WHITE_RIGHT, WHITE_LEFT).to(torch.uint8)[solid]
    labels[cortex] = torch.where(is_right, CORTEX_RIGHT, CORTEX_LEFT).to(torch.uint8)[cortex]
    labels[solid & open_space] = CSF


def _sulci(frame: Frame, depth: Tensor, generator: torch.Generator) -> Bool[Tensor, "d h w"]:
    """Sheets of fluid that reach from the surface inwards."""
    reach = uniform(generator, 0.12, 0.28) * (1 + 0.5 * frame.noise(0.25, generator))
    pattern = frame.noise(uniform(generator, 0.11, 0.18), generator) + 0.4 * frame.noise(0.09, generator)
    sheets = border(pattern > 0) if frame.voxel < 0.014 or chance(generator, 0.3) else _thin_border(pattern > 0)
    if chance(generator, 0.5):
        finer = frame.noise(uniform(generator, 0.1, 0.14), generator)
        sheets |= _thin_border(finer > 0) & (depth < 0.5 * reach)
    return sheets & (depth < reach)


def _thin_border(sign: Bool[Tensor, "d h w"]) -> Bool[Tensor, "d h w"]:
    """The sheet one voxel thick on one side of where `sign` changes."""
    return dilate(sign, 1) & ~sign


def _add_cerebellum(labels: Tensor, frame: Frame, depth: Tensor, stem: Tensor, generator: torch.Generator) -> None:
    folia = (frame.z + 0.4 * frame.y) * uniform(generator, 22, 34) + 2.5 * frame.noise(0.2, generator)
    white = (depth > 0.10 + 0.05 * frame.noise(0.1, generator)) | ((depth > 0.045) & (folia.sin() > 0.55))
    labels[stem > 0] = BRAIN_STEM
    labels[depth > 0] = CEREBELLUM_CORTEX
    labels[(depth > 0) & white] = CEREBELLUM_WHITE
    labels[(depth > 0) & (depth < 0.05) & (folia.sin() < -0.9)] = CSF


def _add_deep_structures(labels: Tensor, frame: Frame, cerebrum: Tensor, generator: torch.Generator) -> None:
    jitter = 0.02 * frame.noise(0.15, generator)
    swell = uniform(generator, 0.7, 1.9)
    pairs = (
        ((0.15, -0.10, -0.03), (0.12, 0.17, 0.11), THALAMUS_RIGHT, THALAMUS_LEFT),
        ((0.31, 0.08, -0.04), (0.07, 0.21, 0.13), PUTAMEN_RIGHT, PUTAMEN_LEFT),
        ((0.16, 0.24, 0.05), (0.06, 0.13, 0.11), CAUDATE_RIGHT, CAUDATE_LEFT),
        ((0.33, -0.06, -0.33), (0.07, 0.20, 0.07), HIPPOCAMPUS_RIGHT, HIPPOCAMPUS_LEFT),
    )
    inside = cerebrum > 0.03
    for (x, y, z), radii, right, left in pairs:
        place = [c + uniform(generator, -0.02, 0.02) for c in (x, y, z)]
        for sign, label in ((1.0, right), (-1.0, left)):
            labels[(frame.depth((sign * place[0], place[1], place[2]), radii) + jitter > 0) & inside] = label
    ventricles = torch.full(frame.size, -1.0, device=labels.device)
    for sign in (1.0, -1.0):
        bend = 0.10 + 0.10 * (frame.y + 0.2).abs()
        body = frame.depth((0.0, -0.02, 0.10), (9.0, 0.46, 0.085 * swell))
        width = 0.06 * swell - (frame.x - sign * bend).abs()
        horn = frame.depth((sign * 0.27, -0.30, -0.08), (0.05 * swell, 0.16, 0.17))
        ventricles = torch.maximum(ventricles, torch.maximum(torch.minimum(body, width), horn))
    third = torch.minimum(0.018 * swell - frame.x.abs(), frame.depth((0.0, -0.08, -0.08), (9.0, 0.16, 0.13)))
    ventricles = torch.maximum(ventricles, third)
    labels[(ventricles + 0.5 * jitter > 0) & inside] = VENTRICLES


def _add_lesion(labels: Tensor, frame: Frame, generator: torch.Generator) -> None:
    """A tumour or lesion somewhere in the brain: a core, maybe a rim, maybe oedema in the white matter around."""
    tissue = torch.nonzero((labels >= CORTEX_RIGHT) & (labels <= BRAIN_STEM))
    if not len(tissue):
        return
    for _ in range(1 + int(uniform(generator, 0, 3)) * chance(generator, 0.4)):
        k, j, i = tissue[int(uniform(generator, 0, len(tissue) - 1))].tolist()
        centre = (float(frame.x[k, j, i]), float(frame.y[k, j, i]), float(frame.z[k, j, i]))
        size = uniform(generator, 0.04, 0.28)
        depth = frame.depth(centre, (size, size * uniform(generator, 0.7, 1.3), size * uniform(generator, 0.7, 1.3)))
        depth = depth + 0.35 * size * frame.noise(0.7 * size + 0.05, generator)
        in_brain = (labels >= CORTEX_RIGHT) & (labels <= BRAIN_STEM)
        if chance(generator, 0.5):
            white = (labels == WHITE_RIGHT) | (labels == WHITE_LEFT)
            labels[(depth > -uniform(generator, 0.3, 1.0) * size) & white] = OEDEMA
        labels[(depth > 0) & in_brain] = LESION_RIM if chance(generator, 0.5) else LESION_CORE
        labels[(depth > uniform(generator, 0.1, 0.4) * size) & in_brain] = LESION_CORE


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
    means[[CORTEX_RIGHT, CORTEX_LEFT, CEREBELLUM_CORTEX]] = cortex
    means[[WHITE_RIGHT, WHITE_LEFT]] = white
    means[[CEREBELLUM_WHITE, BRAIN_STEM]] = white * 0.95 + cortex * 0.05
    means[[VENTRICLES, CSF]] = fluid
    nuclei = [
        [THALAMUS_RIGHT, THALAMUS_LEFT],
        [PUTAMEN_RIGHT, PUTAMEN_LEFT],
        [CAUDATE_RIGHT, CAUDATE_LEFT],
        [HIPPOCAMPUS_RIGHT, HIPPOCAMPUS_LEFT],
    ]
    for pair, fraction in zip(nuclei, (deep * torch.tensor([1.0, 0.6, 0.3, 0.2], device=device)), strict=True):
        means[pair] = cortex + fraction * (white - cortex)
    outer = (SKULL, MARROW, SCALP, MUSCLE, EYES, AIR)
    for label, value in zip(outer, (skull, marrow, scalp, muscle, eyes, air), strict=True):
        means[label] = value
    for label, value in zip((LESION_CORE, LESION_RIM, OEDEMA), (core, rim, oedema), strict=True):
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
