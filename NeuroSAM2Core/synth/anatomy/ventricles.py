"""Lateral and third ventricles, derived from the structures around them: from slits to hydrocephalus."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from NeuroSAM2Core.synth.anatomy.grid import (
    ORIGIN_MM,
    SHAPE,
    add_ellipsoid,
    ball,
    coordinates,
    draw_noise,
    hull_of,
    within,
)
from NeuroSAM2Core.synth.anatomy.labels import ID, is_in
from NeuroSAM2Core.synth.anatomy.landmarks import Landmarks

MIDDLE = round(-ORIGIN_MM[0])
"""Column of the midsagittal plane."""
SECTION = (SHAPE[0], SHAPE[2])


def add_ventricles(
    labels: UInt8[np.ndarray, "k j i"], roof: Bool[np.ndarray, "k j"], landmarks: Landmarks, rng: np.random.Generator
) -> None:
    """Adds the lateral ventricles with their horns and choroid plexus, and the third ventricle; in place.

    Args:
        labels: With white matter and corpus callosum.
        roof: The layer of the callosum that stays; see `add_callosum`.
        landmarks: Of the individual.
        rng: Draws how wide they are, all of them more or less alike.
    """
    width = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6))))
    swelling_mm = rng.uniform(0.0, 1.2) if rng.random() < 0.6 else rng.uniform(1.2, 5.5)
    x, _, _ = coordinates()
    free = is_in(labels, "white matter", "corpus callosum") & ~(roof[:, :, None] & (np.abs(x) < 9))
    free &= ~within(is_in(labels, "cortex"), 1.5)
    for side in "LR":
        cavity = _lateral_cavity(labels, roof, free, side, width, swelling_mm, landmarks, rng)
        labels[cavity] = ID[f"lateral ventricle {side}"]
        if rng.random() < 0.8:
            near = is_in(labels, f"thalamus {side}", f"hippocampus {side}")
            plexus = cavity & (draw_noise(rng, 5.0) > 0.45) & within(near, 5.0)
            labels[plexus & ~within(is_in(labels, f"caudate {side}"), 4.0)] = ID["choroid plexus"]
    add_third_ventricle(labels, landmarks, rng, half_width_mm=rng.uniform(1.0, 3.0) + 0.3 * swelling_mm)


def _lateral_cavity(
    labels: UInt8[np.ndarray, "k j i"],
    roof: Bool[np.ndarray, "k j"],
    free: Bool[np.ndarray, "k j i"],
    side: str,
    width: float,
    swelling_mm: float,
    landmarks: Landmarks,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "k j i"]:
    """The cavity between septum, callosum, caudate and thalamus with its horns, within what is free."""
    x, _, _ = coordinates()
    sign = -1 if side == "L" else 1
    septum_mm = rng.uniform(0.6, 1.6)
    thalamus = labels == ID[f"thalamus {side}"]
    cavity = _body(labels == ID[f"caudate {side}"], thalamus, roof, sign, septum_mm, width)
    cavity &= (x * sign > septum_mm) & free
    narrowing_mm = max(0.0, (1 - width) * 3.5) * rng.uniform(0.5, 1.0)
    cavity &= ndimage.distance_transform_edt(cavity) > narrowing_mm
    cavity |= _horns(labels == ID[f"hippocampus {side}"], thalamus, sign, width, landmarks, rng) & free
    if swelling_mm > 0.5:
        cavity |= within(cavity, swelling_mm) & free & (x * sign > septum_mm)
    cavity = (ndimage.gaussian_filter(cavity.astype(np.float32), 1.1) > 0.4) & free & (x * sign > septum_mm)
    parts, _ = ndimage.label(cavity, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    return cavity & (sizes > 40)[parts]


def _body(
    caudate: Bool[np.ndarray, "k j i"],
    thalamus: Bool[np.ndarray, "k j i"],
    roof: Bool[np.ndarray, "k j"],
    sign: int,
    septum_mm: float,
    width: float,
) -> Bool[np.ndarray, "k j i"]:
    """Frontal horn and body, one coronal section after the other: the hull of the caudate's inner side and the septum."""
    cavity = np.zeros(SHAPE, bool)
    columns, thalamic = np.flatnonzero(caudate.any((0, 2))), np.flatnonzero(thalamus.any((0, 2)))
    for j in range(thalamic[0] - 2, columns[-1] + int(4 * width)):
        section = np.argwhere(caudate[:, min(max(j, columns[0]), columns[-1])])
        below = np.argwhere(thalamus[:, j])
        ceiling = np.flatnonzero(roof[:, j])
        top = section[:, 0].max() + 8
        if len(ceiling):
            top = min(ceiling[0], top)
        floor = below[:, 0].max() + 1 if len(below) else max(section[:, 0].mean() - 3, top - 14)
        top = max(top, floor + 3)
        lateral = section[section[:, 0] >= np.percentile(section[:, 0], 30)]
        inner = MIDDLE + sign * septum_mm
        medial = [[top, inner], [top, MIDDLE + sign * 6], [floor, inner]]
        cavity[:, j] = hull_of(np.concatenate([lateral, medial]).astype(float), SECTION)
    return cavity


def _horns(
    hippocampus: Bool[np.ndarray, "k j i"],
    thalamus: Bool[np.ndarray, "k j i"],
    sign: int,
    width: float,
    landmarks: Landmarks,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "k j i"]:
    """Atrium, temporal horn (along the hippocampus) and occipital horn as balls along curves."""
    s = landmarks.scale
    h, t = np.argwhere(hippocampus).astype(float), np.argwhere(thalamus).astype(float)
    h_tail, h_head = np.percentile(h[:, 1], 4), np.percentile(h[:, 1], 92)
    body = [t[:, 0].max() + 2, np.percentile(t[:, 1], 12), MIDDLE + sign * 12 * s]
    tail = h[h[:, 1] <= h_tail + 3].mean(0)
    atrium = [tail[0] + 5 * s, min(tail[1], t[:, 1].min()) - 6 * s, tail[2] + sign * 5 * s]
    temporal = [atrium]
    for j in np.linspace(h_tail, h_head, 7):
        section = h[np.abs(h[:, 1] - j) < 1.5]
        if len(section):
            temporal.append([section[:, 0].max() + 0.5, j, section[:, 2].mean() + sign * 4 * s])
    occipital = [atrium[0] - 1, atrium[1] - rng.uniform(8, 24) * s, atrium[2] + sign * rng.uniform(-3, 4)]
    out = np.zeros(SHAPE, bool)
    curves = (([body, atrium], 3.2, 5.2), (temporal, 4.0, 1.5), ([atrium, occipital], 4.2, 1.2))
    for points, start_mm, end_mm in curves:
        _add_tube(out, np.array(points), start_mm, end_mm, width**0.8 * rng.uniform(0.8, 1.2) * s)
    return out


def _add_tube(
    mask: Bool[np.ndarray, "k j i"], points: Float[np.ndarray, "n 3"], start_mm: float, end_mm: float, factor: float
) -> None:
    """Adds a tube along a polyline (k, j, i) whose radius goes from one value to another; in place."""
    steps = np.linspace(0, len(points) - 1, 12 * len(points))
    line = np.stack([np.interp(steps, np.arange(len(points)), points[:, a]) for a in range(3)], 1)
    for centre, radius in zip(line, np.linspace(start_mm, end_mm, len(line)) * factor, strict=True):
        add_ellipsoid(mask, centre, np.array([1.15, 1.0, 0.85]) * max(radius, 0.9))


def add_third_ventricle(
    labels: UInt8[np.ndarray, "k j i"], landmarks: Landmarks, rng: np.random.Generator, *, half_width_mm: float
) -> None:
    """Adds the slit between the thalami, down into the hypothalamus, with the adhesion that may cross it; in place."""
    x, _, z = coordinates()
    thalami = is_in(labels, "thalamus")
    slit = np.zeros(SHAPE, bool)
    for j in np.flatnonzero(thalami.any((0, 2))):
        section = np.argwhere(thalami[:, j])
        if np.ptp(section[:, 1]) > 20:
            slit[:, j] = hull_of(section.astype(float), SECTION)
    below = np.zeros(SHAPE, bool)
    for step in range(1, int(rng.uniform(4, 9))):
        below[:-step] |= slit[step:]
    slit |= below & (np.abs(x) < 0.75 * half_width_mm)
    slit &= (np.abs(x) < half_width_mm) & (z < landmarks.thalami[2] + 7)
    slit &= ~ball(landmarks.thalami + np.array([0.0, 4.0, 0.0]), rng.uniform(0, 4.5))
    labels[slit & (is_in(labels, "white matter") | (labels == 0))] = ID["third ventricle"]
