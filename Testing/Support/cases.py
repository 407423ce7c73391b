"""Small annotated cases on disk."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from NeuroSAM2Core import Volume
from Testing.Support.volumes import UPRIGHT


def two_balls(
    shape: tuple[int, int, int] = (12, 40, 36), *, matrix: np.ndarray = UPRIGHT, seed: int = 0
) -> tuple[Volume, Volume]:
    """Two bright balls of values 1 and 2 in noise, apart along the last axis; and their label."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    labels = np.zeros(shape, np.uint8)
    for value, place in ((1, 0.28), (2, 0.72)):
        centre = (shape[0] / 2, shape[1] / 2, place * shape[2])
        radius = 0.18 * shape[2] * (1 + 0.1 * rng.standard_normal())
        labels[sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) < radius**2] = value
    voxels = 300 * (labels > 0) + 40 * rng.standard_normal(shape) + 100
    return Volume(voxels.astype(np.int16), matrix, name="image"), Volume(labels, matrix, name="label")


def write_dataset(
    folder: Path,
    *,
    training: int = 3,
    validation: int = 1,
    shape: tuple[int, int, int] = (12, 40, 36),
    name: str = "dataset.json",
) -> Path:
    """A dataset file with that many cases, and their files."""
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for number in range(training + validation):
        image, label = two_balls(shape, seed=number)
        image.write(folder / f"image{number}.nii.gz", overwrite=True)
        label.write(folder / f"label{number}.nii.gz", overwrite=True)
        entry = {"image": f"image{number}.nii.gz", "seg": f"label{number}.nii.gz"}
        lists["training" if number < training else "validation"].append(entry)
    path = folder / name
    path.write_text(json.dumps(lists), encoding="utf-8")
    return path


def write_json(folder: Path, lines: Sequence[str]) -> Path:
    """A dataset file with the given text."""
    path = folder / "dataset.json"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
