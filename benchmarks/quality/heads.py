"""Whole heads of held-out donors: synthetic images of label maps that no training head is made of.

The label maps are files NNN.npy (uint8, (K, J, I), 1 mm, K upwards, J to the front, I to the right) in a folder; their names of labels
and the way from labels to an image are below. `held_out_heads` is all that the rest of the package uses.
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
from NeuroSAM2Core.volume import Volume

HEADS_ENVIRONMENT = "NEUROSAM2_HELD_OUT_HEADS"
STRUCTURES = ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "lateral ventricle")
MODALITIES = ("T1", "T2")
"""One head is rendered in each."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head that can be made."""

    name: str
    make: Callable[[], tuple[NDArray[np.float32], NDArray[np.uint8]]]
    """The image and its labels, (K, J, I), 1 mm."""


def held_out_heads(folder: Path | None = None) -> list[Head]:
    """Heads of held-out donors with skull and skin, one for each modality.

    Args:
        folder: Of the label maps; $NEUROSAM2_HELD_OUT_HEADS by default.

    Raises:
        DataError: There are not enough.
    """
    if folder is None and (named := os.environ.get(HEADS_ENVIRONMENT)):
        folder = Path(named)
    paths = [] if folder is None else sorted(folder.glob("[0-9][0-9][0-9].npy"))
    paths = [path for path in paths if (np.load(path, mmap_mode="r") == ID["skull"]).any()][: len(MODALITIES)]
    if len(paths) < len(MODALITIES):
        raise DataError(
            f"there are {len(paths)} held-out heads with a skull in {folder or 'no folder'}; expected {len(MODALITIES)}",
            hint=f"name the folder of their label maps with --heads or ${HEADS_ENVIRONMENT}",
        )

    def make(path: Path, modality: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        labels = np.load(path)
        return render(labels, modality, np.random.default_rng((5, int(path.stem)))), labels

    return [
        Head(f"head {int(path.stem)} {modality}", partial(make, path, modality))
        for path, modality in zip(paths, MODALITIES, strict=True)
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
            truths[f"{head.name} whole brain"] = np.isin(labels, [n for n, name in enumerate(NAMES) if is_brain(name)])
            truths[f"{head.name} head"] = labels > 0
            low, high = np.percentile(picture, (0.01, 99.99))
            voxels = np.clip((picture - low) / (high - low) * 4095, 0, 4095).astype(np.uint16)
            return Volume(voxels, np.eye(4), name=head.name), truths

        sources.append(ImageSource(head.name, tuple(rows), make))
    return sources


# ------------------------------------------------------------------------------------ development only: labels and rendering

NAMES = (
    "background",
    "cortex L", "cortex R", "white matter L", "white matter R",
    "lateral ventricle L", "lateral ventricle R", "third ventricle", "fourth ventricle",
    "thalamus L", "thalamus R", "caudate L", "caudate R", "putamen L", "putamen R", "pallidum L", "pallidum R",
    "accumbens L", "accumbens R", "hippocampus L", "hippocampus R", "amygdala L", "amygdala R",
    "ventral DC L", "ventral DC R", "corpus callosum", "choroid plexus",
    "cerebellar cortex L", "cerebellar cortex R", "cerebellar white matter L", "cerebellar white matter R", "brainstem",
    "CSF", "skull", "diploe", "skin", "fat", "muscle", "eye", "air cavity",
    "lesion core", "lesion rim", "oedema",
)  # fmt: skip
ID = {name: number for number, name in enumerate(NAMES)}
OUTSIDE_THE_BRAIN = ("background", "CSF", "skull", "diploe", "skin", "fat", "muscle", "eye", "air cavity")
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


def is_brain(name: str) -> bool:
    """The label belongs to the brain, ventricles included."""
    return name not in OUTSIDE_THE_BRAIN


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
