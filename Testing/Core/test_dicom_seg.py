"""DICOM segmentations, read back by highdicom and pydicom."""

import sys

import highdicom
import numpy as np
import pydicom
import pytest

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable
from NeuroSAM2Core.labels.dicom_seg import (
    ABNORMAL,
    ANATOMY,
    LEFT,
    RIGHT,
    TISSUE,
    SourceImages,
    code_of,
    write_dicom_seg,
)
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.files import read_image
from Testing.Core.test_dicom import VOXELS, write_series

TABLE = LabelTable((LabelEntry(4, "Left-Hippocampus", (220, 216, 20)), LabelEntry(9, "what I saw", (10, 200, 30))))
LABELS = np.zeros(VOXELS.shape, np.uint8)
LABELS[1:4, 2:5, 1:6] = 4
LABELS[3:5, 1:4, 5:8] = 9


@pytest.fixture
def image(tmp_path):
    return read_image(write_series(tmp_path / "dicom"))


def test_a_segmentation_is_read_back_at_its_place_with_names_codes_and_colours(image, tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom_seg(path, LABELS, TABLE, SourceImages.read(image.dicom_files))
    seg = highdicom.seg.segread(path)
    one, other = (seg.get_segment_description(number) for number in (1, 2))
    assert (one.segment_label, other.segment_label) == ("Left-Hippocampus", "what I saw")
    assert one.segmented_property_type == pydicom.sr.codedict.codes.SCT.Hippocampus
    assert one.segmented_property_category == pydicom.sr.codedict.codes.SCT.AnatomicalStructure
    assert other.segmented_property_type == pydicom.sr.codedict.codes.SCT.Tissue
    (side,) = one.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    rgb = highdicom.color.CIELabColor.from_dicom_value(one.RecommendedDisplayCIELabValue).to_rgb()
    assert np.abs(np.array(rgb) - (220, 216, 20)).max() <= 2

    volume = seg.get_volume(combine_segments=True)
    back = np.zeros(volume.array.shape, np.uint8)
    back[volume.array == 1], back[volume.array == 2] = 4, 9
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.ijk_to_ras
    for k, j, i in np.argwhere(back):
        ours = np.linalg.solve(lps, volume.affine @ [k, j, i, 1])[:3]
        i0, j0, k0 = np.rint(ours).astype(int)
        assert LABELS[k0, j0, i0] == back[k, j, i]
        assert np.abs(ours - (i0, j0, k0)).max() < 1e-2
    assert (back > 0).sum() == (LABELS > 0).sum()
    referred = {one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {pydicom.dcmread(one).SOPInstanceUID for one in image.dicom_files}


def test_a_file_that_is_there_is_not_replaced_unasked(image, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(b"mine")
    source = SourceImages.read(image.dicom_files)
    with pytest.raises(DataError, match="is there already"):
        write_dicom_seg(path, LABELS, TABLE, source)
    assert path.read_bytes() == b"mine"
    write_dicom_seg(path, LABELS, TABLE, source, overwrite=True)
    assert pydicom.dcmread(path).Modality == "SEG"


def test_labels_of_another_grid_and_none_at_all_are_refused(image, tmp_path):
    source = SourceImages.read(image.dicom_files)
    with pytest.raises(DataError, match="not on the grid"):
        write_dicom_seg(tmp_path / "a.dcm", LABELS[:-1], TABLE, source)
    with pytest.raises(DataError, match="no voxel is labelled"):
        write_dicom_seg(tmp_path / "a.dcm", 0 * LABELS, TABLE, source)


def test_without_highdicom_the_sentence_says_what_to_install(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match="need highdicom") as caught:
        SourceImages.read(image.dicom_files)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "category", "meaning", "side"),
    [
        ("Left-Hippocampus", ANATOMY, "Hippocampus", LEFT),
        ("right lateral ventricle", ANATOMY, "Lateral Ventricle", RIGHT),
        ("Tumor 2", ABNORMAL, "Neoplasm", None),
        ("Right-Accumbens-area", ANATOMY, "Nucleus Accumbens", RIGHT),
        ("object 1", TISSUE, "Tissue", None),
    ],
)
def test_known_names_have_the_codes_of_dicom(name, category, meaning, side):
    code = code_of(name)
    assert (code.category, code.kind.meaning, code.side) == (category, meaning, side)


def test_every_code_is_one_that_pydicom_knows():
    from NeuroSAM2Core.labels.dicom_seg import KNOWN

    known = pydicom.sr._concepts_dict.concepts["SCT"]
    values = {value for concept in known.values() for value in concept}
    assert {value for _, value, _, _ in KNOWN} <= values


def test_the_slices_of_an_image_are_in_the_order_of_its_voxels(image):
    volume, headers = Volume.of(image), SourceImages.read(image.dicom_files).headers
    for k, header in enumerate(headers):
        place = volume.to_ras(np.array([0.0, 0.0, float(k)])) * (-1, -1, 1)
        np.testing.assert_allclose([float(one) for one in header.ImagePositionPatient], place, atol=1e-3)
