"""A cohort from two annotated subjects: how good the masks of new ones are beside a person's box, and whether doubt finds the worst.

Subjects are deformed copies of two heads, each made of the label maps of a held-out donor: turned, scaled by up to 8 % an axis, and bent by a
few mm. T1 and T2 in turn, every fourth in slices three times as thick. Objects are six structures; a person's box is the tight box on the
object's best slice, each side moved by up to 5 %.

Usage: python -m benchmarks.run cohort
       python -m benchmarks.cohort [--subjects 8] [--workers 1] [--bspline] [--folder runs/cohort] [--cost 10 100 1000]
"""

import argparse
import json
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.quality.cases import thick_slices
from benchmarks.quality.runner import AXES
from benchmarks.quality.prompts import first_prompts
from benchmarks.report import as_table
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.cohort import CohortFolder, CohortPlan, find_images, find_templates, review_rows
from NeuroSAM2Core.cohort.answer import make_plan
from NeuroSAM2Core.cohort.record import read_cohort
from NeuroSAM2Core.cohort.run import Workers, run_cohort
from NeuroSAM2Core.measures import dice
from NeuroSAM2Core.synth.anatomy.grid import draw_noise
from NeuroSAM2Core.synth.anatomy.heads import build_head
from NeuroSAM2Core.synth.anatomy.labels import is_in
from NeuroSAM2Core.synth.anatomy.typical_images import render

STRUCTURES = ("thalamus L", "putamen R", "hippocampus L", "lateral ventricle R", "brainstem", "cerebellum")
PARTS = {"cerebellum": ("cerebellar cortex", "cerebellar white matter")}
TEMPLATES = 2
BASES = (6, 7)
"""Heads of the bank of held-out donors, one of each donor, both with skull and skin."""
VOXEL_MM, THICK_EVERY, THICK = 1.5, 4, 3
TURN, SCALE = 0.12, 0.08
"""Radians about each axis, and share of each axis, at most."""
BENDS = ((3.0, 55), (1.5, 24))
"""Deviation and scale of the elastic deformation, mm."""
MODALITIES = ("T1", "T2")
SUBJECTS = 8
WORST, LOOKED_AT = 0.1, 0.25
"""The share of cases that count as worst, and the share of the list that a person looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A new subject: Dice of every structure, from the annotated cases and from a person's box."""

    name: str
    kind: str
    ours: NDArray[np.float64]
    person: NDArray[np.float64]
    rank: int
    """On the list of what to look at first, from 1."""
    seconds: float


def make_subjects(folder: Path, bank: Path, count: int) -> list[str]:
    """Two annotated subjects and so many new ones as files; what kind each new one is."""
    kinds = []
    for number in range(TEMPLATES + count):
        modality = "T1" if number < TEMPLATES else MODALITIES[number % 2]
        is_thick = number >= TEMPLATES and (number - TEMPLATES) % THICK_EVERY == THICK_EVERY - 1
        kinds.append(f"{modality}, {THICK * VOXEL_MM:g} mm" if is_thick else modality)
        image_path, label_path = _paths(folder, number)
        if image_path.exists():
            continue
        rng = np.random.default_rng((6, number))
        base = np.array(build_head(bank, BASES[number % len(BASES)], held_out=True).labels)
        head = deformed(base, rng)
        image = (1000 * render(head, modality, rng)).astype(np.int16)
        labels = np.zeros(head.shape, np.uint8)
        for value, name in enumerate(STRUCTURES, start=1):
            labels[is_in(head, *PARTS.get(name, (name,)))] = value
        grid = Volume(image, np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0]))
        if is_thick:
            masks = [thick_slices(labels == v, grid, is_mask=True, count=THICK) for v in range(len(STRUCTURES) + 1)]
            labels = np.argmax([one.voxels for one in masks], axis=0).astype(np.uint8)
            grid = thick_slices(image, grid, is_mask=False, count=THICK)
        label_path.parent.mkdir(parents=True, exist_ok=True)
        image_path.parent.mkdir(parents=True, exist_ok=True)
        grid.with_voxels(labels).write(label_path)
        grid.write(image_path)
    pairs = [[str(path.relative_to(folder)) for path in _paths(folder, number)] for number in range(TEMPLATES)]
    listed = {"training": [{"image": image, "seg": label} for image, label in pairs], "validation": []}
    (folder / "dataset.json").write_text(json.dumps(listed), encoding="utf-8")
    return kinds[TEMPLATES:]


def _paths(folder: Path, number: int) -> tuple[Path, Path]:
    where = folder / ("annotated" if number < TEMPLATES else "new")
    return where / f"sub-{number:03}_T1w.nii.gz", folder / "truth" / f"sub-{number:03}_dseg.nii.gz"


def deformed(labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A label map of 1 mm as that of another person, in voxels of `VOXEL_MM`."""
    shape = tuple(int(n / VOXEL_MM) for n in labels.shape)
    matrix = np.diag(VOXEL_MM * rng.uniform(1 - SCALE, 1 + SCALE, 3))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle, turn = rng.uniform(-TURN, TURN), np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    middle, offset = (np.array(shape) - 1) / 2, (np.array(labels.shape) - 1) / 2
    grids = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    places = []
    for axis in range(3):
        place = sum(matrix[axis, n] * (grids[n] - middle[n]) for n in range(3)) + offset[axis]
        places.append(sum((mm * draw_noise(rng, round(cell / VOXEL_MM), shape) for mm, cell in BENDS), place))
    return np.asarray(ndimage.map_coordinates(labels, places, order=0, mode="constant"), np.uint8)
