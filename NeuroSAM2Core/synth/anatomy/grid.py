"""The grid that all individuals are brought onto, and the morphology that is done on it: distances in mm, since its voxels are 1 mm.

Labels at a higher resolution within the slices, with smooth borders instead of the steps of voxels.
Where an individual's brain lies in the upright frame, and how large it is.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Float32, UInt8
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay, QhullError

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.synth.anatomy.labels import ID, is_in
from NeuroSAM2Core.synth.frame import blur, smooth_noise

SHAPE = (232, 248, 200)
"""(K, J, I) of every label map, 1 mm."""
ORIGIN_MM = np.array([-100.0, -130.0, -130.0])
"""(x, y, z) of voxel 0 in the upright frame: MNI305 but for scale and shear."""


def coordinates() -> tuple[Float32[np.ndarray, "1 1 i"], Float32[np.ndarray, "1 j 1"], Float32[np.ndarray, "k 1 1"]]:
    """x, y and z of the grid in mm; they broadcast to (K, J, I)."""
    k, j, i = (np.arange(n, dtype=np.float32) for n in SHAPE)
    x, y, z = (line + np.float32(start) for line, start in zip((i, j, k), ORIGIN_MM, strict=True))
    return x[None, None], y[None, :, None], z[:, None, None]


def to_voxels(points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Positions x, y, z in mm as positions k, j, i in voxels, not rounded."""
    return (np.asarray(points_mm) - ORIGIN_MM)[:, ::-1]


def draw_noise(
    rng: np.random.Generator, cell_mm: float, shape: tuple[int, int, int] = SHAPE
) -> Float32[np.ndarray, "k j i"]:
    """Smooth noise with a cell size: mean 0, deviation about 0.6."""
    return smooth_noise(shape, cell_mm, torch_generator(rng)).numpy()


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A generator of PyTorch that follows from one draw of NumPy's."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def within(mask: Bool[np.ndarray, "..."], reach_mm: float) -> Bool[np.ndarray, "..."]:
    """What is closer to a mask than a distance, the mask included."""
    out = np.zeros_like(mask)
    box = bounding_box(mask, margin=int(np.ceil(reach_mm)) + 1)
    if box is None:
        return out
    out[box] = ndimage.distance_transform_edt(~mask[box]) <= reach_mm
    return out


def closed(mask: Bool[np.ndarray, "..."], radius_mm: float) -> Bool[np.ndarray, "..."]:
    """A mask after morphological closing by a ball."""
    return ~within(~within(mask, radius_mm), radius_mm)


def distance_outside(mask: Bool[np.ndarray, "k j i"]) -> Float32[np.ndarray, "k j i"]:
    """Distance to a mask outside of it, mm, computed at half the resolution."""
    coarse = ndimage.distance_transform_edt(~mask[::2, ::2, ::2]).astype(np.float32) * 2
    return np.where(mask, np.float32(0), np.maximum(enlarged(coarse, mask.shape) - 0.5, 0.5)).astype(np.float32)


def enlarged(values: Float32[np.ndarray, "k j i"], shape: tuple[int, ...]) -> Float32[np.ndarray, "k2 j2 i2"]:
    """A field interpolated to another shape."""
    field = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None]
    out: Float32[np.ndarray, "k2 j2 i2"] = torch.nn.functional.interpolate(field, size=shape, mode="trilinear")[
        0, 0
    ].numpy()
    return out


def hull_of(points: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The convex hull of pixel positions, filled; empty where they enclose no area."""
    out = np.zeros(shape, bool)
    try:
        corners = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return out
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    grid = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    inside = (Delaunay(corners).find_simplex(grid.reshape(-1, 2)) >= 0).reshape(grid.shape[:2])
    out[low[0] : high[0], low[1] : high[1]] = inside[: shape[0] - low[0], : shape[1] - low[1]]
    return out


def ball(centre_mm: Float[np.ndarray, "3"], radius_mm: float) -> Bool[np.ndarray, "k j i"]:
    """The voxels within a distance of a place given as x, y, z."""
    x, y, z = coordinates()
    inside: Bool[np.ndarray, "k j i"] = (x - centre_mm[0]) ** 2 + (y - centre_mm[1]) ** 2 + (
        z - centre_mm[2]
    ) ** 2 <= radius_mm**2
    return inside


def add_ellipsoid(
    mask: Bool[np.ndarray, "k j i"], centre: Float[np.ndarray, "3"], radii: Float[np.ndarray, "3"]
) -> None:
    """Adds an ellipsoid given in voxels (k, j, i) to a mask; in place."""
    box = tuple(
        slice(max(0, int(c - r)), min(n, int(c + r) + 2)) for c, r, n in zip(centre, radii, mask.shape, strict=True)
    )
    grids = np.meshgrid(*[np.arange(b.start, b.stop) - c for b, c in zip(box, centre, strict=True)], indexing="ij")
    squares = np.sum([(g / r) ** 2 for g, r in zip(grids, radii, strict=True)], axis=0)
    mask[box] |= squares <= 1


SIGMA_MM = 0.5
"""Blur of each label before it is interpolated: rounds steps, and keeps sheets that are one voxel thick."""


def refined(labels: UInt8[np.ndarray, "t h w"], factor: int) -> UInt8[np.ndarray, "t h2 w2"]:
    """Each pixel of a finer grid gets the label whose blurred and interpolated mask is largest there.

    Args:
        labels: At 1 mm.
        factor: Pixels per mm; 1 changes nothing.
    """
    if factor == 1:
        return labels
    size = (labels.shape[1] * factor, labels.shape[2] * factor)
    best = torch.full((labels.shape[0], *size), -1.0)
    out = torch.zeros(best.shape, dtype=torch.uint8)
    source = torch.from_numpy(labels)
    for number in np.unique(labels).tolist():
        soft = blur((source == number).float(), (0.0, SIGMA_MM, SIGMA_MM))
        soft = F.interpolate(soft[None], size=size, mode="bilinear")[0]
        wins = soft > best
        out[wins], best[wins] = number, soft[wins]
    return out.numpy()


AVERAGE_LENGTH_MM = 165.0


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """What the formulas for missing structures are placed by."""

    thalami: Float[np.ndarray, "3"]
    """x, y, z in mm: the middle between the two thalami."""
    scale: float
    """Length of the brain beside an average one."""

    @classmethod
    def of(cls, labels: UInt8[np.ndarray, "k j i"]) -> "Landmarks":
        """Those of a label map with cortex and nuclei."""
        centres = []
        for side in "LR":
            thalamus = labels == ID[f"thalamus {side}"]
            centres.append([float(np.broadcast_to(c, SHAPE)[thalamus].mean()) for c in coordinates()])
        return cls(np.mean(centres, axis=0), brain_length(labels) / AVERAGE_LENGTH_MM)


def brain_length(labels: UInt8[np.ndarray, "k j i"]) -> float:
    """From the occipital to the frontal pole, mm, without the outermost hundredth of the cortex at each end."""
    counts = is_in(labels, "cortex").sum((0, 2)).cumsum()
    ends = np.searchsorted(counts, [0.01 * counts[-1], 0.99 * counts[-1]])
    return float(ends[1] - ends[0])
