"""DICOM series, read through SimpleITK, where it is installed."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from NeuroSAM2Core import disk
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import ConfigError, DataError, GeometryError
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.dicom import find_series

VOXELS = np.random.default_rng(0).integers(0, 900, (6, 7, 8), np.int16)
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def write_series(folder, *, uid="1.2.3.1", description="T1", heights=range(6), tilt=0.0):
    folder.mkdir(exist_ok=True, parents=True)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, height in enumerate(heights):
        image = SimpleITK.GetImageFromArray(VOXELS[number][None])
        image.SetSpacing((0.9, 1.1, 2.5))
        image.SetDirection(TURN.ravel().tolist())
        origin = np.array([-30, 20, 5]) + (TURN[:, 2] * 2.5 + [0, tilt, 0]) * height
        image.SetOrigin(origin.tolist())
        tags = {
            "0008|0060": "MR", "0020|000e": uid, "0020|000d": "1.2.3", "0020|0052": "1.2.3.99",
            "0008|103e": description, "0020|0013": str(number),
            "0008|0018": f"{uid}.{number}", "0020|0032": "\\".join(map(str, origin)),
            "0020|0037": "\\".join(map(str, TURN.T[:2].ravel())),
        }  # fmt: skip
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(disk.as_utf8(folder / f"{uid}_{number}.dcm"))
        writer.Execute(image)
    return folder


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "dicom")


def test_a_series_is_read_where_simple_itk_has_it(series, tmp_path):
    volume = Volume.read(series)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    volume.write(tmp_path / "m.nii.gz")
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(disk.as_utf8(series))
    image, mask = SimpleITK.ReadImage(names), SimpleITK.ReadImage(disk.as_utf8(tmp_path / "m.nii.gz"))
    for corner in ((0, 0, 0), (7, 6, 5), (7, 0, 5)):
        places = [one.TransformIndexToPhysicalPoint(corner) for one in (image, mask)]
        np.testing.assert_allclose(*places, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
@pytest.mark.parametrize("what", ["folder", "a file"])
def test_a_series_whose_name_is_no_utf8_is_refused_in_a_sentence(series, what):
    if what == "folder":
        series = series.rename(series.with_name(os.fsdecode(b"Sch\xe4del")))
    else:
        first = min(series.iterdir())
        first.rename(first.with_name(os.fsdecode(b"Sch\xe4del.dcm")))
    with pytest.raises(DataError, match="is not UTF-8"):
        Volume.read(series)


def test_of_several_series_one_is_asked_for(series):
    write_series(series, uid="1.2.3.9", description="FLAIR", heights=range(4))
    with pytest.raises(DataError, match=r"holds 2 DICOM series: 1: .*6 files .*; 2: .*4 files") as caught:
        Volume.read(series)
    assert "T1" in str(caught.value)
    assert "FLAIR" in str(caught.value)
    assert "--series" in caught.value.hint
    (uid,) = [one for one in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(disk.as_utf8(series)) if "1.2.3.9" in one]
    assert Volume.read(series, series=uid).shape[0] == 4
    assert {Volume.read(series, series=number).shape[0] for number in (1, "2")} == {4, 6}
    with pytest.raises(DataError, match="there is no series 3"):
        Volume.read(series, series=3)


def test_a_series_is_described_by_what_people_know_it_by(series):
    write_series(series / "b" / "FLAIR", uid="1.2.3.9", description="FLAIR é", heights=range(4))
    one, other = find_series(series)
    assert one.about.startswith("T1, MR, 6 files of 8 x 7, 20")
    assert (other.description, other.modality, other.size, len(other.files)) == ("FLAIR é", "MR", (8, 7), 4)
    assert other.folder == str(Path("b") / "FLAIR")
    assert Volume.read(series, series=other.uid).shape == (4, 7, 8)
    assert Volume.read(series, series=2).name == series.name


def test_missing_and_tilted_slices_are_notified(tmp_path):
    with pytest.raises(GeometryError, match="not evenly spaced"):
        Volume.read(write_series(tmp_path / "gap", heights=(0, 1, 2, 4, 5)))
    with pytest.raises(GeometryError, match="tilted"):
        Volume.read(write_series(tmp_path / "gantry", tilt=0.5))


def test_a_single_slice_is_notified(series):
    with pytest.raises(DataError, match="single slice") as caught:
        Volume.read(next(series.iterdir()))
    assert "folder" in caught.value.hint


def test_folders_without_dicom_are_notified(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(DataError, match="a folder without DICOM files"):
        Volume.read(tmp_path)


def test_without_simple_itk_it_is_notified_what_to_do(series, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    for path in (series, next(series.iterdir())):
        with pytest.raises(ConfigError, match="is DICOM") as caught:
            Volume.read(path)
        assert "pip install SimpleITK" in caught.value.hint


def test_a_series_too_large_for_the_memory_is_notified(series, monkeypatch):
    monkeypatch.setattr("NeuroSAM2Core.memory.free_memory", lambda: 1000)
    with pytest.raises(DataError, match="of memory"):
        Volume.read(series)


def test_the_command_line_asks_for_one_of_several_series(series, tmp_path, capsys):
    write_series(series, uid="1.2.3.9", description="FLAIR", heights=range(4))
    assert main(["segment", str(series), "--box", "k:1:1,1,4,4", "--out", str(tmp_path / "m.nii")]) == 2
    assert "--series" in capsys.readouterr().err
