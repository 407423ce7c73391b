"""Annotated cases to try fine-tuning on: the MNI152 brain of the nilearn package, deformed and rendered anew for every case.

Every case has its own smooth deformation, contrast, bias field and noise; held-out cases have others than training ones. The structure
is the white matter without its thin blades in the gyri, which the bundled model outlines poorly, or a faint lesion put into it.

Usage: python tools/make_finetuning_cases.py FOLDER [--structure white-matter|lesion] [--training 8] [--validation 2] [--held-out 6]
"""

import argparse
import itertools
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from NeuroSAM2Core.components.cpu import largest_component
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs
from NeuroSAM2Core.volume import Volume

VOXEL_MM = 2
DEFORMATION_MM = 4.0
DEFORMATION_CELL_MM = 25.0
BLADES_MM = 3.0
"""Sheets of white matter up to about twice this thick are left out of the structure."""
Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Brain:
    """The template on a coarser grid."""

    t1: Field
    """0 to 1, (K, J, I)."""
    white: Field
    """Probability of white matter, 0 to 1."""
    matrix: NDArray[np.float64]


def main() -> None:
    """Writes the volumes and their dataset.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structure", choices=("white-matter", "lesion"), default="white-matter")
    parser.add_argument("--training", type=int, default=8)
    parser.add_argument("--validation", type=int, default=2)
    parser.add_argument("--held-out", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    add_overwrite_option(parser)
    args = parser.parse_args()
    counts = {"training": args.training, "validation": args.validation, "test": args.held_out}
    numbers = itertools.count()
    lists = {split: [names_of(next(numbers)) for _ in range(count)] for split, count in counts.items()}
    pairs, target = [pair for split in lists.values() for pair in split], args.folder / "dataset.json"
    written = [target, *(args.folder / name for pair in pairs for name in pair.values())]
    try:
        check_outputs(written, overwrite=args.overwrite)
    except DataError as error:
        parser.error(str(error))
    args.folder.mkdir(parents=True, exist_ok=True)
    brain = template()
    for number, pair in enumerate(pairs):
        image, label = make_case(brain, args.structure, np.random.default_rng((args.seed, number)))
        image.write(args.folder / pair["image"], overwrite=args.overwrite)
        label.write(args.folder / pair["seg"], overwrite=args.overwrite)
    target.write_text(json.dumps(lists, indent=2), encoding="utf-8")
    print(f"{len(pairs)} cases written to {target}")


def names_of(number: int) -> dict[str, str]:
    """The files of a case, as `dataset.json` names them."""
    return {"image": f"image{number:02}.nii.gz", "seg": f"label{number:02}.nii.gz"}


def template() -> Brain:
    """The T1 image and the white matter map at two millimetres."""
    folder = resources.files("nilearn.datasets") / "data"
    t1, white = (
        Volume.read(str(folder / f"mni_icbm152_{what}_tal_nlin_sym_09a_converted.nii.gz")) for what in ("t1", "wm")
    )
    matrix = t1.ijk_to_ras.copy()
    matrix[:3, :3] *= VOXEL_MM

    def coarse(volume: Volume) -> Field:
        smooth = ndimage.uniform_filter(volume.voxels.astype(np.float32) / 255, VOXEL_MM)
        return np.ascontiguousarray(smooth[::VOXEL_MM, ::VOXEL_MM, ::VOXEL_MM])

    return Brain(coarse(t1), coarse(white), matrix)


def make_case(brain: Brain, structure: str, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """One image and its label."""
    places = deformation(brain.t1.shape, rng)
    t1, white = (ndimage.map_coordinates(field, places, order=1, prefilter=False) for field in (brain.t1, brain.white))
    if structure == "lesion":
        truth = lesion(white > 0.5, rng)
        t1 = with_lesion(t1, truth, rng)
    else:
        truth = largest_component(ndimage.gaussian_filter(white, BLADES_MM / VOXEL_MM) > 0.5)
    image = rendered(t1, rng)
    return (
        Volume((1000 * image).astype(np.int16), brain.matrix, name="image"),
        Volume(truth.astype(np.uint8), brain.matrix, name="label"),
    )


def smooth_noise(shape: tuple[int, ...], cell_mm: float, rng: np.random.Generator) -> Field:
    """Noise with deviation 1 that changes over about the given distance."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), cell_mm / VOXEL_MM / 2)
    return np.asarray(noise / noise.std())


def deformation(shape: tuple[int, ...], rng: np.random.Generator) -> Field:
    """Where every voxel of the new brain is in the template, (3, K, J, I): turned a little, stretched a little, and bent."""
    centre = (np.array(shape, dtype=np.float32) - 1) / 2
    turn = np.linalg.qr(np.eye(3) + 0.08 * rng.standard_normal((3, 3)))[0]
    turn *= np.sign(np.diag(turn))
    grid = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))
    turned = np.tensordot(turn * rng.uniform(0.92, 1.08, 3), grid - centre[:, None, None, None], axes=1)
    bent = [smooth_noise(shape, DEFORMATION_CELL_MM, rng) * DEFORMATION_MM / VOXEL_MM for _ in range(3)]
    return np.asarray(turned + centre[:, None, None, None] + np.stack(bent), dtype=np.float32)


def lesion(white: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A ragged ball somewhere in the white matter, 16 to 36 mm across."""
    depth = ndimage.distance_transform_edt(white)
    candidates = np.argwhere(depth >= np.percentile(depth[white], 60))
    centre = candidates[rng.integers(len(candidates))]
    radius = rng.uniform(8, 18) / VOXEL_MM
    grids = np.ogrid[tuple(slice(n) for n in white.shape)]
    stretch = rng.uniform(0.75, 1.3, 3)
    away = np.sqrt(sum(((g - c) / s) ** 2 for g, c, s in zip(grids, centre, stretch, strict=True)))
    return largest_component(away + 0.22 * radius * smooth_noise(white.shape, 8.0, rng) < radius)


def with_lesion(t1: Field, where: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """Faint: somewhat darker than white matter, with a soft edge and a texture of its own."""
    amount = ndimage.gaussian_filter(where.astype(np.float32), 0.8)
    tissue = rng.uniform(0.35, 0.5) + 0.06 * smooth_noise(t1.shape, 6.0, rng)
    return np.asarray(t1 + 0.75 * amount * (tissue - t1) * (t1 > 0.05), dtype=np.float32)


def rendered(t1: Field, rng: np.random.Generator) -> Field:
    """Another scanner: gamma, now and then the grey scale of a T2 image, a bias field and noise."""
    head = t1 > 0.02
    image = np.clip(t1, 0, 1) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.4:
        image = np.where(head, 1.05 - image, image)
    image = image * np.exp(0.12 * smooth_noise(t1.shape, 60.0, rng))
    return np.asarray(np.clip(image + rng.uniform(0.01, 0.03) * rng.standard_normal(t1.shape), 0, 2), dtype=np.float32)


if __name__ == "__main__":
    main()
