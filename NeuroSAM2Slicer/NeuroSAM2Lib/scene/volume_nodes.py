"""Volume nodes as volumes: voxels shared with the scene, geometry with every linear parent transform applied.

What cannot be worked with (no voxels, several components, a warp above the volume) is refused with the reason. A `VolumeStamp`
says at next to no cost whether a node still holds what was read from it.

The identity of an image regardless of its name and file: a hash of its voxels, and its geometry up to rounding.
"""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from NeuroSAM2Core.errors import DataError, GeometryError
from NeuroSAM2Core.remote import VolumeHash, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.header import HeaderGeometry
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix, set_voxels, to_matrix, to_vtk, voxels_of

PLACE = "NeuroSAM2.place"
"""Attribute of a volume node from a NIfTI file: its `HeaderGeometry`. If the node was moved since, files get its place now."""


@dataclass(frozen=True, slots=True)
class VolumeStamp:
    """Changes whenever the voxels or the place of a volume node may have changed."""

    image_time: int
    matrix: bytes


def read_volume(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The volume of a node where it is in the world; the voxels are a view, not a copy.

    Raises:
        DataError: The node holds no single-component image.
        GeometryError: A non-linear transform is above it, or its matrix is flat.
    """
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or image.GetNumberOfPoints() == 0:
        raise DataError(
            _("{volume} has no voxels").format(volume=node.GetName()), hint=_("choose a volume that is loaded")
        )
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise DataError(
            _("{volume} has {components} values per voxel; expected one").format(
                volume=node.GetName(), components=components
            ),
            hint=_("extract one component first, for example with Vector to Scalar Volume"),
        )
    return Volume(voxels_of(image), world_matrix(node), name=node.GetName(), place=_header_geometry_of(node))


def add_volume(scene: slicer.vtkMRMLScene, volume: Volume, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Puts a volume into the scene, under a name of its own."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    image = vtk.vtkImageData()
    set_voxels(image, volume.voxels)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk(volume.ijk_to_ras))
    store_header_geometry(node, volume.place)
    node.CreateDefaultDisplayNodes()
    return node


def store_header_geometry(node: slicer.vtkMRMLVolumeNode, place: HeaderGeometry | None) -> None:
    """Keeps with a node what the header of its NIfTI file contains about its geometry, for the masks that are written for it."""
    node.SetAttribute(PLACE, None if place is None else place.as_text())


def _header_geometry_of(node: slicer.vtkMRMLVolumeNode) -> HeaderGeometry | None:
    with suppress(ValueError):
        return HeaderGeometry.from_text(node.GetAttribute(PLACE) or "")
    return None


def local_matrix(node: slicer.vtkMRMLVolumeNode) -> Matrix:
    """Voxel indices to RAS in mm below the parent transforms."""
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    return to_matrix(ijk_to_ras)


def world_matrix(node: slicer.vtkMRMLVolumeNode) -> Matrix:
    """Voxel indices to world RAS in mm, parent transforms included.

    Raises:
        GeometryError: One of them is not linear.
    """
    return in_world(node, local_matrix(node))


def transform_to_world(node: slicer.vtkMRMLTransformableNode) -> Matrix:
    """The parent transforms of a node as one matrix; see `in_world`."""
    return in_world(node, np.eye(4))


def in_world(node: slicer.vtkMRMLTransformableNode, matrix: Matrix) -> Matrix:
    """A matrix below the parent transforms of a node, with them.

    Raises:
        GeometryError: One of them is not linear.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return matrix
    if not transform.IsTransformToWorldLinear():
        raise GeometryError(
            _("{volume} is under the non-linear transform {transform}; expected linear ones only").format(
                volume=node.GetName(), transform=transform.GetName()
            ),
            hint=_("harden the transform on the volume, or take the volume out of it while segmenting"),
        )
    to_world = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(to_world)
    return np.asarray(to_matrix(to_world) @ matrix)


def stamp_of(node: slicer.vtkMRMLScalarVolumeNode) -> VolumeStamp:
    """The node's stamp now.

    Raises:
        GeometryError: As `world_matrix`.
    """
    image = node.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    times = [0 if part is None else part.GetMTime() for part in (image, scalars)]
    return VolumeStamp(max(times), world_matrix(node).tobytes())


SAME_POSITION_MM = 0.01
"""Corners that lie no further apart are the same; NIfTI's single precision moves them by less than a thousandth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Of one image."""

    voxels: str
    """SHA-256 over type, shape and voxels."""
    ijk_to_ras: tuple[float, ...]
    """Row by row."""

    @classmethod
    def of(cls, volume: Volume) -> "Fingerprint":
        """That of a volume where it is now."""
        hashing = hash_of(volume)
        while not hashing.step():
            pass
        return cls(voxels=hashing.volume_id, ijk_to_ras=wire_matrix(volume))


def hash_of(volume: Volume) -> VolumeHash:
    """The hash over a volume's type, shape and voxels alone, to be computed a little at a time."""
    return VolumeHash(wire_voxels(volume), ())


def is_same_position(volume: Volume, ijk_to_ras: Sequence[float]) -> bool:
    """The corners of the volume lie where another matrix puts them.

    Args:
        volume: A volume.
        ijk_to_ras: Row by row, (16,).
    """
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*((0, n - 1) for n in volume.shape[::-1]))])
    other = np.reshape(ijk_to_ras, (4, 4))
    return bool(np.allclose(corners @ volume.ijk_to_ras.T, corners @ other.T, rtol=0.0, atol=SAME_POSITION_MM))
