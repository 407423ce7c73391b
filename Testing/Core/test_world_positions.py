"""A mask lands on the same place in the patient whatever grid the image is on, judged by an independent resampler (SimpleITK)."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.prompts import box_from_mask
from NeuroSAM2Core.training.evaluation import dice, largest_slice
from NeuroSAM2Core.volume import SlicePlane, resolve_axis
from Testing.Support.volumes import UPRIGHT, ball_volume

LPS = np.diag([-1.0, -1.0, 1.0])


def turned(degrees: float, axis: int) -> np.ndarray:
    a = np.radians(degrees)
    turn = np.eye(3)
    i, j = [n for n in range(3) if n != axis]
    turn[i, i] = turn[j, j] = np.cos(a)
    turn[i, j], turn[j, i] = -np.sin(a), np.sin(a)
    return turn


def as_sitk(voxels: np.ndarray, matrix: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    lps = LPS @ matrix[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
    return image


def resampled(voxels, matrix, shape, target_matrix, *, nearest):
    """Voxels on another grid, by SimpleITK."""
    grid = as_sitk(np.zeros(shape, np.float32), target_matrix)
    how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    return sitk.GetArrayFromImage(
        sitk.Resample(as_sitk(voxels, matrix), grid, sitk.Transform(), how, 20.0 * (not nearest))
    )


def grid(directions: np.ndarray, spacing: tuple[float, float, float], shape: tuple[int, int, int], centre: np.ndarray):
    """The matrix of a grid of (K, J, I) voxels around a centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = directions * spacing
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return matrix


UP = UPRIGHT[:3, :3]
GRIDS = {
    "oblique": (turned(20, 0) @ turned(15, 2) @ UP, (1.0, 1.0, 1.0), (40, 70, 76)),
    "left-handed": (UP @ np.diag([-1.0, 1.0, 1.0]), (1.0, 1.0, 1.0), (28, 52, 60)),
    "anisotropic": (UP, (0.6, 0.9, 2.5), (12, 58, 100)),
    "permuted axes": (UP[:, [2, 0, 1]], (1.0, 1.0, 1.0), (52, 60, 28)),
    "oblique, left-handed and anisotropic": (
        turned(-25, 1) @ UP[:, [1, 2, 0]] @ np.diag([1.0, -1.0, 1.0]),
        (1.0, 1.5, 0.8),
        (76, 30, 64),
    ),
}


def outlined(image: Volume, truth: np.ndarray) -> np.ndarray:
    """What the bundled model makes of the tight box on the largest axial slice."""
    axis = resolve_axis(image, "axial")
    index = largest_slice(truth, axis)
    box = box_from_mask(SlicePlane(axis, index).of(truth))
    session = Session(load_model("nano", device="cpu"), image)
    session.add_box(1, "axial", index, (box.row0, box.col0, box.row1, box.col1))
    for _ in session.propagate(1):
        pass
    return session.mask(1)


@pytest.fixture(scope="module")
def plain():
    image, truth = ball_volume((28, 52, 60))
    return image, truth, outlined(image, truth)


@pytest.mark.parametrize("name", GRIDS)
def test_the_mask_is_at_the_same_place_on_any_grid(plain, name):
    image, truth, mask = plain
    assert dice(mask, truth) > 0.9
    directions, spacing, shape = GRIDS[name]
    centre = image.to_ras((np.array(image.shape[::-1]) - 1) / 2)
    matrix = grid(directions, spacing, shape, centre)
    other = Volume(resampled(image.voxels, image.ijk_to_ras, shape, matrix, nearest=False).astype(np.float32), matrix)
    other_truth = resampled(truth.astype(np.uint8), image.ijk_to_ras, shape, matrix, nearest=True) > 0
    other_mask = outlined(other, other_truth)
    back = resampled(other_mask.astype(np.uint8), matrix, image.shape, image.ijk_to_ras, nearest=True) > 0
    assert dice(back, mask) > 0.9
    offset = image.to_ras(np.argwhere(back).mean(axis=0)[::-1]) - image.to_ras(np.argwhere(mask).mean(axis=0)[::-1])
    assert np.abs(offset).max() < 1.0, "less than a voxel apart"
