"""Small studies on disk: annotated heads with two organs in them, and new ones that are turned, moved and of other contrasts."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from NeuroSAM2Core.cohort import CaseRecord, CohortFolder, CohortPlan, ObjectResult, find_images, write_review
from NeuroSAM2Core.labels import LabelEntry, LabelTable, write_table
from NeuroSAM2Core.registration import prompts_of
from NeuroSAM2Core.volume import Axis, Volume

SHAPE, SPACING_MM = (26, 34, 30), 6.0
ORGANS = {
    1: ("left organ", (0.0, 0.15, -0.32), (0.42, 0.36, 0.26)),
    2: ("right organ", (0.1, -0.2, 0.34), (0.36, 0.3, 0.24)),
}
"""Middle and radii, (k, j, i), in half sides of the head."""
TABLE = LabelTable(tuple(LabelEntry(value, name, (200, 90, 60 * value)) for value, (name, *_) in ORGANS.items()))


def person(seed: int, *, contrast: float = 1.0) -> tuple[Volume, Volume]:
    """A head and its labels; each seed is turned, moved and sized otherwise.

    Args:
        seed: Of the person; 0 is upright.
        contrast: Of the organs to the head; negative ones are dark.
    """
    rng = np.random.default_rng(seed)
    angle, moves = (rng.uniform(-0.1, 0.1), rng.uniform(-0.08, 0.08, 3)) if seed else (0.0, np.zeros(3))
    grids = np.meshgrid(*[np.linspace(-1.15, 1.15, n) for n in SHAPE], indexing="ij")
    k, j, i = (grid - move for grid, move in zip(grids, moves, strict=True))
    j, i = np.cos(angle) * j - np.sin(angle) * i, np.sin(angle) * j + np.cos(angle) * i
    voxels = 400.0 * (k**2 + (j / 1.05) ** 2 + (i / 0.9) ** 2 < 1)
    labels = np.zeros(SHAPE, np.uint8)
    for value, (_, middle, radii) in ORGANS.items():
        scale = rng.uniform(0.92, 1.08) if seed else 1.0
        apart = sum(((x - m) / (scale * r)) ** 2 for x, m, r in zip((k, j, i), middle, radii, strict=True))
        labels[apart < 1] = value
    voxels[labels > 0] += 350 * contrast
    voxels += 15 * rng.standard_normal(SHAPE)
    matrix = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    return Volume(voxels.astype(np.int16), matrix, name=f"person {seed}"), Volume(labels, matrix, name="labels")


def write_study(folder: Path, *, templates: int = 2, new: int = 3) -> tuple[list[str], Path]:
    """Annotated cases and a folder of new scans; the words that name both on the command line."""
    words = []
    for seed in range(templates):
        image, labels = person(seed)
        paths = folder / "annotated" / f"a{seed}.nii.gz", folder / "annotated" / f"a{seed}_labels.nii.gz"
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, volume in zip(paths, (image, labels), strict=True):
            volume.write(path)
        write_table(folder / "annotated" / f"a{seed}_labels.tsv", TABLE)
        words += map(str, paths)
    images = folder / "new"
    images.mkdir()
    for seed in range(new):
        person(50 + seed, contrast=1.0 if seed % 2 else -0.7)[0].write(images / f"scan{seed}.nii.gz")
    return words, images


def write_cohort(folder: Path, *, cases: int = 3) -> CohortFolder:
    """The folder of a cohort as a run leaves it, without one: the last case failed, of the others the first is the most doubtful."""
    (folder / "new").mkdir(parents=True)
    out, truths = CohortFolder(folder / "out"), {}
    for number in range(cases):
        image, truths[f"sub-scan{number}"] = person(number)
        image.write(folder / "new" / f"scan{number}.nii.gz")
    plan = CohortPlan(templates=(), template_hashes=(), model="nano", model_hash="")
    found = find_images([folder / "new"])
    out.path.mkdir()
    out.claim(plan, found)
    for number, case in enumerate(found):
        record = CaseRecord(case=case.name, image=out.source(case.image), fingerprint=plan.fingerprint)
        if number == cases - 1:
            out.write(case, replace(record, problem="it is no head"))
            continue
        labels = truths[case.name]
        objects = tuple(
            ObjectResult(
                label=value,
                name=name,
                prompts=prompts_of(labels.voxels == value, Axis.K).prompts,
                expected_iou=0.5 + 0.1 * number,
                agreement=0.8,
                carried_dice=0.9,
                volume_ml=30.0,
                compactness=0.9,
            )
            for value, (name, *_) in ORGANS.items()
        )
        out.write(case, replace(record, objects=objects))
        labels.write(out.labels_path(case))
        write_table(out.labels_path(case).with_name(f"{case.name}_desc-neurosam2_dseg.tsv"), TABLE)
    write_review(out.path)
    return out


def annotate(project: Path, *seeds: int) -> None:
    """Puts persons on the list of annotated cases of a training project."""
    from NeuroSAM2Lib.training.cases import CaseList  # tests of the core have no panels

    for seed in seeds:
        paths = [project / f"{name}{seed}.nii.gz" for name in ("image", "labels")]
        for path, volume in zip(paths, person(seed), strict=True):
            path.parent.mkdir(exist_ok=True)
            volume.write(path, overwrite=True)
        CaseList(project).add(*paths, "training")
