"""A mask lies on its image for every reader: nibabel, SimpleITK and Slicer's own."""

import itertools

import nibabel
import numpy as np
import pytest
import SimpleITK

from NeuroSAM2Core import Volume, disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.data.dataset import check_same_grid
from NeuroSAM2Core.volume.header import HeaderGeometry

SHAPE = (4, 5, 6)
CORNERS = np.array([[*ijk, 1] for ijk in itertools.product(*((0, n - 1) for n in SHAPE))]).T
UNITS = {"mm": 1.0, "micron": 0.001, "meter": 1000.0, "unknown": 1.0}


def turned(angle, *, hand=1, offset=(3, -4, 5), shear=0.0):
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) * [hand, 1.1, 2.5]
    matrix[0, 1] += shear
    matrix[:3, 3] = offset
    return matrix


def write_image(path, qform, sform, *, q_code=1, s_code=1, unit="mm", endian="<", extension=False, unit_mm=1.0):
    header = nibabel.Nifti1Header(endianness=endian)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(endian))
    scale = np.diag([1 / unit_mm] * 3 + [1])
    header.set_xyzt_units(unit)
    header.set_sform(scale @ sform, code=s_code)
    header.set_qform(scale @ qform, code=q_code)
    image = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(SHAPE), None, header)
    image.header["qform_code"], image.header["sform_code"] = q_code, s_code
    if extension:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 300))
    nibabel.save(image, path)
    return path


def in_nibabel(path):
    return nibabel.load(path).affine @ CORNERS


def in_simple_itk(path):
    image = SimpleITK.ReadImage(disk.as_utf8(path))
    places = [image.TransformIndexToPhysicalPoint([int(n) for n in ijk[:3]]) for ijk in CORNERS.T]
    return np.array(places).T * [[-1], [-1], [1]]


def in_slicer(path):
    slicer, vtk = pytest.importorskip("slicer"), pytest.importorskip("vtk")
    node, storage = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(disk.as_utf8(path))
    assert storage.ReadData(node)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, col) for col in range(4)] for row in range(4)]) @ CORNERS


def check(image_path, mask_path, *, readers=(in_nibabel, in_simple_itk)):
    volume = Volume.read(image_path)
    volume.with_voxels(np.ones(volume.shape, bool)).write(mask_path, overwrite=True)
    for reader in readers:
        np.testing.assert_allclose(reader(mask_path), reader(image_path), atol=1e-3, err_msg=reader.__name__)
    placed = (volume.ijk_to_ras @ CORNERS)[:3]
    np.testing.assert_allclose(placed, in_simple_itk(image_path), atol=1e-3)
    return volume


@pytest.mark.parametrize("same", [True, False])
def test_the_mask_is_on_its_image_whatever_the_codes(tmp_path, same):
    for q_code, s_code, hand in itertools.product(range(5), range(5), (1, -1)):
        sform = turned(0.2, hand=hand)
        qform = sform if same else turned(-0.3, hand=hand, offset=(-20, 4, 9))
        image = write_image(tmp_path / "i.nii", qform, sform, q_code=q_code, s_code=s_code)
        check(image, tmp_path / "m.nii.gz")
        header = nibabel.load(tmp_path / "m.nii.gz").header
        assert HeaderGeometry.of(header) == HeaderGeometry.of(nibabel.load(image).header)


@pytest.mark.parametrize(("q_code", "s_code"), [(1, 4), (0, 0), (1, 1), (0, 2), (2, 0)])
def test_slicer_reads_mask_and_image_in_one_place(tmp_path, q_code, s_code):
    image = write_image(tmp_path / "i.nii", turned(0.1), turned(-0.3, offset=(1, 2, 3)), q_code=q_code, s_code=s_code)
    check(image, tmp_path / "m.nii.gz", readers=(in_slicer,))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("codes", [(1, 1), (0, 0), (1, 2), (0, 1)])
def test_units_of_length_are_understood_and_kept(tmp_path, unit, codes):
    form = turned(0.2)
    image = write_image(
        tmp_path / "i.nii", form, form, q_code=codes[0], s_code=codes[1], unit=unit, unit_mm=UNITS[unit]
    )
    volume = check(image, tmp_path / "m.nii")
    np.testing.assert_allclose(volume.spacing_mm, (1, 1.1, 2.5), atol=1e-5)
    assert volume.voxel_volume_ml == pytest.approx(0.00275)
    assert nibabel.load(tmp_path / "m.nii").header.get_xyzt_units()[0] == unit


@pytest.mark.parametrize("name", ["i.nii", "i.nii.gz"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("extension", [True, False])
def test_byte_order_and_extensions_do_not_matter(tmp_path, name, endian, extension):
    image = write_image(tmp_path / name, turned(0.2), turned(0.2), endian=endian, extension=extension)
    volume = check(image, tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(volume.voxels.T.ravel(), np.arange(120))


def test_a_sheared_sform_gives_way_to_the_qform_if_there_is_one(tmp_path):
    sheared = turned(0.2, shear=0.4)
    check(write_image(tmp_path / "i.nii", turned(-0.3), sheared), tmp_path / "m.nii")
    alone = Volume.read(write_image(tmp_path / "j.nii", turned(0), sheared, q_code=0))
    np.testing.assert_allclose(alone.ijk_to_ras, sheared, atol=1e-6)


@pytest.mark.parametrize("unit", ["mm", "meter"])
def test_the_spacing_is_that_of_pixdim_where_the_sform_says_another(tmp_path, unit):
    image = write_image(
        tmp_path / "i.nii", turned(0.2) * [1.2, 1.2, 1.2, 1], turned(0.2), unit=unit, unit_mm=UNITS[unit]
    )
    volume = check(image, tmp_path / "m.nii")
    np.testing.assert_allclose(volume.spacing_mm, 1.2 * np.array([1, 1.1, 2.5]), rtol=1e-5)


def test_a_volume_that_was_moved_is_written_where_it_is(tmp_path):
    volume = Volume.read(write_image(tmp_path / "i.nii", turned(0.2), turned(0.2)))
    moved = Volume(volume.voxels, turned(0.2, offset=(50, 60, 70)), place=volume.place)
    moved.write(tmp_path / "m.nii")
    np.testing.assert_allclose(nibabel.load(tmp_path / "m.nii").affine, moved.ijk_to_ras, atol=1e-5)
    np.testing.assert_allclose(in_simple_itk(tmp_path / "m.nii"), (moved.ijk_to_ras @ CORNERS)[:3], atol=1e-3)


def test_a_place_is_kept_as_text(tmp_path):
    place = Volume.read(write_image(tmp_path / "i.nii", turned(0.2), turned(0.1), s_code=4)).place
    text = place.as_text()
    assert HeaderGeometry.from_text(text) == place
    unknown = text.replace('"qform_code": 1', '"qform_code": 99999')
    for other in (
        "",
        "[]",
        "{}",
        "1",
        '{"qform_code": 1}',
        unknown,
        text.replace("0.", '"x', 1),
        text.replace("[", "[1, "),
    ):
        with pytest.raises(ValueError, match=r"."):
            HeaderGeometry.from_text(other)


def test_a_label_at_either_place_of_its_image_belongs_to_it(tmp_path):
    image = Volume.read(write_image(tmp_path / "i.nii", turned(-0.3), turned(0.2), s_code=4))
    for matrix in (turned(-0.3), turned(0.2)):
        check_same_grid(image, Volume(image.voxels, matrix))
    with pytest.raises(DataError, match="not on the grid"):
        check_same_grid(image, Volume(image.voxels, turned(0.1)))
