"""Volumes and segmentations in and out of a scene, exactly."""

import os

import numpy as np
import pytest
import slicer
import vtk
from NeuroSAM2Lib.scene.files.file_kinds import FileKind, is_readable, kind_of, stem_of
from NeuroSAM2Lib.scene.files.packing import write_complete
from NeuroSAM2Lib.scene.segments.layers import Layer, reference_grid
from NeuroSAM2Lib.scene.volume_nodes import add_volume, read_volume

from NeuroSAM2Core import Volume, disk
from NeuroSAM2Core.errors import DataError
from Testing.Core.test_header_geometry import CORNERS, in_nibabel, in_simple_itk, turned, write_image
from Testing.Support.node_files import (
    labels_on,
    read_nrrd,
    read_segmentation,
    write_segmentation,
)
from Testing.Support.scenes import GEOMETRIES, add_segmentation
from Testing.Support.scenes import add_volume as add_node

RNG = np.random.default_rng(3)
OBLIQUE = GEOMETRIES["anisotropic oblique"].matrix


@pytest.mark.parametrize(
    ("name", "kind", "stem"),
    [
        ("a.nii", FileKind.IMAGE, "a"),
        ("a.b.NII.GZ", FileKind.IMAGE, "a.b"),
        ("a.nrrd", FileKind.NRRD, "a"),
        ("a.seg.nrrd", FileKind.SEGMENTATION, "a"),
        ("a.mrb", FileKind.SCENE, "a"),
    ],
)
def test_a_name_says_what_is_in_a_file(name, kind, stem):
    assert (kind_of(name), stem_of(name), is_readable(name)) == (kind, stem, True)


@pytest.mark.parametrize("name", ["a.txt", "a", "nii", "a.mrml", "a.nii.gz.part"])
def test_other_names_are_refused_with_what_is_expected(name):
    assert not is_readable(name)
    with pytest.raises(DataError, match=r"expected a name that ends in \.nii"):
        kind_of(name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_volume_enters_the_scene_voxel_for_voxel(app, dtype):
    volume = Volume((100 * RNG.random((4, 5, 6))).astype(dtype), OBLIQUE, name="T1")
    first, second = (add_volume(app.scene, volume, "T1") for _ in range(2))
    there = read_volume(first)
    np.testing.assert_array_equal(there.voxels, volume.voxels)
    assert there.voxels.dtype == dtype
    np.testing.assert_allclose(there.ijk_to_ras, OBLIQUE)
    assert first.GetName() == "T1"
    assert second.GetName() != "T1"


def test_the_same_image_as_nifti_and_as_nrrd_is_the_same_in_the_scene(app, tmp_path):
    volume = Volume(RNG.integers(0, 900, (4, 5, 6)).astype(np.int16), OBLIQUE, name="T1")
    node = add_volume(app.scene, volume, "T1")
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(disk.as_utf8(tmp_path / "T1.nrrd"))
    assert storage.WriteData(node)
    there = read_volume(read_nrrd(app.scene, tmp_path / "T1.nrrd", "T1"))
    np.testing.assert_array_equal(there.voxels, volume.voxels)
    np.testing.assert_allclose(there.ijk_to_ras, OBLIQUE, atol=1e-6)


@pytest.mark.parametrize("read", [read_nrrd, read_segmentation])
def test_a_damaged_file_is_reported_and_leaves_the_scene_as_it_was(app, tmp_path, read):
    (tmp_path / "a.seg.nrrd").write_bytes(b"NRRD0004\nnothing of the kind")
    count = app.scene.GetNumberOfNodes()
    for name in ("a.seg.nrrd", "missing.seg.nrrd"):
        with pytest.raises(DataError, match="cannot be read"):
            read(app.scene, tmp_path / name, "a")
    assert app.scene.GetNumberOfNodes() == count


@pytest.fixture(params=["anisotropic oblique", "under a turn"])
def painted(app, request):
    """An image, and a segmentation with two objects that overlap in one voxel."""
    volume_node = add_node(app, RNG.integers(0, 900, (5, 8, 9)).astype(np.int16), GEOMETRIES[request.param])
    node, ids = add_segmentation(app, "one", "two")
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    masks = np.zeros((2, 5, 8, 9), bool)
    masks[0, 1:4, 2:5, 3:6] = True
    masks[1, 3:5, 4:7, 5:9] = True
    for name, mask in zip(ids, masks, strict=True):
        node.GetSegmentation().SeparateSegmentLabelmap(name)
        layer, grid = Layer(node, name), reference_grid(node)
        layer.reserve(grid.extent, grid)
        layer.voxels[mask] = layer.label
        layer.announce()
    return volume_node, node, masks


def test_labels_are_on_the_images_own_grid_and_numbered_in_order(app, painted):
    volume_node, node, masks = painted
    count = app.scene.GetNumberOfNodes()
    labels = labels_on(node, volume_node)
    np.testing.assert_array_equal(labels.voxels, np.where(masks[1], 2, masks[0]))
    np.testing.assert_allclose(labels.ijk_to_ras, read_volume(volume_node).ijk_to_ras, atol=1e-9)
    assert app.scene.GetNumberOfNodes() == count


def test_a_segmentation_comes_back_from_its_file_with_names_and_overlap(app, painted, tmp_path):
    _, node, masks = painted
    path = tmp_path / "both.seg.nrrd"
    write_segmentation(node, path)
    again = read_segmentation(app.scene, path, "again")
    names = again.GetSegmentation().GetSegmentIDs()
    assert [again.GetSegmentation().GetSegment(name).GetName() for name in names] == ["one", "two"]
    for name, mask in zip(names, masks, strict=True):
        layer = Layer(again, name)
        assert (layer.voxels == layer.label).sum() == mask.sum()
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["both.seg.nrrd"]


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.mrb"
    path.write_text("old", encoding="utf-8")

    def half(target):
        target.write_text("half", encoding="utf-8")
        return False

    with pytest.raises(DataError, match="space left"):
        write_complete(path, half, overwrite=True)
    with pytest.raises(DataError, match="is there already"):
        write_complete(path, lambda target: bool(target.write_bytes(b"new")))
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="choose a folder"):
        write_complete(tmp_path / "nowhere" / "a.mrb", half)


def test_labels_carry_the_place_that_the_images_header_says(app, tmp_path):
    image = write_image(
        tmp_path / "i.nii", turned(-0.3, offset=(1, 2, 3)), turned(0.2), s_code=4, unit="micron", unit_mm=0.001
    )
    volume = Volume.read(image)
    node = add_volume(app.scene, volume, "T1")
    segmentation, _ = add_segmentation(app, "a")
    labels_on(segmentation, node).write(tmp_path / "m.nii.gz")
    for reader in (in_nibabel, in_simple_itk):
        np.testing.assert_allclose(reader(tmp_path / "m.nii.gz"), reader(image), atol=1e-3)

    moved = vtk.vtkMatrix4x4()
    moved.DeepCopy(turned(0.5).ravel().tolist())
    node.SetIJKToRASMatrix(moved)
    labels_on(segmentation, node).write(tmp_path / "n.nii.gz")
    np.testing.assert_allclose(in_nibabel(tmp_path / "n.nii.gz"), turned(0.5) @ CORNERS, atol=1e-3)


def test_an_image_without_a_known_place_is_read_all_the_same(app):
    node = add_volume(app.scene, Volume(np.zeros((2, 3, 4), np.uint8), OBLIQUE), "T1")
    node.SetAttribute("NeuroSAM2.place", "nonsense")
    assert read_volume(node).place is None


@pytest.mark.parametrize("name", ["a.dcm", "IM0001.IMA", "DICOMDIR"])
def test_dicom_is_named_with_what_to_do(name):
    with pytest.raises(DataError, match="is DICOM") as caught:
        kind_of(name)
    assert "folder" in caught.value.hint


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_replaced_file_keeps_its_mode_also_behind_a_link(tmp_path):
    (tmp_path / "a.mrb").write_bytes(b"old")
    (tmp_path / "a.mrb").chmod(0o604)
    (tmp_path / "link.mrb").symlink_to("a.mrb")
    write_complete(tmp_path / "link.mrb", lambda path: bool(path.write_bytes(b"new")), overwrite=True)
    assert (tmp_path / "link.mrb").is_symlink()
    assert (tmp_path / "a.mrb").read_bytes() == b"new"
    assert (tmp_path / "a.mrb").stat().st_mode & 0o777 == 0o604
