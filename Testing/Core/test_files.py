"""NIfTI files, sound and broken."""

import gzip
import os
import tracemalloc

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from NeuroSAM2Core import Volume
from NeuroSAM2Core.errors import DataError, GeometryError, NeuroSAM2Error

MATRIX = np.array([[-0.9, 0.1, 0, 80], [0.1, 0.9, 0, -120], [0, 0, 3.0, -60], [0, 0, 0, 1]])


def save(path, array, affine=MATRIX):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.uint16])
def test_what_is_written_is_read_back(tmp_path, suffix, dtype):
    volume = Volume((np.arange(120).reshape(4, 5, 6)).astype(dtype), MATRIX)
    volume.write(tmp_path / f"a{suffix}")
    back = Volume.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.voxels.dtype == dtype
    np.testing.assert_allclose(back.ijk_to_ras, MATRIX, atol=1e-6)


def test_a_mask_keeps_the_exact_matrix_of_its_image(tmp_path):
    image = Volume.read(save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.int16)))
    image.with_voxels(np.ones((5, 4, 3), np.uint8)).write(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(
        nibabel.load(tmp_path / "m.nii.gz").affine, nibabel.load(tmp_path / "a.nii.gz").affine
    )


def test_scaled_integers_are_read_as_the_numbers_they_mean(tmp_path):
    image = nibabel.Nifti1Image(np.linspace(0, 1, 60).reshape(3, 4, 5), MATRIX)
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    volume = Volume.read(tmp_path / "a.nii")
    assert volume.voxels.dtype == np.float32
    np.testing.assert_allclose(volume.voxels.T, image.get_fdata(), atol=1e-4)


def test_big_endian_files_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(np.arange(24, dtype=">i2").reshape(2, 3, 4), MATRIX, header), tmp_path / "a.nii")
    assert Volume.read(tmp_path / "a.nii").voxels.dtype == np.dtype("=i2")


def test_a_single_slice_and_a_singleton_time_axis_are_volumes(tmp_path):
    assert Volume.read(save(tmp_path / "a.nii", np.zeros((6, 7, 1), np.int16))).shape == (1, 7, 6)
    assert Volume.read(save(tmp_path / "b.nii", np.zeros((6, 7, 2, 1), np.int16))).shape == (2, 7, 6)


def test_a_time_series_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(GeometryError, match="holds 9 volumes") as caught:
        Volume.read(save(tmp_path / "a.nii", np.zeros((4, 4, 4, 9), np.int16)))
    assert "extract one" in caught.value.hint


def test_missing_foreign_and_truncated_files_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        Volume.read(tmp_path / "none.nii")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="is not a NIfTI file"):
        Volume.read(tmp_path / "a.png")
    (tmp_path / "b.nii").write_bytes(b"not an image at all")
    with pytest.raises(DataError, match=r"b\.nii cannot be read"):
        Volume.read(tmp_path / "b.nii")
    whole = save(tmp_path / "c.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20), np.int16)).read_bytes()
    (tmp_path / "d.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"d\.nii\.gz cannot be"):
        Volume.read(tmp_path / "d.nii.gz")


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused_or_read_but_never_crash(tmp_path, data):
    content = bytearray(save(tmp_path / "sound.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    name = data.draw(st.sampled_from(["bad.nii", "bad.nii.gz"]))
    (tmp_path / name).write_bytes(gzip.compress(bytes(content)) if name.endswith("gz") else bytes(content))
    try:
        volume = Volume.read(tmp_path / name)
    except NeuroSAM2Error as error:
        assert str(error)
    else:
        assert volume.voxels.size


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    volume = Volume(np.zeros((2, 3, 4), np.uint8), MATRIX)
    with pytest.raises(DataError, match="cannot write"):
        volume.write(tmp_path / "no such folder" / "a.nii.gz")
    with pytest.raises(DataError, match="ends in"):
        volume.write(tmp_path / "a.mask")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file_whole(tmp_path, monkeypatch):
    volume = Volume(np.zeros((2, 3, 4), np.uint8), MATRIX)
    volume.write(tmp_path / "a.nii.gz")
    before = (tmp_path / "a.nii.gz").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        volume.with_voxels(np.ones((2, 3, 4), np.uint8)).write(tmp_path / "a.nii.gz", overwrite=True)
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nii.gz"]


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path, monkeypatch):
    volume, path = Volume(np.zeros((2, 3, 4), np.uint8), MATRIX), tmp_path / "a.nii"
    volume.write(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"is there already .*overwrite=True"):
        volume.write(path)
    monkeypatch.setattr("NeuroSAM2Core.volume.files.check_outputs", lambda *_, **__: None)  # it came meanwhile
    with pytest.raises(DataError, match="is there already"):
        volume.with_voxels(np.ones((2, 3, 4), np.uint8)).write(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nii"]


def test_what_a_file_is_is_notified_by_its_content(tmp_path):
    plain = save(tmp_path / "a.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4)).read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(plain)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
    for name in ("plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(Volume.read(tmp_path / name).voxels.T.ravel(), np.arange(24))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")]), r"colours \(RGB\)"),
        (np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), r"colours \(RGBA\)"),
        (np.zeros((3, 4, 5), np.complex64), "complex numbers"),
        (np.zeros((3, 4), np.int16), "a flat picture of 3 x 4"),
        (np.zeros((3, 4, 5, 1, 3), np.float32), "3 values per voxel"),
    ],
)
def test_what_is_no_volume_of_numbers_is_named_with_what_to_do(tmp_path, content, sentence):
    with pytest.raises(NeuroSAM2Error, match=sentence) as caught:
        Volume.read(save(tmp_path / "a.nii.gz", content))
    assert caught.value.hint
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"NRRD0004\ntype: short\n", "an NRRD file"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"<!DOCTYPE html>", "a web page"),
        (gzip.compress(gzip.compress(b"x" * 999)), "packed twice"),
        (nibabel.Nifti1Pair(np.zeros((2, 3, 4), np.int16), MATRIX).header.binaryblock, "half of a pair"),
        (nibabel.AnalyzeImage(np.zeros((2, 3, 4), np.int16), None).header.binaryblock, "half of a pair"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, content, sentence):
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        Volume.read(tmp_path / "a.nii.gz")


def bomb(path, shape=(2000, 2000, 1000)):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_data_offset(352)
    header["magic"] = b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(10000)))
    return path


def test_a_volume_larger_than_the_memory_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr("NeuroSAM2Core.memory.free_memory", lambda: 10**9)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"needs 8\.0 GB of memory, and 1\.0 GB are free"):
            Volume.read(bomb(tmp_path / "a.nii.gz"))
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_reading_takes_little_more_memory_than_the_volume(tmp_path, slope):
    image = nibabel.Nifti1Image(np.zeros((128, 128, 128), np.int16), MATRIX)
    image.header.set_slope_inter(slope, 0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    Volume.read(tmp_path / "a.nii.gz")
    tracemalloc.start()
    try:
        volume = Volume.read(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 1.3 * volume.voxels.nbytes + 4e6
    finally:
        tracemalloc.stop()


def test_voxels_are_the_volumes_own_when_the_file_changes(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((20, 20, 20), np.int16))
    volume = Volume.read(path)
    path.write_bytes(b"")
    assert volume.voxels.sum() == 8000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_mask_takes_the_umask_and_a_replaced_file_keeps_its_mode(tmp_path):
    volume, path = Volume(np.zeros((2, 3, 4), np.uint8), MATRIX), tmp_path / "a.nii.gz"
    before = os.umask(0o027)
    try:
        volume.write(path)
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        volume.write(path, overwrite=True)
        assert path.stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_through_a_link_the_file_itself_is_replaced(tmp_path):
    volume = Volume(np.zeros((2, 3, 4), np.uint8), MATRIX)
    (tmp_path / "a.nii").write_bytes(b"old")
    (tmp_path / "link.nii").symlink_to("a.nii")
    with pytest.raises(DataError, match="is there already"):
        volume.write(tmp_path / "link.nii")
    volume.write(tmp_path / "link.nii", overwrite=True)
    assert (tmp_path / "link.nii").is_symlink()
    assert Volume.read(tmp_path / "a.nii").shape == (2, 3, 4)


def test_a_file_may_have_the_longest_name_there_is(tmp_path):
    path = tmp_path / f"{'ä' * 120}.nii.gz"
    Volume(np.zeros((2, 3, 4), np.uint8), MATRIX).write(path)
    assert os.listdir(tmp_path) == [path.name]
