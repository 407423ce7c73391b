"""A whole brain from an individual's cortex and nuclei: what the published maps leave out, derived by geometry.

No other atlas is used. Free parameters (how wide the ventricles are, how thick the callosum is, how the brainstem bends, how the
cerebellum is folded) are drawn anew each time, so that one individual gives many brains. The result is plausible, not true: it shows
what such structures look like next to real cortex and real nuclei, and measures nothing.

White matter and corpus callosum, derived from an individual's cortex and nuclei.
Brainstem with the diencephalon above it, cerebellum and fourth ventricle, placed by an individual's thalami and skull.
Lateral and third ventricles, derived from the structures around them: from slits to hydrocephalus.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy import ndimage

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.grid import (
    ORIGIN_MM,
    SHAPE,
    Landmarks,
    add_ellipsoid,
    ball,
    closed,
    coordinates,
    draw_noise,
    enlarged,
    hull_of,
    within,
)
from NeuroSAM2Core.synth.anatomy.individuals import Individual
from NeuroSAM2Core.synth.anatomy.labels import CEREBELLUM, ID, NUCLEI, is_in

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
    box = bounding_box(solid, margin=8)
    assert box is not None, "a head has a cortex"
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


STEM_MM = (
    (3.0, 4.0, 15.0, 10.0), (10.0, 6.0, 15.5, 11.0), (17.0, 6.5, 14.0, 11.5), (24.0, 5.0, 15.5, 13.0), (33.0, 4.5, 16.5, 14.0),
    (42.0, 7.5, 14.0, 12.0), (49.0, 12.0, 10.0, 9.0), (58.0, 16.0, 8.5, 7.5), (70.0, 21.0, 7.0, 6.0), (95.0, 28.0, 6.0, 5.0),
    (125.0, 34.0, 6.0, 5.0),
)  # fmt: skip
"""Sections of midbrain, pons, medulla and cord: how far below the thalami and behind them, half width, half depth."""


def add_brainstem(
    labels: UInt8[np.ndarray, "k j i"], landmarks: Landmarks, rng: np.random.Generator
) -> Float32[np.ndarray, "k j i"]:
    """Adds midbrain, pons, medulla and cord as a stack of ellipses, peduncles and hypothalamus above; in place.

    Returns:
        How deep inside of the stem each voxel is, mm; negative outside.
    """
    x, y, z = coordinates()
    s = landmarks.scale
    _, cy, cz = landmarks.thalami
    down = (cz - z[:, 0, 0]) / s
    table = np.array(STEM_MM) * (1 + rng.uniform(-0.07, 0.07, (len(STEM_MM), 4)) * [0, 1, 1, 1])
    behind, half_x, half_y = (np.interp(down, table[:, 0], table[:, a]) * s for a in (1, 2, 3))
    lean = rng.uniform(-0.12, 0.12)
    centre_y = cy - behind - lean * np.maximum(down - 35, 0) * s
    radius = np.sqrt((x / half_x[:, None, None]) ** 2 + ((y - centre_y[:, None, None]) / half_y[:, None, None]) ** 2)
    depth = (1 - radius) * np.minimum(half_x, half_y)[:, None, None] + 0.6 * draw_noise(rng, 9.0)
    depth = depth.astype(np.float32)
    depth[down < 2] = -20.0
    notch = (x / (5 * s)) ** 2 + ((y - (centre_y + half_y)[:, None, None]) / (7 * s)) ** 2 < 1
    notch &= ((down > 6) & (down < 25))[:, None, None]
    free = (labels == 0) | is_in(labels, "white matter", "CSF") & (depth > 1.0) & (z < cz - 10 * s)
    stem = (depth > 0) & free & ~notch
    diencephalon = stem & (z > cz - 13 * s)
    labels[stem & ~diencephalon] = ID["brainstem"]
    rough = 2.5 * draw_noise(rng, 8.0)
    squares = (x / (18 * s)) ** 2 + ((y - cy - 3 * s) / (13 * s)) ** 2 + ((z - cz + 7 * s) / (9 * s)) ** 2
    near = within(is_in(labels, "thalamus", "pallidum"), 8.0 * s)
    diencephalon |= near & (squares < 1 + 0.1 * rough) & ((labels == 0) | is_in(labels, "white matter"))
    left = np.broadcast_to(x < 0, SHAPE)
    labels[diencephalon & left], labels[diencephalon & ~left] = ID["ventral DC L"], ID["ventral DC R"]
    return depth


def add_cerebellum(
    labels: UInt8[np.ndarray, "k j i"],
    individual: Individual,
    stem_depth: Float32[np.ndarray, "k j i"],
    landmarks: Landmarks,
    rng: np.random.Generator,
) -> None:
    """Adds two hemispheres and a vermis with folia, white matter by depth, and the fourth ventricle; in place.

    They lie behind and below the brainstem, under the cerebrum and inside of the skull.
    """
    x, y, z = coordinates()
    s = landmarks.scale
    _, cy, cz = landmarks.thalami
    z = z + 0.25 * (y - cy + 45 * s)  # lower at the back

    def lobe(dx: float, dy: float, dz: float, radii: tuple[float, float, float]) -> Float32[np.ndarray, "k j i"]:
        return _ellipsoid_depth((x - dx * s, y - cy - dy * s, z - cz - dz * s), radii)

    grow = rng.uniform(0.94, 1.08) * s
    wide, high = rng.uniform(26, 31) * grow, rng.uniform(21, 26) * grow
    depth = np.maximum(lobe(-22, -44, -41, (wide, 31 * grow, high)), lobe(22, -44, -41, (wide, 31 * grow, high)))
    depth = np.maximum(depth, lobe(0, -42, -36, (13 * grow, 27 * grow, 23 * grow))) + 1.0 * draw_noise(rng, 16.0)
    depth = np.minimum(depth, _space(labels, individual, rng))
    depth = np.minimum(depth, -stem_depth - rng.uniform(-2.5, 0.0))
    ventricle = lobe(0, -25, -43, (rng.uniform(4, 9) * s, rng.uniform(4, 7) * s, rng.uniform(9, 13) * s)) > 0
    body = _largest((depth > 0) & ((labels == 0) | (labels == ID["CSF"])))
    phase = (z + rng.uniform(0.2, 0.6) * y) * rng.uniform(0.9, 1.5) / s + 3.5 * draw_noise(rng, 14.0)
    core = np.maximum(*(lobe(dx, -36, -40, (17 * s, 17 * s, 8 * s)) for dx in (-16, 16)))
    arbor = np.sin(phase) > rng.uniform(0.2, 0.6)
    white = core + 1.5 * draw_noise(rng, 8.0) > rng.uniform(0, 3)
    white |= (depth > rng.uniform(2, 4) * s) & arbor & (core > rng.uniform(-9, -3) * s)
    left = np.broadcast_to(x < 0, SHAPE)
    for side, half in (("L", left), ("R", ~left)):
        labels[body & half] = ID[f"cerebellar cortex {side}"]
        labels[body & white & half] = ID[f"cerebellar white matter {side}"]
    if rng.random() < 0.7:
        fissures = (depth < rng.uniform(2, 5)) & (np.sin(phase) < -rng.uniform(0.86, 0.97))
        labels[body & ~white & fissures] = ID["CSF"]
    ventricle &= (is_in(labels, "brainstem", *CEREBELLUM) & (stem_depth < 5.0 * s)) | (labels == 0)
    labels[ventricle & within(labels == ID["brainstem"], 9.0)] = ID["fourth ventricle"]


def _space(
    labels: UInt8[np.ndarray, "k j i"], individual: Individual, rng: np.random.Generator
) -> Float32[np.ndarray, "k j i"]:
    """How far each voxel is from the cerebrum and from the skull, less a gap; -1 where the cerebrum lies both above and below."""
    cerebrum = is_in(labels, "cortex", "white matter", *NUCLEI)
    coarse = (slice(None, None, 2),) * 3
    tent = ndimage.distance_transform_edt(~cerebrum[coarse]).astype(np.float32) * 2
    bone = ndimage.distance_transform_edt(individual.inner_skull[coarse]).astype(np.float32) * 2
    space = enlarged(np.minimum(tent - rng.uniform(1.5, 3.5), bone - rng.uniform(1.0, 4.0)), SHAPE)
    is_below = np.flip(np.maximum.accumulate(np.flip(cerebrum, 0), axis=0), 0)
    is_above = np.maximum.accumulate(cerebrum, axis=0)
    space[is_above & is_below & ~cerebrum & (space > 0)] = -1.0
    return space


def _largest(mask: Bool[np.ndarray, "k j i"]) -> Bool[np.ndarray, "k j i"]:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    largest: Bool[np.ndarray, "k j i"] = parts == np.bincount(parts[parts > 0]).argmax()
    return largest


def _ellipsoid_depth(
    offsets: tuple[Float32[np.ndarray, "..."], Float32[np.ndarray, "..."], Float32[np.ndarray, "..."]],
    radii: tuple[float, float, float],
) -> Float32[np.ndarray, "k j i"]:
    """Roughly how deep inside of an ellipsoid each voxel is, mm; negative outside."""
    x, y, z = (offset / np.float32(radius) for offset, radius in zip(offsets, radii, strict=True))
    depth: Float32[np.ndarray, "k j i"] = (1 - np.sqrt(x**2 + y**2 + z**2)) * np.float32(min(radii))
    return depth


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


def completed(individual: Individual, rng: np.random.Generator) -> UInt8[np.ndarray, "k j i"]:
    """The labels of a whole brain; background where only fluid, bone and the rest of the head can be.

    Args:
        individual: Whose labels have their white matter already; see `with_white_matter`.
        rng: Draws the free parameters.
    """
    labels = individual.labels.copy()
    landmarks = Landmarks.of(labels)
    roof = add_callosum(labels, individual, landmarks, rng)
    add_ventricles(labels, roof, landmarks, rng)
    stem_depth = add_brainstem(labels, landmarks, rng)
    add_cerebellum(labels, individual, stem_depth, landmarks, rng)
    return labels
