"""Real MRML scenes for tests: volumes of any geometry, with their segmentation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk

from NeuroSAM2Core import Volume


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a volume's grid is: its own matrix, and the transform above it."""

    matrix: np.ndarray
    parent: np.ndarray | None = None


def turned(order=(0, 1, 2), signs=(1, 1, 1), spacing=(1.0, 1.0, 1.0), angles=(0.0, 0.0, 0.0), origin=(0.0, 0.0, 0.0)):
    """Voxel axes permuted, mirrored, scaled, and turned by angles in radians."""
    turn = np.eye(3)
    for (a, b), angle in zip(((0, 1), (1, 2), (0, 2)), angles, strict=True):
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ (np.eye(3)[:, list(order)] * signs * spacing)
    matrix[:3, 3] = origin
    return matrix


SHEAR = np.array([[1.1, 0.2, 0, 5], [0, 0.9, 0, -7], [0, 0.1, 1.2, 3], [0, 0, 0, 1]])

GEOMETRIES = {
    "upright": Geometry(turned(signs=(-1, -1, 1))),
    "identity": Geometry(turned()),
    "oblique": Geometry(turned(signs=(-1, -1, 1), angles=(0.3, 0.2, -0.25), origin=(12, -30, 44))),
    "left-handed": Geometry(turned(signs=(-1, 1, 1))),
    "left-handed oblique": Geometry(turned(signs=(1, 1, -1), angles=(0.2, -0.3, 0.1))),
    "sagittal storage": Geometry(turned(order=(1, 2, 0), signs=(1, -1, 1))),
    "coronal storage": Geometry(turned(order=(0, 2, 1), signs=(-1, -1, 1))),
    "permuted twice": Geometry(turned(order=(2, 0, 1), signs=(-1, 1, -1))),
    "anisotropic": Geometry(turned(signs=(-1, -1, 1), spacing=(0.5, 0.5, 5.0))),
    "anisotropic oblique": Geometry(turned(spacing=(0.5, 0.5, 5.0), angles=(0.1, 0.35, 0.2))),
    "under a turn": Geometry(turned(signs=(-1, -1, 1)), turned(angles=(0.4, 0.1, 0.2), origin=(3, 4, 5))),
    "under a quarter turn": Geometry(turned(), turned(order=(1, 0, 2), signs=(1, -1, 1))),
    "under a shear": Geometry(turned(signs=(-1, -1, 1), spacing=(1, 1, 2)), SHEAR),
}


def add_volume(
    app: HeadlessApplication, voxels: np.ndarray, geometry: Geometry | None = None, *, name: str = "T1"
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node."""
    geometry = geometry or GEOMETRIES["upright"]
    node = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    image = vtk.vtkImageData()
    set_voxels(image, voxels)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk(geometry.matrix))
    node.CreateDefaultDisplayNodes()
    if geometry.parent is not None:
        transform = app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        transform.SetMatrixTransformToParent(to_vtk(geometry.parent))
        node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def add_segmentation(app: HeadlessApplication, *names: str) -> tuple[slicer.vtkMRMLSegmentationNode, list[str]]:
    """A segmentation node with empty segments, and their ids."""
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    return node, [node.GetSegmentation().AddEmptySegment("", name) for name in names]


def world(volume: Volume, i: float, j: float, k: float) -> np.ndarray:
    """The world position of voxel indices."""
    return volume.to_ras(np.array([i, j, k], float))


def make_app(folder: Path, *, agrees: bool = False) -> HeadlessApplication:
    """A scene of its own."""
    return HeadlessApplication(folder, agrees=agrees)
