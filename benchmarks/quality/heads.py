"""Whole heads of held-out donors: synthetic images of label maps that no training head is made of.

The label maps come from `NeuroSAM2Core.synth.anatomy`, which keeps two donors from training. Their images have typical contrasts, not those
that training draws.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.cases import ImageSource, Mask, Row
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.contrast import render_typical
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
        return render_typical(labels, modality, np.random.default_rng((5, number))), labels

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
