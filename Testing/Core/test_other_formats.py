"""MGH files of FreeSurfer and MetaImage files, at the place where nibabel and SimpleITK have them."""

import gc
import gzip
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError, GeometryError
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.files import read_image
from Testing.Support.scenes import turned

VOXELS = np.random.default_rng(0).integers(0, 250, (5, 6, 7))
OBLIQUE = turned(
    order=(2, 0, 1), signs=(-1, 1, -1), spacing=(0.9, 1.1, 2.5), angles=(0.3, 0.2, -0.25), origin=(12, -30, 44)
)


@pytest.mark.parametrize("ending", [".mgz", ".mgh"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_an_mgh_file_is_read_where_nibabel_has_it(ending, dtype, tmp_path):
    path = tmp_path / f"brain{ending}"
    nibabel.save(nibabel.MGHImage(VOXELS.astype(dtype).transpose(2, 1, 0), OBLIQUE), path)
    volume = Volume.read(path)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.ijk_to_ras, OBLIQUE, atol=1e-4)
    assert (volume.voxels.dtype, volume.name) == (dtype, "brain")


def test_damaged_mgh_files_are_notified(tmp_path):
    path = tmp_path / "a.mgz"
    nibabel.save(nibabel.MGHImage(VOXELS.astype(np.float32), np.eye(4)), path)
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:400]))
    with pytest.raises(DataError, match="cut short"):
        Volume.read(path)
    nibabel.save(nibabel.MGHImage(np.zeros((3, 4, 5, 2), np.float32), np.eye(4)), path)
    with pytest.raises(GeometryError, match="2 volumes"):
        Volume.read(path)


def write_metaimage(path):
    image = SimpleITK.GetImageFromArray(VOXELS.astype(np.int16))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ OBLIQUE
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, disk.as_utf8(path), path.stem == "packed")
    return path


@pytest.mark.parametrize("name", ["a.mha", "packed.mha", "a.mhd", "packed.mhd"])
def test_a_metaimage_is_read_where_simple_itk_has_it(name, tmp_path):
    volume = Volume.read(write_metaimage(tmp_path / name))
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.ijk_to_ras, OBLIQUE, atol=1e-5)
    assert read_image(tmp_path / name).dicom_files == ()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux says how much a process has held at most, from a moment on"
)
@pytest.mark.parametrize("kind", ["metaimage", "mgh"])
def test_reading_takes_little_more_memory_than_the_volume(kind, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 250, (120, 512, 512)).astype(np.int16)
    if kind == "mgh":
        path = tmp_path / "a.mgh"
        nibabel.save(nibabel.MGHImage(voxels.transpose(2, 1, 0), np.eye(4)), path)
    else:
        path = tmp_path / "a.mhd"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), disk.as_utf8(path))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = most_held()
    volume = Volume.read(path)
    assert most_held() - before < 1.3 * voxels.nbytes + 4e6
    np.testing.assert_array_equal(volume.voxels, voxels)
    gc.collect()
    np.testing.assert_array_equal(volume.voxels[::40], voxels[::40])


def most_held():
    """The most that this process has held since that was asked to be counted anew, bytes."""
    return 1024 * int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])


@pytest.mark.parametrize("place", ["/etc/passwd", "../a.raw", "LIST", "a%03d.raw 1 2 1", "b\\a.raw"])
def test_voxels_elsewhere_than_beside_the_header_are_not_read(place, tmp_path):
    path = write_metaimage(tmp_path / "a.mhd")
    path.write_text(path.read_text(encoding="utf-8").replace("a.raw", place), encoding="utf-8")
    with pytest.raises(DataError, match="expected a file beside it"):
        Volume.read(path)


def test_a_metaimage_without_its_voxels_or_cut_short_is_notified(tmp_path):
    path = write_metaimage(tmp_path / "a.mhd")
    (tmp_path / "a.raw").unlink()
    with pytest.raises(DataError, match="not beside it"):
        Volume.read(path)
    whole = write_metaimage(tmp_path / "a.mha")
    whole.write_bytes(whole.read_bytes()[:-50])
    with pytest.raises(DataError, match="cannot be read"):
        Volume.read(whole)
    with pytest.raises(GeometryError, match="2 dimensions"):
        Volume.read(write_metaimage_2d(tmp_path / "flat.mha"))


def write_metaimage_2d(path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS[0].astype(np.int16)), disk.as_utf8(path))
    return path


def test_without_the_package_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    path = write_metaimage(tmp_path / "a.mha")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ConfigError, match="is MetaImage, which needs SimpleITK") as caught:
        Volume.read(path)
    assert "pip install SimpleITK" in caught.value.hint


def test_the_intent_of_a_nifti_file_is_known(tmp_path):
    image = nibabel.Nifti1Image(VOXELS.astype(np.uint8), np.eye(4))
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert read_image(tmp_path / "a.nii.gz").intent == 1002
