"""Brainstem with the diencephalon above it, cerebellum and fourth ventricle, placed by an individual's thalami and skull."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from NeuroSAM2Core.synth.anatomy.grid import SHAPE, coordinates, draw_noise, enlarged, within
from NeuroSAM2Core.synth.anatomy.individuals import Individual
from NeuroSAM2Core.synth.anatomy.labels import CEREBELLUM, ID, NUCLEI, is_in
from NeuroSAM2Core.synth.anatomy.landmarks import Landmarks

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
