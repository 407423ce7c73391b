"""White matter and corpus callosum, derived from an individual's cortex and nuclei."""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.grid import (
    ORIGIN_MM,
    SHAPE,
    bounding_box,
    closed,
    coordinates,
    draw_noise,
    hull_of,
)
from NeuroSAM2Core.synth.anatomy.individuals import Individual
from NeuroSAM2Core.synth.anatomy.labels import ID, NUCLEI, is_in
from NeuroSAM2Core.synth.anatomy.landmarks import Landmarks

OUTSIDE, INSIDE = 1, 2


def with_white_matter(individual: Individual) -> UInt8[np.ndarray, "k j i"]:
    """An individual's labels with the white matter added. Nothing is drawn, and it is slow: do it once for each individual."""
    labels = individual.labels.copy()
    landmarks = Landmarks.of(labels)
    _, bay = arc_and_bay(individual, landmarks)
    fill_cerebrum(labels, bay, landmarks)
    return labels


def arc_and_bay(
    individual: Individual, landmarks: Landmarks
) -> tuple[Bool[np.ndarray, "k j"], Bool[np.ndarray, "k j"]]:
    """The C that the cingulate cortex of both hemispheres forms around the corpus callosum, seen from the side, and the bay within it."""
    x, _, _ = coordinates()
    near = individual.cingulate & (np.abs(x) < 9)
    arc = closed(near.sum(2) >= 2, 7.0)
    parts, _ = ndimage.label(hull_of(np.argwhere(arc), (SHAPE[0], SHAPE[1])) & ~arc)
    k, j = (landmarks.thalami - ORIGIN_MM)[[2, 1]].round().astype(int) + np.array([6, 0])
    bay = parts == (parts[k, j] or np.bincount(parts[parts > 0]).argmax())
    return arc, bay


def fill_cerebrum(labels: UInt8[np.ndarray, "k j i"], bay: Bool[np.ndarray, "k j"], landmarks: Landmarks) -> None:
    """Adds white matter inside of the cortical ribbon, and fluid in the pockets that the ribbon cuts off; in place.

    The ribbon has small holes and is open on the medial wall, so that plain flooding leaks. Two floods instead, one from the corona
    radiata and one from outside, rise from wide places to narrow ones and meet in the narrow ones: a watershed on the distance to the
    ribbon. The bay of the cingulate gyrus belongs to the inside.
    """
    x, y, z = coordinates()
    solid = is_in(labels, "cortex", *NUCLEI)
    box = bounding_box(solid, 8)
    space = ndimage.distance_transform_edt(~solid[box])
    _, cy, cz = landmarks.thalami
    s = landmarks.scale
    radiata = (
        (np.abs(x) > 14 * s)
        & (np.abs(x) < 30 * s)
        & ((z > cz + 10 * s) & (z < cz + 30 * s))
        & ((y > cy - 32 * s) & (y < cy + 52 * s))
    )
    markers = np.zeros(SHAPE, np.int32)[box]
    markers[radiata[box] & (space >= 2.5)] = INSIDE
    markers[(bay[:, :, None] & (np.abs(x) < 14))[box]] = INSIDE
    for side in "LR":  # internal capsule
        basal = [f"{name} {side}" for name in NUCLEI if name not in ("hippocampus", "amygdala")]
        markers[closed(is_in(labels, *basal)[box], 8.0)] = INSIDE
    far, _ = ndimage.label(~closed(solid[box], 12.0))
    markers[(far == far[-1, 0, 0]) & (space > 3)] = OUTSIDE
    fissure = (np.abs(x) < 1.6) & ~bay[:, :, None] & (z > cz - 12)
    markers[fissure[box]] = OUTSIDE
    markers[solid[box]] = 0
    filled = _watershed(-space, markers, ~solid[box])
    white = np.zeros(SHAPE, bool)
    white[box] = filled == INSIDE
    left = _is_nearest_left(labels)
    labels[white & left], labels[white & ~left] = ID["white matter L"], ID["white matter R"]
    pockets = np.zeros(SHAPE, bool)
    pockets[box] = (filled == 0) & ~solid[box]
    labels[pockets] = ID["CSF"]


def add_callosum(
    labels: UInt8[np.ndarray, "k j i"], individual: Individual, landmarks: Landmarks, rng: np.random.Generator
) -> Bool[np.ndarray, "k j"]:
    """Adds the corpus callosum, a band along the inner side of the C that is thicker at both ends; in place.

    Returns:
        Its upper layer, which no ventricle takes away.
    """
    arc, bay = arc_and_bay(individual, landmarks)
    x, _, _ = coordinates()
    depth = ndimage.distance_transform_edt(~arc)
    span = np.flatnonzero(bay.any(0))
    along = np.clip((np.arange(SHAPE[1]) - span.mean()) / max(1.0, np.ptp(span) / 2), -1, 1)
    thickness = landmarks.scale * rng.uniform(2.2, 5.2) * (1 + rng.uniform(0.6, 1.2) * along**2)
    band = bay & (depth < thickness[None])
    reach = rng.uniform(7, 13) + 2 * draw_noise(rng, 12.0)
    labels[band[:, :, None] & (np.abs(x) < reach) & is_in(labels, "white matter")] = ID["corpus callosum"]
    roof: Bool[np.ndarray, "k j"] = bay & (depth < 0.6 * thickness[None])
    return roof


def _is_nearest_left(labels: UInt8[np.ndarray, "k j i"]) -> Bool[np.ndarray, "k j i"]:
    """Whether the cortex nearest to a voxel is of the left hemisphere; near the midline the sign of x decides."""
    x, _, _ = coordinates()
    coarse = labels[::2, ::2, ::2]
    to_left, to_right = (ndimage.distance_transform_edt(coarse != ID[f"cortex {side}"]) for side in "LR")
    left = (to_left < to_right).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return np.where(np.abs(x) < 9, x < 0, left)


def _watershed(height: np.ndarray, markers: np.ndarray, mask: Bool[np.ndarray, "k j i"]) -> np.ndarray:
    try:
        from skimage.segmentation import watershed
    except ModuleNotFoundError:
        raise DataError(
            "making heads from label maps needs scikit-image, which is not installed", hint="pip install scikit-image"
        ) from None
    filled: np.ndarray = watershed(height, markers, mask=mask)
    return filled
