"""Volumes for tests."""

import numpy as np

from NeuroSAM2Core import Volume

UPRIGHT = np.diag([-1.0, -1.0, 1.0, 1.0])
"""The matrix of a volume whose stored axial slices are already the canonical ones."""


def noise_volume(num_slices: int, height: int, width: int, seed: int = 0) -> Volume:
    """Smooth-ish noise in canonical axial storage."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((num_slices, height // 8 + 1, width // 8 + 1))
    voxels = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width] + 0.2 * rng.standard_normal(
        (num_slices, height, width)
    )
    return Volume(voxels.astype(np.float32), UPRIGHT)


def ball_volume(shape: tuple[int, int, int] = (24, 48, 56), matrix: np.ndarray = UPRIGHT) -> tuple[Volume, np.ndarray]:
    """A bright ellipsoid on a dark ground, and where it is."""
    grids = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    truth = sum((g / r) ** 2 for g, r in zip(grids, (0.7, 0.55, 0.5), strict=True)) < 1
    rng = np.random.default_rng(1)
    voxels = 100.0 * truth + 20.0 + 4 * rng.standard_normal(shape)
    return Volume(voxels.astype(np.float32), matrix), truth
