"""Volume nodes as volumes."""

import numpy as np
import pytest
import slicer
import vtk
from NeuroSAM2Lib.scene.arrays import set_voxels, to_matrix, to_vtk, voxels_of
from NeuroSAM2Lib.scene.volume_nodes import read_volume, stamp_of

from NeuroSAM2Core.errors import DataError, GeometryError
from Testing.Support.scenes import GEOMETRIES, add_volume

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_voxel_is_where_slicer_has_it(app, name):
    node = add_volume(app, VOXELS, GEOMETRIES[name])
    volume = read_volume(node)
    for ijk in ((0, 0, 0), (4, 0, 0), (0, 3, 2), (4, 3, 2)):
        local = to_matrix_of(node) @ [*ijk, 1]
        there = [0.0, 0.0, 0.0]
        transform = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
        transform.TransformPoint(local[:3], there)
        np.testing.assert_allclose(volume.to_ras(np.array(ijk)), there, atol=1e-9)


def to_matrix_of(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return to_matrix(matrix)


def test_voxels_are_shared_and_outlive_the_node(app):
    node = add_volume(app, VOXELS)
    volume = read_volume(node)
    assert np.shares_memory(volume.voxels, voxels_of(node.GetImageData()))
    app.scene.RemoveNode(node)
    del node
    np.testing.assert_array_equal(volume.voxels, VOXELS)


def test_a_warped_volume_is_refused_with_the_reason(app):
    node = add_volume(app, VOXELS)
    warp = app.scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    thin_plate = vtk.vtkThinPlateSplineTransform()
    warp.SetAndObserveTransformToParent(thin_plate)
    node.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(GeometryError, match="non-linear transform warp"):
        read_volume(node)


def test_a_volume_without_voxels_or_with_colours_is_refused(app):
    empty = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(DataError, match="no voxels"):
        read_volume(empty)
    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    empty.SetAndObserveImageData(image)
    with pytest.raises(DataError, match="3 values per voxel"):
        read_volume(empty)


def test_a_changed_volume_is_noticed(app):
    node = add_volume(app, VOXELS, GEOMETRIES["under a turn"])
    stamps = [stamp_of(node)]
    voxels_of(node.GetImageData())[0, 0, 0] = 99
    node.GetImageData().GetPointData().GetScalars().Modified()
    stamps.append(stamp_of(node))
    node.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(np.eye(4)))
    stamps.append(stamp_of(node))
    node.SetOrigin(1, 2, 3)
    stamps.append(stamp_of(node))
    other = vtk.vtkImageData()
    set_voxels(other, VOXELS)
    node.SetAndObserveImageData(other)
    stamps.append(stamp_of(node))
    assert len(set(stamps)) == 5
    assert stamp_of(node) == stamps[-1]
