"""A volume to practise on, made on the spot: no download, no patient. A head with a brain, ventricles and a bright lesion, with noise.

It shows what the panels do; how good a model is it does not tell.
"""

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Lib.scene.arrays import Matrix, set_voxels, to_vtk

NAME = "NeuroSAM2 practice head"
SHAPE = (48, 144, 120)
"""(K, J, I)."""
SPACING_MM = (1.4, 1.4, 3.5)
"""Along i, j, k: slices are thicker than pixels, as in many clinical scans."""
SEED = 7
NOISE = 9.0

Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float], float]
"""Middle and half axes in mm of the head's frame (right, front, up), and brightness."""
PARTS: tuple[Ellipsoid, ...] = (
    ((0, 0, 0), (72, 88, 74), 240),
    ((0, 0, 0), (68, 84, 70), 20),
    ((0, 0, 2), (62, 78, 64), 85),
    ((0, 0, 2), (52, 66, 52), 120),
    ((-12, 4, 8), (7, 26, 13), 30),
    ((12, 4, 8), (7, 26, 13), 30),
    ((0, -6, -6), (4, 10, 9), 30),
    ((28, 20, 14), (15, 13, 14), 210),
)
"""Scalp, skull, grey matter, white matter, three ventricles, lesion."""


def practice_voxels() -> NDArray[np.int16]:
    """The brightness of every voxel, (K, J, I)."""
    place = np.stack(np.meshgrid(*(_along(axis) for axis in range(3)), indexing="ij"), axis=-1)
    picture = np.zeros(SHAPE)
    for middle, half_axes, brightness in PARTS:
        inside = (((place - middle) / half_axes) ** 2).sum(-1) < 1
        picture[inside.transpose(2, 1, 0)] = brightness
    shading = 1 + 0.12 * (place[..., 0] / 90).transpose(2, 1, 0)
    noise = np.random.default_rng(SEED).normal(0, NOISE, SHAPE)
    return np.clip(picture * shading + noise, 0, None).astype(np.int16)


def add_practice_volume(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    """Puts it into the scene, upright and with its middle at the origin."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(NAME))
    image = vtk.vtkImageData()
    set_voxels(image, practice_voxels())
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk(_matrix()))
    node.CreateDefaultDisplayNodes()
    return node


def _along(axis: int) -> NDArray[np.float64]:
    count = SHAPE[2 - axis]
    return np.asarray((np.arange(count) - (count - 1) / 2) * SPACING_MM[axis], np.float64)


def _matrix() -> Matrix:
    matrix = np.diag([*SPACING_MM, 1.0])
    matrix[:3, 3] = [_along(axis)[0] for axis in range(3)]
    return matrix
