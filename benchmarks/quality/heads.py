"""Whole heads of held-out donors: synthetic images of label maps that no training head is made of.

The label maps come from `NeuroSAM2Core.synth.anatomy`, which keeps two donors from training. How they become images is decided here, apart
from the contrasts of training: fixed means of each tissue, mild noise.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.cases import ImageSource, Mask, Row
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.heads import Head as LabelledHead
from NeuroSAM2Core.synth.anatomy.heads import build_bank
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, ID, is_in
from NeuroSAM2Core.volume import Volume

HEADS_ENVIRONMENT = "NEUROSAM2_HELD_OUT_HEADS"
STRUCTURES = ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "lateral ventricle")
MODALITIES = ("T1", "T2")
"""One head is rendered in each."""
CANDIDATES = 6
"""Heads that are made: a quarter of them is stripped of its skull."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head that can be made."""

    name: str
    make: Callable[[], tuple[NDArray[np.float32], NDArray[np.uint8]]]
    """The image and its labels, (K, J, I), 1 mm."""


def held_out_heads(folder: Path | None = None) -> list[Head]:
    """Heads of held-out donors with skull and skin, one for each modality.

    Args:
        folder: Where the label maps are kept, and made first where they are missing; $NEUROSAM2_HELD_OUT_HEADS, or runs/held_out_heads.

    Raises:
        DataError: The packages that they are made from are missing.
    """
    folder = folder or Path(os.environ.get(HEADS_ENVIRONMENT, "runs/held_out_heads"))
    build_bank(folder, CANDIDATES, held_out=True)
    numbers = [n for n in range(CANDIDATES) if (LabelledHead.load(folder, n).labels == ID["skull"]).any()]
    if len(numbers) < len(MODALITIES):
        raise DataError(f"{folder} holds {len(numbers)} heads with a skull; expected {len(MODALITIES)}")

    def make(number: int, modality: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        labels = np.array(LabelledHead.load(folder, number).labels)
        return render(labels, modality, np.random.default_rng((5, number))), labels

    return [
        Head(f"head {number} {modality}", partial(make, number, modality))
        for number, modality in zip(numbers, MODALITIES, strict=False)
    ]


def head_sources(folder: Path | None = None) -> list[ImageSource]:
    """The held-out heads with their objects: the structures on one side each, the brain and the head.

    Raises:
        DataError: There are not enough heads.
    """
    sources = []
    for n, head in enumerate(held_out_heads(folder)):
        sides = {f"{head.name} {s} {'LR'[(n + m) % 2]}": f"{s} {'LR'[(n + m) % 2]}" for m, s in enumerate(STRUCTURES)}
        rows = [Row(name, "small", "held-out heads") for name in sides]
        rows += [Row(f"{head.name} {name}", "large", "held-out heads") for name in ("whole brain", "head")]

        def make(head: Head = head, sides: dict[str, str] = sides) -> tuple[Volume, dict[str, Mask]]:
            picture, labels = head.make()
            truths = {name: labels == ID[label] for name, label in sides.items()}
            truths[f"{head.name} whole brain"] = is_in(labels, *BRAIN)
            truths[f"{head.name} head"] = labels > 0
            low, high = np.percentile(picture, (0.01, 99.99))
            voxels = np.clip((picture - low) / (high - low) * 4095, 0, 4095).astype(np.uint16)
            return Volume(voxels, np.eye(4), name=head.name), truths

        sources.append(ImageSource(head.name, tuple(rows), make))
    return sources


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


def render(labels: NDArray[np.uint8], modality: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """An image of labels: tissue means, texture, partial volume, a bias field and Rician noise."""
    from NeuroSAM2Core.synth.noise import blur, smooth_noise

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
